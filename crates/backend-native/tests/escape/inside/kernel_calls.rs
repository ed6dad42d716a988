//! Calls that no box needs.

use super::{Clues, each, held_by, raw, refused};
use crate::attempt::Verdict;

const EPERM: &[i32] = &[libc::EPERM];
const GONE: &[i32] = &[libc::ENOSYS];

pub(crate) fn keyrings(_: &Clues) -> Verdict {
    let text = c"user".as_ptr() as usize;
    each([
        refused("add_key", libc::SYS_add_key, &[text, text, text, 4, usize::MAX - 3], EPERM),
        refused("request_key", libc::SYS_request_key, &[text, text, 0, 0], EPERM),
        refused("keyctl", libc::SYS_keyctl, &[0, usize::MAX - 2, 1], EPERM),
    ])
}

pub(crate) fn bpf(_: &Clues) -> Verdict {
    let attributes = [0u64; 16];
    refused("bpf", libc::SYS_bpf, &[0, attributes.as_ptr() as usize, 128], EPERM)
}

pub(crate) fn perf_events(_: &Clues) -> Verdict {
    let attributes = [0u64; 16];
    refused(
        "perf_event_open",
        libc::SYS_perf_event_open,
        &[attributes.as_ptr() as usize, 0, usize::MAX, usize::MAX, 0],
        EPERM,
    )
}

pub(crate) fn io_uring(_: &Clues) -> Verdict {
    let parameters = [0u32; 30];
    each([
        refused("io_uring_setup", libc::SYS_io_uring_setup, &[1, parameters.as_ptr() as usize], EPERM),
        refused("io_uring_enter", libc::SYS_io_uring_enter, &[0; 6], EPERM),
        refused("io_uring_register", libc::SYS_io_uring_register, &[0; 4], EPERM),
    ])
}

pub(crate) fn userfaultfd(_: &Clues) -> Verdict {
    refused("userfaultfd", libc::SYS_userfaultfd, &[0], EPERM)
}

pub(crate) fn modules(_: &Clues) -> Verdict {
    each([
        refused("init_module", libc::SYS_init_module, &[0; 3], EPERM),
        refused("finit_module", libc::SYS_finit_module, &[0; 3], EPERM),
        refused("delete_module", libc::SYS_delete_module, &[c"x".as_ptr() as usize, 0], EPERM),
    ])
}

pub(crate) fn other_kernels(_: &Clues) -> Verdict {
    each([
        refused("kexec_load", libc::SYS_kexec_load, &[0; 4], EPERM),
        #[cfg(target_arch = "x86_64")]
        refused("kexec_file_load", libc::SYS_kexec_file_load, &[0; 5], EPERM),
    ])
}

pub(crate) fn reboot(_: &Clues) -> Verdict {
    // LINUX_REBOOT_CMD_CAD_OFF: harmless even where it works.
    refused("reboot", libc::SYS_reboot, &[0xfee1_dead, 0x2812_1969, 0, 0], EPERM)
}

pub(crate) fn swap(_: &Clues) -> Verdict {
    let path = c"/tmp/swap".as_ptr() as usize;
    each([
        refused("swapon", libc::SYS_swapon, &[path, 0], EPERM),
        refused("swapoff", libc::SYS_swapoff, &[path], EPERM),
    ])
}

pub(crate) fn host_name(_: &Clues) -> Verdict {
    let name = c"evil".as_ptr() as usize;
    each([
        refused("sethostname", libc::SYS_sethostname, &[name, 4], EPERM),
        refused("setdomainname", libc::SYS_setdomainname, &[name, 4], EPERM),
    ])
}

pub(crate) fn clock(clues: &Clues) -> Verdict {
    let time = [1_000_000u64, 0];
    let at = time.as_ptr() as usize;
    // struct timex: modes ADJ_TICK; large enough for all of it.
    let mut adjust = [0u64; 26];
    adjust[0] = 0x4000;
    let adjust = adjust.as_mut_ptr() as usize;
    let mut verdicts = vec![
        refused("settimeofday", libc::SYS_settimeofday, &[at, 0], EPERM),
        refused("clock_settime", libc::SYS_clock_settime, &[libc::CLOCK_REALTIME as usize, at], EPERM),
        refused("adjtimex", libc::SYS_adjtimex, &[adjust], EPERM),
    ];
    if clues.is_restrictive() {
        verdicts.push(refused("clock_adjtime", libc::SYS_clock_adjtime, &[0, adjust], EPERM));
    }
    each(verdicts)
}

