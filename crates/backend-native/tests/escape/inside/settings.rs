//! /proc and /sys: the kernel's settings and what it shows of the host.

use super::{Clues, each, open_refused, raw};
use crate::attempt::Verdict;

const CLOSED: &[i32] = &[libc::EACCES, libc::EROFS, libc::EPERM, libc::ENOENT];

pub(crate) fn kernel_settings(_: &Clues) -> Verdict {
    let names = [
        "kernel/core_pattern",
        "kernel/modprobe",
        "kernel/hotplug",
        "kernel/poweroff_cmd",
        "kernel/hostname",
        "kernel/randomize_va_space",
        "kernel/sysrq",
        "kernel/yama/ptrace_scope",
        "kernel/kptr_restrict",
        "kernel/usermodehelper/bset",
        "kernel/unprivileged_bpf_disabled",
        "kernel/ns_last_pid",
        "kernel/shmmax",
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        "vm/drop_caches",
        "fs/protected_symlinks",
        "fs/suid_dumpable",
        "fs/binfmt_misc/register",
        "user/max_user_namespaces",
        "net/ipv4/ip_forward",
        "net/ipv4/ip_unprivileged_port_start",
    ];
    each(names.map(|name| open_refused(&format!("/proc/sys/{name}"), libc::O_WRONLY, CLOSED)))
}

pub(crate) fn sysrq(_: &Clues) -> Verdict {
    open_refused("/proc/sysrq-trigger", libc::O_WRONLY, CLOSED)
}

pub(crate) fn other_controls(_: &Clues) -> Verdict {
    let names = [
        "irq/default_smp_affinity",
        "mtrr",
        "timer_stats",
        "driver/rtc",
        "bus/pci/00/00.0",
        "fs/jbd2",
        "acpi/wakeup",
    ];
    each(names.map(|name| {
        open_refused(&format!("/proc/{name}"), libc::O_WRONLY, &[CLOSED, &[libc::EISDIR]].concat())
    }))
}

pub(crate) fn kernel_memory(_: &Clues) -> Verdict {
    each(["kcore", "kmem", "kpageflags", "kpagecount", "kmsg", "vmallocinfo", "slabinfo"].map(|name| {
        let path = format!("/proc/{name}");
        // A covered file opens and is empty.
        match std::fs::File::open(&path).map(|file| std::io::Read::read(&mut { file }, &mut [0; 64])) {
            Ok(Ok(0)) => Ok(format!("{path} is empty")),
            Ok(Ok(_)) => Err(format!("{path} can be read")),
            Ok(Err(error)) | Err(error) => Ok(format!("{path}: {error}")),
        }
    }))
}

pub(crate) fn covered(_: &Clues) -> Verdict {
    let files = ["keys", "timer_list", "latency_stats", "sched_debug"].map(|name| {
        let content = std::fs::read(format!("/proc/{name}")).unwrap_or_default();
        if content.is_empty() {
            Ok(format!("/proc/{name} is empty"))
        } else {
            Err(format!("/proc/{name} can be read"))
        }
    });
    let folders = ["acpi", "scsi", "asound"].map(|name| {
        let count = std::fs::read_dir(format!("/proc/{name}")).map_or(0, Iterator::count);
        if count == 0 { Ok(format!("/proc/{name} is empty")) } else { Err(format!("/proc/{name} is shown")) }
    });
    each(files.into_iter().chain(folders))
}

pub(crate) fn sys(_: &Clues) -> Verdict {
    let shown: Vec<_> = std::fs::read_dir("/sys").map_err(|error| error.to_string())?.flatten().collect();
    each(
        [
            "kernel/uevent_helper",
            "kernel/mm/transparent_hugepage/enabled",
            "power/state",
            "firmware/efi/efivars",
            "kernel/debug/tracing/trace",
            "fs/bpf",
            "module/kernel/parameters/panic",
            "class/net",
        ]
        .map(|name| open_refused(&format!("/sys/{name}"), libc::O_WRONLY, CLOSED)),
    )
    .map(|held| format!("{held}; {} entries in /sys", shown.len()))
}

pub(crate) fn oom_shield(_: &Clues) -> Verdict {
    let written = std::fs::write("/proc/self/oom_score_adj", "-1000");
    super::held_by(
        "hide from the out-of-memory killer",
        written.map_err(|error| error.raw_os_error().unwrap_or(0)),
        &[libc::EACCES, libc::EPERM],
    )
}

pub(crate) fn core_dumps(_: &Clues) -> Verdict {
    let mut limit = [u64::MAX; 2];
    let arguments = [libc::RLIMIT_CORE as usize, limit.as_mut_ptr() as usize, 0, 0, 0, 0];
    raw::call(libc::SYS_getrlimit, arguments).map_err(|errno| format!("getrlimit: {errno}"))?;
    // A limit of 0 keeps files from being written, and core(5) doesn't apply it to a pipe: only 1 stops that too.
    if limit[0] > 1 || limit[1] > 1 {
        return Err(format!("cores may be dumped: {limit:?}"));
    }
    let piped =
        std::fs::read_to_string("/proc/sys/kernel/core_pattern").is_ok_and(|text| text.starts_with('|'));
    if piped && limit[0] != 1 {
        return Err("a crash runs the host's core handler: the limit must be 1".to_owned());
    }
    let all = [u64::MAX; 2];
    let arguments = [libc::RLIMIT_CORE as usize, all.as_ptr() as usize];
    super::refused("raise the limit of cores", libc::SYS_setrlimit, &arguments, &[libc::EPERM])
}
