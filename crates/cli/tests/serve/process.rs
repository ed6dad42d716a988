//! What the kernel says of processes.

use std::time::{Duration, Instant};

/// How long things may take on a slow machine before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A number of seconds to sleep that no other process of this machine sleeps: seen from outside of a box.
pub(crate) fn mark() -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}.{count}7", 100_000 + std::process::id())
}

/// Whether some `sleep` with this mark runs.
pub(crate) fn sleeps(mark: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).eq([b"sleep", mark.as_bytes(), b""])
    })
}

/// Waits until `done`, patiently.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited for {what} in vain");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// VmRSS of proc_pid_status(5) in KiB; 0 where the process is gone.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    field(pid, "VmRSS:")
}

/// VmHWM: the most it ever was.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    field(pid, "VmHWM:")
}

fn field(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Open descriptors.
pub(crate) fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
