//! The filters in force: what the kernel answers in a child under them, and that ordinary programs still work.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};

use super::Filter;
use crate::capability::set_no_new_privileges;
use crate::forked::in_child;

const BOTH: [Filter; 2] = [Filter::Standard, Filter::Restrictive];
/// An argument that makes every call harmless, should a filter let it through.
const WRONG: usize = usize::MAX;

/// Makes `calls` under `filter`; the errno of each, 0 for success.
#[expect(unsafe_code, reason = "system calls by number")]
fn errnos(filter: Filter, calls: &[(i64, [usize; 5])]) -> Vec<i32> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let status = in_child(|| {
        if set_no_new_privileges().and_then(|()| filter.install()).is_err() {
            return 1;
        }
        for (number, [a, b, c, d, e]) in calls {
            // SAFETY: the arguments are either harmless or point nowhere.
            let result = unsafe { libc::syscall(*number, *a, *b, *c, *d, *e) };
            let errno = if result == -1 { std::io::Error::last_os_error().raw_os_error() } else { Some(0) };
            if rustix::io::write(&writer, &errno.unwrap_or(-1).to_ne_bytes()).is_err() {
                return 2;
            }
        }
        0
    });
    drop(writer);
    assert!(status.success(), "{status}");
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes.chunks_exact(4).map(|errno| i32::from_ne_bytes(errno.try_into().unwrap())).collect()
}

fn assert_errno(filter: Filter, wanted: i32, calls: &[(&str, i64, [usize; 5])]) {
    let plain: Vec<_> = calls.iter().map(|(_, number, arguments)| (*number, *arguments)).collect();
    for (errno, (name, _, arguments)) in errnos(filter, &plain).into_iter().zip(calls) {
        assert_eq!(errno, wanted, "{name}{arguments:x?} under {filter:?}");
    }
}

macro_rules! calls {
    ($($name:ident)*) => { [$((stringify!($name), libc::$name, [WRONG; 5])),*] };
}

#[test]
fn what_reaches_beyond_the_box_is_denied() {
    for filter in BOTH {
        assert_errno(
            filter,
            libc::EPERM,
            &calls! {
                SYS_unshare SYS_setns SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_open_tree SYS_move_mount
                SYS_mount_setattr SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_ptrace SYS_process_vm_readv
                SYS_process_vm_writev SYS_process_madvise SYS_pidfd_getfd SYS_kcmp SYS_add_key SYS_request_key
                SYS_keyctl SYS_bpf SYS_perf_event_open SYS_userfaultfd SYS_io_uring_setup SYS_io_uring_enter
                SYS_io_uring_register SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_reboot
                SYS_name_to_handle_at SYS_open_by_handle_at SYS_lookup_dcookie SYS_fanotify_init SYS_fanotify_mark
                SYS_swapon SYS_swapoff SYS_quotactl SYS_acct SYS_sethostname SYS_setdomainname SYS_settimeofday
                SYS_clock_settime SYS_syslog SYS_mbind SYS_set_mempolicy SYS_get_mempolicy SYS_migrate_pages
                SYS_move_pages
            },
        );
    }
}

#[test]
fn what_is_unknown_or_has_another_way_does_not_exist() {
    const NEWER_THAN_ANY: i64 = 1000;
    for filter in BOTH {
        assert_errno(
            filter,
            libc::ENOSYS,
            &[
                ("clone3", libc::SYS_clone3, [WRONG; 5]),
                ("newer", NEWER_THAN_ANY, [0; 5]),
                #[cfg(target_arch = "x86_64")]
                ("x32 getpid", 0x4000_0000 | libc::SYS_getpid, [0; 5]),
                #[cfg(target_arch = "x86_64")]
                ("modify_ldt", libc::SYS_modify_ldt, [WRONG; 5]),
            ],
        );
    }
}

