//! What a command has open, and its terminal.

use super::{Clues, each, refused};
use crate::attempt::Verdict;

pub(crate) fn inherited(clues: &Clues) -> Verdict {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").map_err(|error| error.to_string())?.flatten() {
        let number = entry.file_name().to_string_lossy().into_owned();
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let target = target.display().to_string();
        if target.contains("/proc/") {
            // The folder that is being read.
            continue;
        }
        if target.contains("agentkernel") || target.contains(clues.get("SECRET_PATH")) {
            return Err(format!("descriptor {number} is {target}"));
        }
        seen.push((number, target));
    }
    let extra: Vec<_> =
        seen.iter().filter(|(number, _)| !["0", "1", "2"].contains(&number.as_str())).collect();
    if !extra.is_empty() {
        return Err(format!("descriptors that nobody gave: {extra:?}"));
    }
    Ok("only the standard streams are open".to_owned())
}

pub(crate) fn terminal(_: &Clues) -> Verdict {
    let byte = b"x".as_ptr() as usize;
    each(
        [
            ("TIOCSTI", libc::TIOCSTI as usize),
            ("TIOCLINUX", 0x541c),
            ("TIOCSETD", 0x5423),
            ("TIOCCONS", 0x541d),
        ]
        .map(|(name, number)| refused(name, libc::SYS_ioctl, &[0, number, byte], &[libc::EPERM])),
    )
}

pub(crate) fn terminal_high_bits(_: &Clues) -> Verdict {
    // The kernel looks at the low half of the number only, so the filter must too.
    let byte = b"x".as_ptr() as usize;
    refused(
        "TIOCSTI with high bits",
        libc::SYS_ioctl,
        &[0, (1 << 32) | libc::TIOCSTI as usize, byte],
        &[libc::EPERM],
    )
}

pub(crate) fn no_terminal(_: &Clues) -> Verdict {
    super::open_refused("/dev/tty", libc::O_RDWR, &[libc::ENXIO])
}
