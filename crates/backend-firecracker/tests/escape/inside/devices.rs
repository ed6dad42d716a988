//! Devices: the disks that a machine is made of, its memory, its console.

use std::io::Write as _;

use super::{each, held_by, open_refused, raw};
use crate::stage::Verdict;

/// What a box may have in /dev.
const ALLOWED: [&str; 16] = [
    "null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "ptmx", "pts",
    "shm", "mqueue", "console", "core",
];

pub(super) fn all() -> Verdict {
    each([present(), open(), make(), tables()])
}

fn present() -> Verdict {
    let entries = std::fs::read_dir("/dev").map_err(|error| error.to_string())?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    each(names.map(|name| match ALLOWED.contains(&name.as_str()) {
        true => Ok(name),
        false => Err(format!("/dev/{name} is there")),
    }))
}

fn open() -> Verdict {
    let names = [
        "vda",
        "vdb",
        "mem",
        "kmem",
        "port",
        "kmsg",
        "ttyS0",
        "hwrng",
        "vsock",
        "nvram",
        "mapper/control",
        "loop0",
        "loop-control",
        "watchdog",
        "rtc0",
        "snapshot",
        "userfaultfd",
        "cpu/0/msr",
        "fuse",
        "net/tun",
    ];
    each(names.map(|name| open_refused(&format!("/dev/{name}"), libc::O_RDWR, &[libc::ENOENT])))
}

fn make() -> Verdict {
    let mut verdicts = Vec::new();
    for (what, kind, device) in [
        ("/dev/mem", libc::S_IFCHR, libc::makedev(1, 1)),
        ("/dev/port", libc::S_IFCHR, libc::makedev(1, 4)),
        ("/dev/kmsg", libc::S_IFCHR, libc::makedev(1, 11)),
        ("the serial line", libc::S_IFCHR, libc::makedev(4, 64)),
        // virtio's disks have the first free number from 254 down.
        ("the image's disk", libc::S_IFBLK, libc::makedev(254, 0)),
        ("a disk of the host's number", libc::S_IFBLK, libc::makedev(8, 0)),
    ] {
        for place in [c"/tmp/device", c"/dev/shm/device", c"/device"] {
            let arguments = [
                libc::AT_FDCWD as usize,
                place.as_ptr() as usize,
                (kind | 0o666) as usize,
                device as usize,
                0,
                0,
            ];
            let made = raw::call(libc::SYS_mknodat, arguments);
            verdicts.push(held_by(&format!("mknod {what} at {place:?}"), made, &[libc::EPERM]));
        }
    }
    each(verdicts)
}

/// The machine's memory and ports by other ways.
fn tables() -> Verdict {
    each([
        super::refused("iopl", libc::SYS_iopl, &[3], &[libc::EPERM, libc::ENOSYS]),
        super::refused("ioperm", libc::SYS_ioperm, &[0x60, 8, 1], &[libc::EPERM, libc::ENOSYS]),
        unreadable("/proc/kcore"),
        unreadable("/proc/kmsg"),
        unreadable("/proc/iomem"),
    ])
}

/// Not there, empty, or without an address in it.
fn unreadable(path: &str) -> Verdict {
    let mut start = [0; 4096];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut start));
    match read {
        Ok(0) => Ok(format!("{path} is empty")),
        Ok(length) if path.ends_with("iomem") => {
            let text = String::from_utf8_lossy(&start[..length]).into_owned();
            let hidden = text.lines().all(|line| line.trim_start().starts_with("00000000-00000000"));
            if hidden {
                Ok(format!("{path} hides addresses"))
            } else {
                Err(format!("{path} tells addresses"))
            }
        }
        Ok(_) => Err(format!("{path} can be read")),
        Err(error) => Ok(format!("{path}: {error}")),
    }
}

/// Says much on whatever may lead to the machine's console. That it does no harm is for the outside to see.
pub(super) fn flood_console() -> Verdict {
    let mut said = 0;
    for path in ["/dev/console", "/dev/kmsg", "/dev/ttyS0", "/proc/1/fd/0", "/proc/1/fd/1", "/proc/1/fd/2"] {
        let Ok(mut file) = std::fs::File::options().write(true).open(path) else { continue };
        for _ in 0..256 {
            said += file.write(&[b'x'; 1024]).unwrap_or(0);
        }
    }
    Ok(format!("{said} bytes were taken"))
}