#[test]
fn arguments_decide() {
    const TIOCSTI: usize = 0x5412;
    const HIGH_BITS: usize = 0xffff_ffff_0000_0000;
    const ADDR_NO_RANDOMIZE: usize = 0x0004_0000;
    let namespaces = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    let mut denied: Vec<_> = namespaces
        .into_iter()
        .map(|flag| ("clone", libc::SYS_clone, [flag as u32 as usize | libc::SIGCHLD as usize, 0, 0, 0, 0]))
        .collect();
    denied.extend([
        ("clone with high bits", libc::SYS_clone, [0x1000_0011 | HIGH_BITS, 0, 0, 0, 0]),
        ("ioctl TIOCSTI", libc::SYS_ioctl, [WRONG, TIOCSTI, 0, 0, 0]),
        ("ioctl TIOCSTI with high bits", libc::SYS_ioctl, [WRONG, TIOCSTI | HIGH_BITS, 0, 0, 0]),
        ("ioctl TIOCLINUX", libc::SYS_ioctl, [WRONG, 0x541c, 0, 0, 0]),
        ("ioctl TIOCSETD", libc::SYS_ioctl, [WRONG, 0x5423, 0, 0, 0]),
        ("ioctl TIOCCONS", libc::SYS_ioctl, [WRONG, 0x541d, 0, 0, 0]),
        ("personality", libc::SYS_personality, [ADDR_NO_RANDOMIZE, 0, 0, 0, 0]),
        ("raw socket", libc::SYS_socket, [2, 3, 1, 0, 0]),
        ("raw socket, IPv6", libc::SYS_socket, [10, 3 | 0x80000, 58, 0, 0]),
    ]);
    let socket = |family: i32| ("socket", libc::SYS_socket, [family as usize, 1, 0, 0, 0]);
    let families =
        [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET, libc::AF_KEY, libc::AF_BLUETOOTH, libc::AF_TIPC]
            .map(socket);
    for filter in BOTH {
        assert_errno(filter, libc::EPERM, &denied);
        assert_errno(filter, libc::EAFNOSUPPORT, &families);
        let sctp = ("SCTP", libc::SYS_socket, [2, 1, 132, 0, 0]);
        assert_errno(filter, libc::EPROTONOSUPPORT, &[sctp]);
        // An ioctl that passes is judged by the kernel.
        assert_errno(filter, libc::EBADF, &[("ioctl", libc::SYS_ioctl, [WRONG, 0x5401, 0, 0, 0])]);
    }
}

#[test]
fn ordinary_calls_pass() {
    let calls = [
        ("getpid", libc::SYS_getpid, [0; 5]),
        ("unix socket", libc::SYS_socket, [1, 1 | 0x80800, 0, 0, 0]),
        ("tcp socket", libc::SYS_socket, [2, 1, 6, 0, 0]),
        ("udp socket", libc::SYS_socket, [2, 2, 0, 0, 0]),
        ("memfd", libc::SYS_memfd_create, [c"x".as_ptr() as usize, 0, 0, 0, 0]),
        ("membarrier", libc::SYS_membarrier, [0, 0, 0, 0, 0]),
        ("close_range", libc::SYS_close_range, [1000, 1001, 0, 0, 0]),
        ("faccessat2", libc::SYS_faccessat2, [WRONG, c"/".as_ptr() as usize, 0, 0, 0]),
        ("personality query", libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0]),
        ("sched_yield", libc::SYS_sched_yield, [0; 5]),
        ("prctl", libc::SYS_prctl, [libc::PR_GET_NO_NEW_PRIVS as usize, 0, 0, 0, 0]),
    ];
    for filter in BOTH {
        assert_errno(filter, 0, &calls);
    }
    assert_errno(Filter::Standard, 0, &[("route netlink", libc::SYS_socket, [16, 3, 0, 0, 0])]);
    // The kernel's own answer to a segment of no size.
    assert_errno(Filter::Standard, libc::EINVAL, &[("shmget", libc::SYS_shmget, [0; 5])]);
}

