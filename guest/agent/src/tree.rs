//! Finding and killing all descendants of a process.

use std::collections::HashMap;

use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::process::{Pid, Signal};

/// Rounds of stopping before killing starts whatever is still being born.
const STOP_ROUNDS: usize = 20;

/// Kills everything below `root` once. What is born meanwhile is left for the next call: the caller repeats until no
/// child is left. First all are stopped, so that nothing forks away from under the kill: a stopped process can't fork,
/// so that each round leaves fewer.
pub(crate) fn kill_below(root: Pid) {
    kill_descendants(|parents| descendants(root.as_raw_pid(), parents));
}

/// The same for the processes that `choose` picks from a map of every process to its parent.
pub(crate) fn kill_descendants(choose: impl Fn(&HashMap<i32, i32>) -> Vec<i32>) {
    let mut seen: Vec<i32> = Vec::new();
    for _ in 0..STOP_ROUNDS {
        let now = choose(&parents());
        let fresh: Vec<i32> = now.iter().copied().filter(|pid| !seen.contains(pid)).collect();
        if fresh.is_empty() {
            break;
        }
        signal(&fresh, Signal::STOP);
        seen.extend(fresh);
    }
    signal(&choose(&parents()), Signal::KILL);
}

fn signal(pids: &[i32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // It may be gone already.
        rustix::process::kill_process(pid, signal).ok();
    }
}

/// All processes below `root`, in no order.
pub(crate) fn descendants(root: i32, parents: &HashMap<i32, i32>) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, parent) in parents {
        children.entry(*parent).or_default().push(*pid);
    }
    let mut found: Vec<i32> = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        if let Some(more) = children.remove(pid) {
            found.extend(more);
        }
        next += 1;
    }
    found
}

/// Every process and its parent. Empty where /proc can't be read.
pub(crate) fn parents() -> HashMap<i32, i32> {
    let mut parents = HashMap::new();
    for_each_process(|pid| {
        if let Some(parent) = parent_of(pid) {
            parents.insert(pid, parent);
        }
    });
    parents
}

/// Calls `visit` with each process id in /proc.
pub(crate) fn for_each_process(mut visit: impl FnMut(i32)) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(proc) = rustix::fs::openat(CWD, c"/proc", flags, Mode::empty()) else { return };
    let mut buffer = Vec::with_capacity(8192);
    let mut entries = RawDir::new(&proc, buffer.spare_capacity_mut());
    while let Some(Ok(entry)) = entries.next() {
        if let Some(pid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
            visit(pid);
        }
    }
}

fn parent_of(pid: i32) -> Option<i32> {
    let mut buffer = [0; 512];
    let stat = read_small(&format!("/proc/{pid}/stat"), &mut buffer)?;
    // The name, in brackets, may hold anything; the state and the parent follow its last bracket (proc(5)).
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(after + 2..)?).ok()?;
    fields.split(' ').nth(1)?.parse().ok()
}

/// The start of a file of /proc.
pub(crate) fn read_small<'a>(path: &str, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = rustix::io::read(&file, &mut *buffer).ok()?;
    buffer.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_at_any_depth() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 6)]);
        let mut found = descendants(2, &parents);
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
        assert_eq!(descendants(6, &parents), [6], "a loop ends");
    }

    #[test]
    fn this_process_has_a_parent() {
        let me = std::process::id() as i32;
        assert_eq!(parents().get(&me).copied(), Some(std::os::unix::process::parent_id() as i32));
    }
}
