//! Runs compiled filters in a small interpreter, for both machines, and holds the results against the table.

use super::checks::{ENOSYS, EPERM};
use super::compiler::{Action, Column, Instruction, Machine, compile, ranges};

const TABLE: &str = include_str!("syscalls.txt");
const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ARCH: [(Machine, u32); 2] = [(Machine::X86_64, 0xc000_003e), (Machine::Aarch64, 0xc000_00b7)];

fn errno(errno: u16) -> u32 {
    0x0005_0000 | u32::from(errno)
}

/// What the kernel's interpreter would do; also the steps it took.
fn interpret(program: &[Instruction], arch: u32, number: u32, arguments: &[u64]) -> (u32, usize) {
    let word = |offset: u32| match offset {
        0 => number,
        4 => arch,
        _ => {
            let argument = arguments.get((offset as usize - 16) / 8).copied().unwrap_or(0);
            if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
        }
    };
    let (mut accumulator, mut at, mut steps) = (0, 0, 0);
    loop {
        let it = program[at];
        steps += 1;
        at += 1;
        let mut branch = |taken: bool| at += usize::from(if taken { it.jt } else { it.jf });
        match it.code {
            0x20 => accumulator = word(it.k),
            0x54 => accumulator &= it.k,
            0x05 => at += it.k as usize,
            0x15 => branch(accumulator == it.k),
            0x35 => branch(accumulator >= it.k),
            0x06 => return (it.k, steps),
            other => panic!("no such instruction: {other:#x}"),
        }
    }
}

#[test]
fn every_call_gets_what_its_row_says() {
    for (machine, arch) in ARCH {
        for column in [Column::Standard, Column::Restrictive] {
            let program = compile(TABLE, machine, column).unwrap();
            let ranges = ranges(TABLE, machine, column).unwrap();
            for number in (0..1024).chain([0x4000_0000, 0x4000_0000 | 59, u32::MAX]) {
                let range = ranges.iter().rev().find(|range| range.first <= number).unwrap();
                if range.check.cases.is_empty() {
                    let wanted = match range.check.otherwise {
                        Action::Allow => ALLOW,
                        Action::Errno(number) => errno(number),
                    };
                    assert_eq!(interpret(&program, arch, number, &[]).0, wanted, "{machine:?} {number}");
                }
            }
        }
    }
}

#[test]
fn a_call_costs_few_steps_and_a_filter_is_short() {
    for (machine, arch) in ARCH {
        let program = compile(TABLE, machine, Column::Standard).unwrap();
        assert!(program.len() < 420, "{} instructions", program.len());
        let steps = |number| interpret(&program, arch, number, &[40]).1;
        let ranges = ranges(TABLE, machine, Column::Standard).unwrap();
        let is_plain = |number: &u32| {
            ranges.iter().rev().find(|range| range.first <= *number).unwrap().check.cases.is_empty()
        };
        let plain = (0..500).filter(is_plain).map(steps).max().unwrap();
        assert!(plain <= 14, "{plain} steps");
        let checked = (0..500).map(steps).max().unwrap();
        assert!(checked <= 30, "{checked} steps");
    }
}

#[test]
fn foreign_interfaces_are_not_served() {
    const I386: u32 = 0x4000_0003;
    const ARM: u32 = 0x4000_0028;
    for (machine, arch) in ARCH {
        let program = compile(TABLE, machine, Column::Standard).unwrap();
        for foreign in [I386, ARM, ARCH[1 - machine as usize].1] {
            assert_eq!(interpret(&program, foreign, 1, &[]).0, KILL_PROCESS);
        }
        assert_eq!(interpret(&program, arch, 0x4000_0001, &[]).0, errno(ENOSYS));
    }
}

