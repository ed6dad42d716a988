//! Everything that a sandbox could leave on this machine, counted.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the kernel may take to take apart what is dead (network namespaces end asynchronously).
const SETTLE: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Census {
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    files: BTreeSet<String>,
    loop_devices: usize,
}

impl Census {
    pub(crate) fn take(state: &Path) -> Self {
        Self {
            processes: agents(state),
            mounts: mounts(),
            cgroups: cgroups(),
            interfaces: names("/sys/class/net", |name| name.starts_with("ak")),
            files: left_files(state),
            loop_devices: names("/sys/block", |name| {
                name.starts_with("loop")
                    && Path::new("/sys/block").join(name).join("loop/backing_file").exists()
            })
            .len(),
        }
    }

    /// Fails unless the machine comes to look as it did.
    pub(crate) fn assert_same(&self, state: &Path) {
        let deadline = Instant::now() + SETTLE;
        loop {
            let now = Self::take(state);
            if now == *self {
                return;
            }
            assert!(Instant::now() < deadline, "left behind:\nbefore {self:#?}\nafter {now:#?}");
            std::thread::yield_now();
        }
    }
}

/// All but those of the test bed's engines, which tidy up in their own time.
fn mounts() -> BTreeSet<String> {
    let bed = std::env::var("AGENTKERNEL_TEST_BED").ok();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = |line: &&str| bed.as_deref().is_none_or(|bed| !line.contains(bed));
    table.lines().filter(ours).map(str::to_owned).collect()
}

/// Processes that run the guest agent of this state folder.
fn agents(state: &Path) -> BTreeSet<String> {
    let marker = state.join("agent");
    names("/proc", |name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .into_iter()
        .filter(|pid| {
            let exe = std::fs::read_link(format!("/proc/{pid}/exe"));
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            exe.is_ok_and(|exe| exe.starts_with(&marker)) || command.starts_with(b"agentkernel-agent\0")
        })
        .collect()
}

fn cgroups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if folder.file_name().is_some_and(|name| name == "agentkernel") {
                found.insert(entry.path().display().to_string());
            }
            folders.push(entry.path());
        }
    }
    found
}

fn left_files(state: &Path) -> BTreeSet<String> {
    ["leases", "sandboxes"]
        .iter()
        .flat_map(|folder| {
            names(&state.join(folder).display().to_string(), |name| !name.ends_with(".lock"))
                .into_iter()
                .map(move |name| format!("{folder}/{name}"))
        })
        .collect()
}

fn names(folder: &str, keep: impl Fn(&str) -> bool) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| keep(name))
        .collect()
}
