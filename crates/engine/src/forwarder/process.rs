//! Naming one process for ever, and ending it without hitting another that got its number.

use std::io;
use std::time::Duration;

use agentkernel_store::{ForwarderProcess, SandboxRecord};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::EngineError;

/// How long a killed process may take to vanish.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lasting name of the living process `pid`.
pub(crate) fn identify(pid: u32) -> io::Result<ForwarderProcess> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (state, start_time) = parse_stat(&stat)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat is strange"))?;
    if matches!(state, 'Z' | 'X') {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"));
    }
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    Ok(ForwarderProcess { pid, start_time, boot_id })
}

/// State and start time: fields 3 and 22 of proc_pid_stat(5). The name in field 2 may hold anything, `)` too.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Whether exactly that process lives.
pub(crate) fn is_alive(process: &ForwarderProcess) -> bool {
    identify(process.pid).is_ok_and(|found| found == *process)
}

/// Ends the recorded forwarder, if it lives, and waits until it has let its ports go.
pub(crate) fn end_forwarder(record: &SandboxRecord) -> Result<(), EngineError> {
    let Some(process) = &record.forwarder else { return Ok(()) };
    end(process).map_err(|source| EngineError::Forwarder {
        action: "end",
        name: record.name.to_string(),
        source,
    })
}

fn end(process: &ForwarderProcess) -> io::Result<()> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    // Asked after the handle was taken: the handle can't come to mean another process.
    if !is_alive(process) {
        return Ok(());
    }
    match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) => {}
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&patience)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it was killed and is still there")),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_strange_name_is_understood() {
        let stat = "7 (a) R 1 (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_stat(stat), Some(('S', 4242)));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn only_the_very_process_is_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = identify(child.id()).unwrap();
        let other = ForwarderProcess { start_time: process.start_time + 1, ..process.clone() };
        end(&other).unwrap();
        assert!(is_alive(&process) && !is_alive(&other));
        end(&process).unwrap();
        assert!(!is_alive(&process), "a zombie is not alive");
        child.wait().unwrap();
        end(&process).unwrap();
    }
}