pub(crate) fn quotas(_: &Clues) -> Verdict {
    let path = c"/dev/sda1".as_ptr() as usize;
    each([
        refused("quotactl", libc::SYS_quotactl, &[0x8000_0200, path, 0, 0], EPERM),
        refused("quotactl_fd", 443, &[0; 4], EPERM),
        refused("acct", libc::SYS_acct, &[path], EPERM),
    ])
}

pub(crate) fn kernel_log(_: &Clues) -> Verdict {
    let mut buffer = [0u8; 256];
    each([
        refused("read the kernel's log", libc::SYS_syslog, &[3, buffer.as_mut_ptr() as usize, 256], EPERM),
        refused("clear the kernel's log", libc::SYS_syslog, &[5, 0, 0], EPERM),
        super::open_refused("/dev/kmsg", libc::O_RDONLY, &[libc::ENOENT]),
    ])
}

pub(crate) fn personality(_: &Clues) -> Verdict {
    each([
        // Without randomised addresses, and with readable meaning executable.
        refused("personality ADDR_NO_RANDOMIZE", libc::SYS_personality, &[0x004_0000], EPERM),
        refused("personality READ_IMPLIES_EXEC", libc::SYS_personality, &[0x040_0000], EPERM),
        refused("personality MMAP_PAGE_ZERO", libc::SYS_personality, &[0x010_0000], EPERM),
    ])
}

pub(crate) fn watching(_: &Clues) -> Verdict {
    each([
        refused("fanotify_init", libc::SYS_fanotify_init, &[0, 0], EPERM),
        refused("fanotify_mark", libc::SYS_fanotify_mark, &[0; 5], EPERM),
    ])
}

pub(crate) fn memory_placement(_: &Clues) -> Verdict {
    each([
        refused("move_pages", libc::SYS_move_pages, &[1, 0, 0, 0, 0, 0], EPERM),
        refused("migrate_pages", libc::SYS_migrate_pages, &[1, 0, 0, 0], EPERM),
        refused("mbind", libc::SYS_mbind, &[0; 6], EPERM),
    ])
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn ports_and_segments(_: &Clues) -> Verdict {
    each([
        refused("iopl", libc::SYS_iopl, &[3], EPERM),
        refused("ioperm", libc::SYS_ioperm, &[0x80, 1, 1], EPERM),
        refused("modify_ldt", libc::SYS_modify_ldt, &[0, 0, 0], GONE),
        refused("uselib", libc::SYS_uselib, &[0], GONE),
    ])
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn ports_and_segments(_: &Clues) -> Verdict {
    refused("nfsservctl", libc::SYS_nfsservctl, &[0; 3], GONE)
}

pub(crate) fn unknown_calls(_: &Clues) -> Verdict {
    // What is newer than the filter is not there; and nothing has such a number.
    each([refused("a call from the future", 999, &[], GONE), refused("a senseless call", 0x7fff, &[], GONE)])
}

pub(crate) fn other_interfaces(_: &Clues) -> Verdict {
    let killed = |what: &str, status: Result<i32, i32>| {
        let status = status.map_err(|errno| format!("fork: errno {errno}"))?;
        match (libc::WIFSIGNALED(status), libc::WTERMSIG(status), libc::WEXITSTATUS(status)) {
            (true, signal, _) => Ok(format!("{what}: killed by signal {signal}")),
            (_, _, 0) => Ok(format!("{what}: refused")),
            _ => Err(format!("{what} went past the filter")),
        }
    };
    each([
        // 0x40000000 marks the x32 interface; 39 is getpid.
        killed("the x32 interface", raw::in_child(|| u8::from(raw::call(0x4000_0000 + 39, [0; 6]).is_ok()))),
        #[cfg(target_arch = "x86_64")]
        killed("the 32-bit interface", raw::in_child(|| u8::from(raw::getpid_32() > 0))),
    ])
}

pub(crate) fn scheduling(_: &Clues) -> Verdict {
    let priority = 50i32;
    let arguments = [0, libc::SCHED_RR as usize, &raw const priority as usize, 0, 0, 0];
    each([
        held_by("real-time scheduling", raw::call(libc::SYS_sched_setscheduler, arguments), EPERM),
        refused(
            "a negative nice value",
            libc::SYS_setpriority,
            &[0, 0, (-20i32) as usize],
            &[libc::EACCES, libc::EPERM],
        ),
        // IOPRIO_WHO_PROCESS, class real-time.
        refused("real-time input and output", libc::SYS_ioprio_set, &[1, 0, 1 << 13], EPERM),
    ])
}