#[test]
fn the_restrictive_filter_refuses_more() {
    let absent = [
        ("shmget", libc::SYS_shmget, [0; 5]),
        ("msgget", libc::SYS_msgget, [0; 5]),
        ("semget", libc::SYS_semget, [0; 5]),
        ("mq_open", libc::SYS_mq_open, [0; 5]),
        ("io_setup", libc::SYS_io_setup, [0; 5]),
    ];
    assert_errno(Filter::Restrictive, libc::ENOSYS, &absent);
    let denied = [
        ("memfd_secret", libc::SYS_memfd_secret, [0; 5]),
        ("mlock", libc::SYS_mlock, [0; 5]),
        ("mlockall", libc::SYS_mlockall, [WRONG; 5]),
        ("vmsplice", libc::SYS_vmsplice, [WRONG; 5]),
    ];
    assert_errno(Filter::Restrictive, libc::EPERM, &denied);
    let netlink = [("route netlink", libc::SYS_socket, [16, 3, 0, 0, 0])];
    assert_errno(Filter::Restrictive, libc::EAFNOSUPPORT, &netlink);
    assert_errno(
        Filter::Standard,
        libc::EPROTONOSUPPORT,
        &[("audit netlink", libc::SYS_socket, [16, 3, 9, 0, 0])],
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
#[expect(unsafe_code, reason = "the i386 system call gate")]
fn a_call_through_the_i386_gate_ends_the_process() {
    const I386_GETPID: i32 = 20;
    let gate = || {
        // SAFETY: getpid changes nothing but eax; the kernel clobbers r8 to r11 in compatibility entry.
        unsafe {
            std::arch::asm!("int 0x80", inout("eax") I386_GETPID => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
    };
    let without = in_child(|| {
        gate();
        0
    });
    if !without.success() {
        println!("SKIPPED: this kernel has no i386 gate ({without})");
        return;
    }
    for filter in BOTH {
        let status = in_child(|| {
            if set_no_new_privileges().and_then(|()| filter.install()).is_err() {
                return 1;
            }
            gate();
            0
        });
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");
    }
}

#[test]
fn a_filter_needs_no_new_privileges_from_ordinary_users() {
    let status = in_child(|| {
        let dropped = crate::capability::set(crate::capability::CapabilitySet::EMPTY);
        u8::from(dropped.is_ok() && Filter::Standard.install() == Err(rustix::io::Errno::ACCESS))
    });
    assert_eq!(status.code(), Some(1));
}

#[expect(unsafe_code, reason = "the filter goes between fork and exec")]
fn run(filter: Filter, program: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    // SAFETY: both are child-safe.
    unsafe {
        command.pre_exec(move || {
            set_no_new_privileges()?;
            Ok(filter.install()?)
        });
    }
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: no {program} here");
            None
        }
        output => Some(output.unwrap()),
    }
}

#[test]
fn a_shell_works() {
    for filter in BOTH {
        let script =
            "(echo one; echo two) | sort -r | while read x; do echo $x; done; test -d /usr && uname >&2";
        let output = run(filter, "sh", &["-c", script]).unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"two\none\n"[..]), "{output:?}");
        assert_eq!(output.stderr, b"Linux\n");
    }
}

#[test]
fn python_works_with_threads_processes_and_sockets() {
    const PROGRAM: &str = "
import threading, subprocess, socket, multiprocessing, tempfile, shutil, os
found = []
threads = [threading.Thread(target=found.append, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert sorted(found) == list(range(8))
assert subprocess.check_output(['echo', 'hi']) == b'hi\\n'
with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
server = socket.create_server(('127.0.0.1', 0)); client = socket.create_connection(server.getsockname())
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
assert socket.getaddrinfo('localhost', 80)
folder = tempfile.mkdtemp(); open(folder + '/f', 'w').write('x'); shutil.copytree(folder, folder + '2')
shutil.rmtree(folder); shutil.rmtree(folder + '2')
print('done')
";
    for filter in BOTH {
        if let Some(output) = run(filter, "python3", &["-c", PROGRAM]) {
            assert_eq!(output.stdout, b"done\n", "{filter:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
