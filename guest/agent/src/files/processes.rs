//! The processes of the box, from /proc. What a process shows of itself there is its own claim.

use std::io::Write;

use agentkernel_protocol::{Event, Failure, ProcessEntry, encode_record};

use crate::failure::io;
use crate::tree::{for_each_process, read_small};
use crate::worker::Pipes;

/// The most that is listed: far above any process limit.
const MAX_PROCESSES: usize = 100_000;

/// Bytes of a command line that are shown.
const MAX_COMMAND: usize = 4096;

/// PF_KTHREAD of linux/sched.h: what a virtual machine's own kernel does is no process of the box.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Lists them all.
pub(super) fn list(pipes: &Pipes) -> Result<Event, Failure> {
    pipes.ready();
    (&pipes.output).write_all(&records()).map_err(|error| io("listing processes", &error))?;
    Ok(Event::Done)
}

/// A record for each process: some 100 bytes, at most 4 KiB.
pub(crate) fn records() -> Vec<u8> {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let page = rustix::param::page_size() as u64;
    let mut pids = Vec::new();
    for_each_process(|pid| pids.push(pid));
    pids.sort_unstable();
    pids.truncate(MAX_PROCESSES);
    let mut records = Vec::new();
    // One may have ended meanwhile.
    for entry in pids.into_iter().filter_map(|pid| read(pid, ticks, page)) {
        encode_record(&entry, &mut records);
    }
    records
}

fn read(pid: i32, ticks: u64, page: u64) -> Option<ProcessEntry> {
    let mut buffer = [0; 1024];
    let stat = read_small(&format!("/proc/{pid}/stat"), &mut buffer)?;
    let mut entry = parse_stat(pid, stat, ticks, page)?;
    let mut command = vec![0; MAX_COMMAND];
    let command = read_small(&format!("/proc/{pid}/cmdline"), &mut command).unwrap_or_default();
    let command = command.strip_suffix(b"\0").unwrap_or(command);
    if !command.is_empty() {
        entry.command =
            command.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect::<Vec<_>>().into();
    }
    let status = std::fs::metadata(format!("/proc/{pid}")).ok()?;
    let mut buffer = [0; 2048];
    let claimed = read_small(&format!("/proc/{pid}/status"), &mut buffer).and_then(effective_uid);
    entry.uid = claimed.unwrap_or_else(|| std::os::unix::fs::MetadataExt::uid(&status));
    Some(entry)
}

fn effective_uid(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// The fields of proc_pid_stat(5), counted from 3, the state, which follows the name's last bracket.
fn parse_stat(pid: i32, stat: &[u8], ticks: u64, page: u64) -> Option<ProcessEntry> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let name = stat.get(open..close + 1)?;
    let fields: Vec<&str> = std::str::from_utf8(stat.get(close + 2..)?).ok()?.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    if number(9)? & KERNEL_THREAD != 0 {
        return None;
    }
    Some(ProcessEntry {
        pid: pid.unsigned_abs(),
        parent: number(4)?.try_into().ok()?,
        uid: 0,
        state: *fields.first()?.as_bytes().first()?,
        resident_bytes: number(24)?.saturating_mul(page),
        cpu_ms: number(14)?.saturating_add(number(15)?).saturating_mul(1000) / ticks,
        command: [b"[", name.get(1..name.len() - 1)?, b"]"].concat().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_and_spaces_dont_confuse() {
        let stat =
            b"42 (a) b (c) S 7 42 42 0 -1 0 1 2 3 4 150 50 0 0 20 0 1 0 99 1000 25 18446744073709551615";
        let entry = parse_stat(42, stat, 100, 4096).unwrap();
        assert_eq!((entry.pid, entry.parent, entry.state), (42, 7, b'S'));
        assert_eq!((entry.cpu_ms, entry.resident_bytes), (2000, 25 * 4096));
        assert_eq!(entry.command.as_slice(), b"[a) b (c]");
        let of_kernel = b"2 (kthreadd) S 0 0 0 0 -1 2129984 1 2 3 4 0 0 0 0 20 0 1 0 99 1000 25 0";
        assert_eq!(parse_stat(2, of_kernel, 100, 4096), None);
        assert_eq!(parse_stat(1, b"1 (x", 100, 4096), None);
        assert_eq!(parse_stat(1, b"1 (x) ", 100, 4096), None);
    }

    #[test]
    fn this_process_is_there() {
        let entry = read(std::process::id() as i32, 100, 4096).unwrap();
        assert!(entry.resident_bytes > 0);
        assert_eq!(entry.uid, rustix::process::geteuid().as_raw());
    }
}
