//! Devices.

use super::{Clues, each, open_refused, raw};
use crate::attempt::Verdict;

/// What a box may have in /dev.
const ALLOWED: [&str; 16] = [
    "null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "ptmx", "pts",
    "shm", "mqueue", "console", "core",
];

pub(crate) fn present(_: &Clues) -> Verdict {
    let entries = std::fs::read_dir("/dev").map_err(|error| error.to_string())?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !ALLOWED.contains(&name.as_str()) {
            return Err(format!("/dev/{name} is there"));
        }
    }
    Ok("only the harmless ones are there".to_owned())
}

pub(crate) fn open(_: &Clues) -> Verdict {
    let names = [
        "mem",
        "kmem",
        "port",
        "kmsg",
        "kvm",
        "fuse",
        "net/tun",
        "vhost-net",
        "vhost-vsock",
        "loop-control",
        "loop0",
        "sda",
        "vda",
        "nvme0n1",
        "xvda",
        "dm-0",
        "mapper/control",
        "btrfs-control",
        "uinput",
        "input/event0",
        "vsock",
        "hpet",
        "watchdog",
        "rtc0",
        "dri/card0",
        "snapshot",
        "userfaultfd",
        "uhid",
        "bus/usb/001/001",
        "cpu/0/msr",
    ];
    each(names.map(|name| open_refused(&format!("/dev/{name}"), libc::O_RDWR, &[libc::ENOENT])))
}

pub(crate) fn make(_: &Clues) -> Verdict {
    let mut verdicts = Vec::new();
    for (what, kind, device) in [
        ("/dev/mem", libc::S_IFCHR, libc::makedev(1, 1)),
        ("/dev/kmsg", libc::S_IFCHR, libc::makedev(1, 11)),
        ("a disk", libc::S_IFBLK, libc::makedev(8, 0)),
        ("/dev/null", libc::S_IFCHR, libc::makedev(1, 3)),
    ] {
        for place in [c"/tmp/device", c"/mnt/shared/device", c"/dev/shm/device"] {
            let arguments = [
                libc::AT_FDCWD as usize,
                place.as_ptr() as usize,
                (kind | 0o666) as usize,
                device as usize,
                0,
                0,
            ];
            let made = raw::call(libc::SYS_mknodat, arguments);
            verdicts.push(super::held_by(&format!("mknod {what} at {place:?}"), made, &[libc::EPERM]));
        }
    }
    each(verdicts)
}

pub(crate) fn planted(_: &Clues) -> Verdict {
    // Only root of the host can plant one.
    if !std::path::Path::new("/mnt/shared/device").exists() {
        return Ok("no device could be planted".to_owned());
    }
    each([
        open_refused("/mnt/shared/device", libc::O_RDONLY, &[libc::EACCES, libc::EPERM]),
        open_refused("/mnt/shared/device", libc::O_RDWR, &[libc::EACCES, libc::EPERM]),
    ])
}
