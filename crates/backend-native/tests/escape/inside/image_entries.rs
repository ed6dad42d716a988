//! What a hostile image has put into its own root.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::{Clues, each, open_refused};
use crate::attempt::Verdict;

/// The agent's own root is closed to others; the rest isn't there.
const CLOSED: &[i32] = &[libc::ENOENT, libc::EACCES];

/// Links of the image to the host's secret.
pub(crate) fn links(clues: &Clues) -> Verdict {
    let through = format!("/opt/root{}", clues.get("SECRET_PATH"));
    each(
        ["/opt/absolute", "/opt/up", through.as_str()].map(|path| open_refused(path, libc::O_RDONLY, CLOSED)),
    )
}

/// The places that the box must have as ours, whatever the image has there.
pub(crate) fn places(clues: &Clues) -> Verdict {
    let kind = |path: &str| std::fs::symlink_metadata(path).map_err(|error| format!("{path}: {error}"));
    for folder in ["/dev", "/dev/pts", "/dev/shm", "/etc", "/proc", "/sys", "/tmp"] {
        if !kind(folder)?.is_dir() {
            return Err(format!("{folder} is no folder"));
        }
    }
    for (device, number) in [("/dev/null", (1, 3)), ("/dev/zero", (1, 5))] {
        let meta = kind(device)?;
        let found = (libc::major(meta.rdev()), libc::minor(meta.rdev()));
        if !meta.file_type().is_char_device() || found != number {
            return Err(format!("{device} is not the device: {meta:?}"));
        }
    }
    if Path::new("/dev/mem").exists() || Path::new("/sys/trap").exists() {
        return Err("the image's /dev or /sys is seen".to_owned());
    }
    if std::fs::read_link("/proc/self").is_err() || !Path::new("/proc/self/status").exists() {
        return Err("/proc is not the kernel's".to_owned());
    }
    for file in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
        let content = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        if content.contains(&clues.secret()) {
            return Err(format!("{file} holds the host's secret"));
        }
    }
    Ok("every place is the box's own".to_owned())
}

/// Writes wherever the image's links would lead out.
pub(crate) fn writes(clues: &Clues) -> Verdict {
    let trap = clues.get("TRAP");
    for path in ["/etc/x", "/tmp/x", "/dev/shm/x", "/workspace/x", "/opt/root/tmp/y", &format!("{trap}/x")] {
        // Whether it may is the box's own matter; the host looks for what came of it.
        drop(std::fs::write(path, clues.secret()));
    }
    drop(std::fs::write("/dev/zero", "x"));
    Ok("what was written stayed inside".to_owned())
}
