//! Programs for attempts that are driven from outside.

use std::io::{Read, Write};

use super::{Clues, raw};
use crate::attempt::Verdict;

/// Runs the accomplice `name`.
pub(crate) fn run(name: &str, _: &Clues) -> Verdict {
    match name {
        "who-am-i" => {
            let id = |number| raw::call(number, [0; 6]).unwrap_or(usize::MAX);
            Ok(format!("{} {}", id(libc::SYS_getuid), id(libc::SYS_geteuid)))
        }
        "take-memory" => take_memory(),
        "hold-terminals" => hold_terminals(),
        "hold-watches" => hold_watches(1),
        "hold-watches-as-many" => hold_watches(20),
        _ => Err(format!("there is no attempt {name:?}")),
    }
}

fn take_memory() -> Verdict {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for _ in 0..64 {
        taken.push(vec![taken.len() as u8 | 1; 64 << 20]);
    }
    Err(format!("{} GiB were taken", taken.len() / 16))
}

fn hold_terminals() -> Verdict {
    let mut held = Vec::new();
    while let Ok(terminal) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx") {
        held.push(terminal);
        if held.len() >= 6000 {
            break;
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "HOLDING {}", held.len()).and_then(|()| out.flush()).map_err(|error| error.to_string())?;
    // Until it is killed.
    raw::whatever(libc::SYS_ppoll, [0; 6]);
    Ok(String::new())
}

/// As so many users inside one after the other: each of them has a count of its own.
fn hold_watches(users: usize) -> Verdict {
    let mut held = 0;
    for user in 1..users {
        // A child holds them until the box ends.
        let (taken, told) = std::io::pipe().map_err(|error| error.to_string())?;
        if raw::fork() == Ok(None) {
            raw::whatever(libc::SYS_setresuid, [1000 + user; 6]);
            let count = take_watches();
            drop((&told).write_all(&(count as u32).to_ne_bytes()));
            raw::whatever(libc::SYS_ppoll, [0; 6]);
            raw::exit(0);
        }
        drop(told);
        let mut count = [0; 4];
        (&taken).read_exact(&mut count).map_err(|error| error.to_string())?;
        held += u32::from_ne_bytes(count) as usize;
    }
    held += take_watches();
    let mut out = std::io::stdout();
    writeln!(out, "HOLDING {held}").and_then(|()| out.flush()).map_err(|error| error.to_string())?;
    raw::whatever(libc::SYS_ppoll, [0; 6]);
    Ok(String::new())
}

/// inotify instances, which stay open.
fn take_watches() -> usize {
    (0..100_000).take_while(|_| raw::call(libc::SYS_inotify_init1, [0; 6]).is_ok()).count()
}
