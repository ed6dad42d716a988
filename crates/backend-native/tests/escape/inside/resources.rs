//! Taking more than was given.

use std::io::Write;

use super::{Clues, raw};
use crate::attempt::Verdict;

pub(crate) fn fork_bomb(_: &Clues) -> Verdict {
    let mut children = Vec::new();
    let ended = loop {
        match raw::fork() {
            Ok(None) => {
                // Waits to be killed.
                raw::whatever(libc::SYS_ppoll, [0; 6]);
                raw::exit(0);
            }
            Ok(Some(pid)) if children.len() < 5000 => children.push(pid),
            Ok(Some(pid)) => {
                children.push(pid);
                break Err(format!("{} processes were started", children.len()));
            }
            Err(errno) => break Ok((errno, children.len())),
        }
    };
    for pid in children {
        raw::whatever(libc::SYS_kill, [pid, 9, 0, 0, 0, 0]);
        raw::whatever(libc::SYS_wait4, [pid, 0, 0, 0, 0, 0]);
    }
    match ended? {
        (libc::EAGAIN, count) if count < 200 => Ok(format!("{count} processes were all")),
        (errno, count) => Err(format!("{count} processes, then errno {errno}")),
    }
}

fn place(clues: &Clues) -> &'static str {
    if clues.is_restrictive() { "/tmp/fill" } else { "/var/fill" }
}

pub(crate) fn disk_fill(clues: &Clues) -> Verdict {
    let path = place(clues);
    let mut file = std::fs::File::create(path).map_err(|error| error.to_string())?;
    let piece = vec![7u8; 1 << 20];
    let mut written = 0;
    let error = loop {
        if let Err(error) = file.write_all(&piece) {
            break error;
        }
        written += 1;
        if written > 256 {
            return Err("256 MiB were written on a disk of 64".to_owned());
        }
    };
    drop(std::fs::remove_file(path));
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => Ok(format!("{written} MiB were all")),
        _ => Err(format!("{written} MiB, then {error}")),
    }
}

pub(crate) fn inode_fill(clues: &Clues) -> Verdict {
    let folder = format!("{}-inodes", place(clues));
    std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
    let mut ended = Err("200000 files were made".to_owned());
    for number in 0..200_000 {
        if let Err(error) = std::fs::File::create(format!("{folder}/{number}")) {
            ended = match error.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT | libc::ENOMEM) => Ok(format!("{number} files were all")),
                _ => Err(format!("{number} files, then {error}")),
            };
            break;
        }
    }
    drop(std::fs::remove_dir_all(&folder));
    ended
}

pub(crate) fn descriptor_exhaustion(_: &Clues) -> Verdict {
    let mut files = Vec::new();
    let error = loop {
        match std::fs::File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => break error,
        }
        if files.len() > 100_000 {
            return Err("100000 files are open".to_owned());
        }
    };
    match error.raw_os_error() {
        Some(libc::EMFILE) => Ok(format!("{} files were all", files.len())),
        _ => Err(format!("{} files, then {error}", files.len())),
    }
}