#[test]
fn arguments_decide_where_the_table_says_so() {
    let standard = compile(TABLE, Machine::X86_64, Column::Standard).unwrap();
    let restrictive = compile(TABLE, Machine::X86_64, Column::Restrictive).unwrap();
    let run = |program: &[Instruction], number, arguments: &[u64]| {
        interpret(program, 0xc000_003e, number, arguments).0
    };
    let (clone, personality, socket, ioctl) = (56, 135, 41, 16);
    for (number, arguments, in_standard, in_restrictive) in [
        // A thread, a fork, each namespace.
        (clone, vec![0x003d_0f00], ALLOW, ALLOW),
        (clone, vec![17], ALLOW, ALLOW),
        (clone, vec![0x1000_0011], errno(EPERM), errno(EPERM)),
        (clone, vec![0x4000_0011], errno(EPERM), errno(EPERM)),
        (clone, vec![0x0002_0011], errno(EPERM), errno(EPERM)),
        (clone, vec![0x0200_0011], errno(EPERM), errno(EPERM)),
        (personality, vec![0xffff_ffff], ALLOW, ALLOW),
        (personality, vec![8], ALLOW, errno(EPERM)),
        (personality, vec![0x0040_0000], errno(EPERM), errno(EPERM)),
        (ioctl, vec![0, 0x5401], ALLOW, ALLOW),
        (ioctl, vec![0, 0x5412], errno(EPERM), errno(EPERM)),
        (ioctl, vec![0, 0xffff_ffff_0000_5412], errno(EPERM), errno(EPERM)),
        (socket, vec![1, 1 | 0x80800, 0], ALLOW, ALLOW),
        (socket, vec![2, 1, 6], ALLOW, ALLOW),
        (socket, vec![10, 2, 0], ALLOW, ALLOW),
        (socket, vec![2, 3, 1], errno(EPERM), errno(EPERM)),
        (socket, vec![2, 3 | 0x80000, 255], errno(EPERM), errno(EPERM)),
        (socket, vec![2, 1, 262], errno(93), errno(93)),
        (socket, vec![16, 3, 0], ALLOW, errno(97)),
        (socket, vec![16, 3, 9], errno(93), errno(97)),
        (socket, vec![0x1_0000_0002, 1, 0], ALLOW, ALLOW),
        (socket, vec![17, 3, 0], errno(97), errno(97)),
        (socket, vec![38, 5, 0], errno(97), errno(97)),
        (socket, vec![40, 1, 0], errno(97), errno(97)),
    ] {
        assert_eq!(run(&standard, number, &arguments), in_standard, "standard {number} {arguments:x?}");
        assert_eq!(run(&restrictive, number, &arguments), in_restrictive, "strict {number} {arguments:x?}");
    }
}

#[test]
fn the_tables_numbers_are_libcs() {
    let rows: Vec<Vec<&str>> = TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_ascii_whitespace().collect())
        .collect();
    let column = if cfg!(target_arch = "x86_64") { 1 } else { 2 };
    macro_rules! same {
        ($($name:ident)*) => {$(
            let name = stringify!($name).strip_prefix("SYS_").unwrap();
            let row = rows.iter().find(|row| row[0] == name).unwrap();
            assert_eq!(row[column], libc::$name.to_string(), "{name}");
        )*};
    }
    same! {
        SYS_read SYS_write SYS_close SYS_ioctl SYS_clone SYS_clone3 SYS_execve SYS_exit SYS_exit_group SYS_wait4
        SYS_kill SYS_socket SYS_socketpair SYS_connect SYS_ptrace SYS_personality SYS_mount SYS_umount2
        SYS_pivot_root SYS_unshare SYS_setns SYS_bpf SYS_perf_event_open SYS_userfaultfd SYS_keyctl SYS_add_key
        SYS_request_key SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_reboot SYS_swapon
        SYS_process_vm_readv SYS_process_vm_writev SYS_kcmp SYS_name_to_handle_at SYS_open_by_handle_at
        SYS_fanotify_init SYS_fanotify_mark SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register
        SYS_open_tree SYS_move_mount SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_mount_setattr SYS_quotactl
        SYS_chroot SYS_acct SYS_syslog SYS_mbind SYS_move_pages SYS_seccomp SYS_landlock_restrict_self SYS_futex
        SYS_rseq SYS_membarrier SYS_memfd_create SYS_memfd_secret SYS_pidfd_open SYS_pidfd_getfd SYS_close_range
        SYS_openat2 SYS_faccessat2 SYS_epoll_pwait2 SYS_statx SYS_copy_file_range SYS_prctl SYS_mq_open SYS_shmget
    }
}

#[test]
fn a_wrong_table_is_refused_with_its_line() {
    for (table, what) in [
        ("read 0 63 allow", "a row has five columns"),
        ("read zero 63 allow =", "not a system call number"),
        ("read 0 63 perhaps =", "neither an action nor a check"),
        ("read 0 63 allow =\nwrite 0 64 allow =", "the number is out of range or has a row already"),
        ("read 0 63 allow =\nread 1 64 allow =", "the call has a row already"),
    ] {
        let error = compile(table, Machine::X86_64, Column::Standard).unwrap_err();
        assert_eq!((error.line, error.what), (table.lines().count(), what));
    }
}
