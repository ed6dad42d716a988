//! `/dev` of the box: made anew at each start, with the few devices that every box has. Each is a mount of its own, so
//! that nothing else that root of the box might make there is a device.

use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::mount::{self, PLAIN, QUIET, at};
use super::root::memory_options;

/// Devices of every box, by name.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links, by name.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Terminals: mode and owner as everywhere (devpts.rst), and not without end.
const TERMINALS: &str = "newinstance,mode=0620,ptmxmode=0666,gid=5,max=512";

/// For device nodes themselves.
const DEVICE: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);

/// The most bytes of what is beside the mounts.
const OWN_BYTES: u64 = 1 << 20;

/// Fills the folder `dev`, a real one, from the machine's own `/dev`.
pub(super) fn make(dev: &Path, read_only: bool) -> Result<(), String> {
    mount::new("tmpfs", "tmpfs", dev, PLAIN, &memory_options(0o755, Some(OWN_BYTES)))?;
    for device in DEVICES {
        let target = dev.join(device);
        std::fs::File::create(&target)
            .map_err(|error| format!("make the file {}: {error}", target.display()))?;
        mount::show(&Path::new("/dev").join(device), &target, DEVICE)?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlink(target, dev.join(name)).map_err(at(format!("make the link /dev/{name}")))?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777)] {
        mount::folder(dev.join(name), mode)?;
    }
    mount::new("devpts", "devpts", &dev.join("pts"), DEVICE, TERMINALS)?;
    mount::new("tmpfs", "tmpfs", &dev.join("shm"), PLAIN, &memory_options(0o1777, None))?;
    message_queues(&dev.join("mqueue"))?;
    if read_only { mount::again(dev, PLAIN | MountFlags::RDONLY) } else { Ok(()) }
}

/// POSIX message queues, where the kernel has them: few programs ask for them.
fn message_queues(folder: &Path) -> Result<(), String> {
    mount::folder(folder, 0o1777)?;
    match rustix::mount::mount("mqueue", folder, "mqueue", QUIET, c"") {
        Err(Errno::NODEV) => rustix::fs::rmdir(folder).map_err(at("remove /dev/mqueue")),
        other => other.map_err(at("mount mqueue on /dev/mqueue")),
    }
}
