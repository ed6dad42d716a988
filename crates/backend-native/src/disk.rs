//! A limit for what persistent sandboxes write: a filesystem of that size in a sparse file.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use agentkernel_sys::ext4_file;
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
    match ext4_file::program() {
        Some(_) => Ok(()),
        None => Err("mkfs.ext4 is not installed (Debian package e2fsprogs)".to_owned()),
    }
}

/// Mounts it, attached nowhere: the mount and its loop device end with the last box that uses them.
pub(crate) fn open(image: &Path) -> io::Result<OwnedFd> {
    let file = std::fs::File::options().read(true).write(true).open(image)?;
    let device = LoopDevice::attach(&file)?;
    mount_device(&crate::layout::c_string(device.path()), c"ext4", MountAttributes::PLAIN)
        .map_err(io::Error::from)
}
