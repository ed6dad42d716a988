//! Programs for attempts that are driven from outside.

use std::io::Write;

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
