//! `/proc` and terminals of a box, and what of them no box sees.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use agentkernel_sys::mount::MountAttributes;
use agentkernel_sys::steps::Step;

use super::builder::Builder;
use super::plan::{Layout, PROC_SLOT, c_string};

/// Files of /proc that tell of the whole machine: its memory, keys and addresses, and when its devices were used (keystrokes
/// show in the counts of interrupts).
const HIDDEN_PROC: [&str; 7] = [
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
];

/// Terminals in one box: the machine has some thousands for all boxes together (kernel.pty.max).
const MOST_TERMINALS: &str = "512";

/// What the kernel counts for each user of the host alone: how much a user may have, and where a user namespace limits it
/// further for each of its users (namespaces(7)).
const WATCHES: [(&str, &CStr); 2] = [
    ("/proc/sys/fs/inotify/max_user_instances", c"/proc/sys/user/max_inotify_instances"),
    ("/proc/sys/fs/inotify/max_user_watches", c"/proc/sys/user/max_inotify_watches"),
];

impl Layout<'_> {
    /// A box of an ordinary user takes its watches from that user: at most half of them, for one user inside. (One that
    /// root makes has a count of its own.)
    fn share_watches(&self, builder: &mut Builder) {
        if self.shifts_owners {
            return;
        }
        for (most, setting) in WATCHES {
            let most = std::fs::read_to_string(most).ok().and_then(|text| text.trim().parse::<u64>().ok());
            if let (Some(most), true) = (most, Path::new(OsStr::from_bytes(setting.to_bytes())).exists()) {
                let value = c_string((most / 2).max(1).to_string());
                builder.steps.push(Step::Setting { path: setting.into(), value });
            }
        }
    }

    pub(super) fn process_files(&self, builder: &mut Builder) {
        let quiet = MountAttributes::PLAIN.no_exec();
        builder.steps.push(Step::Attach { slot: PROC_SLOT, target: c"/proc".into() });
        let mut options = vec![
            (c"mode".into(), c"0620".into()),
            (c"ptmxmode".into(), c"0666".into()),
            (c"max".into(), c_string(MOST_TERMINALS)),
        ];
        if self.many_ids {
            options.push((c"gid".into(), c"5".into()));
        }
        options.push((c"newinstance".into(), c"".into()));
        builder.mount_new("devpts", "/dev/pts", options, MountAttributes::DEVICE);
        self.share_watches(builder);
        for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
            if Path::new(path).exists() {
                builder.cover(path, path, quiet.read_only());
            }
        }
        for path in HIDDEN_PROC {
            if Path::new(path).exists() {
                builder.cover("/dev/null", path, MountAttributes::DEVICE.read_only());
            }
        }
        for path in ["/proc/acpi", "/proc/asound", "/proc/scsi"] {
            if Path::new(path).exists() {
                builder.cover("/sys", path, quiet.read_only());
            }
        }
    }
}
