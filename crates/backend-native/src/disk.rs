//! A limit for what persistent sandboxes write: a filesystem of that size in a sparse file.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agentkernel_model::Mib;
use agentkernel_sys::loop_device::LoopDevice;
use agentkernel_sys::mount::{MountAttributes, mount_device};

/// Whether persistent sandboxes can be limited here; or why not.
pub(crate) fn can_limit(rootless: bool) -> Result<(), String> {
    if rootless {
        return Err("only root can mount a filesystem of limited size".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err("there are no loop devices (run: sudo modprobe loop)".to_owned());
    }
    match make_filesystem_program() {
        Some(_) => Ok(()),
        None => Err("mkfs.ext4 is not installed (Debian package e2fsprogs)".to_owned()),
    }
}

fn make_filesystem_program() -> Option<PathBuf> {
    ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"].into_iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Makes the file at `image`, empty, of `size`, its root belonging to `owner`. Whole or not at all.
pub(crate) fn make(image: &Path, size: Mib, owner: (u32, u32)) -> io::Result<()> {
    let program = make_filesystem_program().ok_or(io::ErrorKind::NotFound)?;
    let beside = image.with_extension("new");
    let file = std::fs::File::create(&beside)?;
    file.set_len(size.bytes())?;
    drop(file);
    let output = Command::new(program)
        .args(["-q", "-F", "-m", "0", "-E"])
        .arg(format!("root_owner={}:{},lazy_itable_init=1,nodiscard", owner.0, owner.1))
        .arg(&beside)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        std::fs::remove_file(&beside)?;
        return Err(io::Error::other(format!("mkfs.ext4: {why}")));
    }
    std::fs::rename(beside, image)
}

/// Mounts it, attached nowhere: the mount and its loop device end with the last box that uses them.
pub(crate) fn open(image: &Path) -> io::Result<OwnedFd> {
    let file = std::fs::File::options().read(true).write(true).open(image)?;
    let device = LoopDevice::attach(&file)?;
    mount_device(&crate::layout::c_string(device.path()), c"ext4", MountAttributes::PLAIN)
        .map_err(io::Error::from)
}
