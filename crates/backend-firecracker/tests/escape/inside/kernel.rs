//! The machine's kernel: replacing it, extending it, ending it, and its settings.

use super::{each, open_refused, refused};
use crate::stage::Verdict;

const CLOSED: &[i32] = &[libc::EACCES, libc::EROFS, libc::EPERM, libc::ENOENT];

pub(super) fn calls() -> Verdict {
    let no = &[libc::EPERM, libc::ENOSYS];
    let path = c"/tmp/probe".as_ptr() as usize;
    let empty = c"".as_ptr() as usize;
    let mut verdicts = vec![
        refused("init_module", libc::SYS_init_module, &[path, 8, empty], no),
        refused("finit_module", libc::SYS_finit_module, &[0, empty, 0], no),
        refused("delete_module", libc::SYS_delete_module, &[path, 0], no),
        refused("kexec_load", libc::SYS_kexec_load, &[0, 0, 0, 0], no),
        refused("kexec_file_load", libc::SYS_kexec_file_load, &[0, 0, 0, 0, 0], no),
        refused("swapon", libc::SYS_swapon, &[path, 0], no),
        refused("swapoff", libc::SYS_swapoff, &[path], no),
        refused("acct", libc::SYS_acct, &[path], no),
        refused("mount", libc::SYS_mount, &[path, path, path, 0, 0], no),
        refused("umount", libc::SYS_umount2, &[c"/".as_ptr() as usize, 2], no),
        refused("pivot_root", libc::SYS_pivot_root, &[path, path], no),
        refused("unshare", libc::SYS_unshare, &[libc::CLONE_NEWNS as usize], no),
        refused("settimeofday", libc::SYS_settimeofday, &[0, 0], no),
        refused("bpf", libc::SYS_bpf, &[0, 0, 0], no),
        refused("perf_event_open", libc::SYS_perf_event_open, &[0, 0, 0, 0, 0], no),
        refused("userfaultfd", libc::SYS_userfaultfd, &[0], no),
        refused("io_uring_setup", libc::SYS_io_uring_setup, &[1, 0], no),
        refused("add_key", libc::SYS_add_key, &[path, path, 0, 0, 0], no),
        refused("syslog", libc::SYS_syslog, &[3, 0, 0], no),
    ];
    // The magic numbers of reboot(2); a restart would end the machine, and this attempt with it.
    for (what, command) in [
        ("restart", 0x0123_4567_usize),
        ("halt", 0xcdef_0123),
        ("power off", 0x4321_fedc),
        ("restart with a command", 0xa1b2_c3d4),
        ("kexec", 0x4558_4543),
        ("suspend", 0xd000_fce2),
        ("ctrl-alt-del", 0x89ab_cdef),
    ] {
        let arguments = [0xfee1_dead, 0x2812_1969, command, path];
        verdicts.push(refused(&format!("reboot: {what}"), libc::SYS_reboot, &arguments, no));
    }
    each(verdicts)
}

pub(super) fn settings() -> Verdict {
    let names = [
        "proc/sysrq-trigger",
        "proc/sys/kernel/sysrq",
        "proc/sys/kernel/core_pattern",
        "proc/sys/kernel/modprobe",
        "proc/sys/kernel/panic",
        "proc/sys/kernel/hostname",
        "proc/sys/kernel/randomize_va_space",
        "proc/sys/vm/overcommit_memory",
        "proc/sys/vm/panic_on_oom",
        "proc/sys/vm/drop_caches",
        "proc/sys/fs/suid_dumpable",
        "proc/sys/user/max_user_namespaces",
        "sys/kernel/uevent_helper",
        "sys/power/state",
        "sys/kernel/mm/transparent_hugepage/enabled",
        "sys/block/vda/ro",
        "sys/devices/system/cpu/cpu0/online",
    ];
    each(names.map(|name| open_refused(&format!("/{name}"), libc::O_WRONLY, CLOSED)))
}
