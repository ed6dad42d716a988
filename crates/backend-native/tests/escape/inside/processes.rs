//! Processes of the host, and the agent.

use super::{Clues, each, open_refused, raw, refused};
use crate::attempt::Verdict;

fn numbers() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect()
}

pub(crate) fn of_the_host_are_hidden(clues: &Clues) -> Verdict {
    let all = numbers();
    if all.len() > 10 {
        return Err(format!("{} processes are seen", all.len()));
    }
    for pid in &all {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(clues.get("SLEEPER")) {
            return Err(format!("the host's process is seen as {pid}"));
        }
    }
    Ok(format!("{} processes are seen, none of the host", all.len()))
}

pub(crate) fn of_the_host_are_out_of_reach(clues: &Clues) -> Verdict {
    let pid: usize = clues.get("SLEEPER_PID").parse().map_err(|_| "no process to look for".to_owned())?;
    let missing = &[libc::ESRCH];
    let command = std::fs::read(format!("/proc/{pid}/cmdline"));
    if let Ok(command) = command {
        let the_hosts = String::from_utf8_lossy(&command).contains(clues.get("SLEEPER"));
        return if the_hosts {
            Err(format!("{pid} is the host's"))
        } else {
            Ok(format!("{pid} is the box's own"))
        };
    }
    each([
        refused("kill a process of the host", libc::SYS_kill, &[pid, 9], missing),
        refused("open a process of the host", libc::SYS_pidfd_open, &[pid, 0], missing),
        open_refused(&format!("/proc/{pid}/mem"), libc::O_RDWR, &[libc::ENOENT]),
    ])
}

pub(crate) fn kill_the_agent(_: &Clues) -> Verdict {
    for signal in 1..=64 {
        // Some are refused, others go nowhere: that the agent still answers is for the outside to see.
        raw::whatever(libc::SYS_kill, [1, signal, 0, 0, 0, 0]);
        raw::whatever(libc::SYS_tgkill, [1, 1, signal, 0, 0, 0]);
    }
    Ok("every signal was sent to the agent".to_owned())
}

pub(crate) fn trace_the_agent(_: &Clues) -> Verdict {
    let eperm = &[libc::EPERM];
    let piece: [usize; 2] = [eperm.as_ptr() as usize, 8];
    let piece = piece.as_ptr() as usize;
    each([
        refused("ptrace attach", libc::SYS_ptrace, &[libc::PTRACE_ATTACH as usize, 1, 0, 0], eperm),
        refused("ptrace seize", libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, 1, 0, 0], eperm),
        refused("process_vm_readv", libc::SYS_process_vm_readv, &[1, piece, 1, piece, 1, 0], eperm),
        refused("process_vm_writev", libc::SYS_process_vm_writev, &[1, piece, 1, piece, 1, 0], eperm),
        refused("pidfd_getfd", libc::SYS_pidfd_getfd, &[0, 3, 0], eperm),
        refused("kcmp", libc::SYS_kcmp, &[1, 1, 0, 0, 0], eperm),
        refused("process_madvise", libc::SYS_process_madvise, &[0; 5], eperm),
    ])
}
