//! The decisions that depend on a call's arguments, by the names that `syscalls.txt` uses.
//!
//! Shared with the build script, which compiles them: no dependency but the standard library, and no constant from
//! libc, since the build script runs on the building machine. Linux gives these numbers the same values on x86_64 and
//! aarch64.
//!
//! Only the low 32 bits of an argument are looked at. That is right for all arguments here: the kernel itself reads
//! them as 32-bit values, so high bits neither change what a call does nor hide it from the filter.

use super::compiler::{Action, Case, Check, Test};

pub(super) const EPERM: u16 = 1;
pub(super) const ENOSYS: u16 = 38;
const EPROTONOSUPPORT: u16 = 93;
const EAFNOSUPPORT: u16 = 97;

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. (CLONE_NEWTIME shares its bit with the exit
/// signal and is for clone3 and unshare only.)
const CLONE_NAMESPACES: u32 =
    0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const SOCK_RAW: u32 = 3;
const SOCK_SEQPACKET: u32 = 5;
/// What of socket(2)'s type argument is the type; the rest are flags.
const SOCK_TYPE_MASK: u32 = 0xf;
/// The default, ICMP (ping without privileges), TCP, UDP and ICMPv6: none that would load a protocol module.
const INTERNET_PROTOCOLS: &[u32] = &[0, 1, 6, 17, 58];
const NETLINK_ROUTE: u32 = 0;

/// PER_LINUX with and without UNAME26, PER_LINUX32 with and without it, and the query of the present value.
const HARMLESS_PERSONALITIES: &[u32] = &[0, 0x0002_0000, 0x8, 0x0002_0008, 0xffff_ffff];

/// TIOCSTI types into another's terminal, TIOCLINUX does so through the console's selection, TIOCSETD loads line
/// disciplines, TIOCCONS redirects the console.
const TERMINAL_ABUSE: &[u32] = &[0x5412, 0x541c, 0x5423, 0x541d];

const fn argument(index: u8, values: &'static [u32]) -> Test {
    Test { index, mask: u32::MAX, values }
}

const TYPE_STREAM_OR_DATAGRAM: Test =
    Test { index: 1, mask: SOCK_TYPE_MASK, values: &[SOCK_STREAM, SOCK_DGRAM] };

/// The check that `syscalls.txt` calls `name`.
pub(super) fn find(name: &str) -> Option<Check> {
    let deny = Action::Errno;
    Some(match name {
        "clone" => Check {
            cases: vec![Case {
                tests: vec![Test { index: 0, mask: CLONE_NAMESPACES, values: &[0] }],
                action: Action::Allow,
            }],
            otherwise: deny(EPERM),
        },
        "personality" => Check {
            cases: vec![Case { tests: vec![argument(0, HARMLESS_PERSONALITIES)], action: Action::Allow }],
            otherwise: deny(EPERM),
        },
        "personality-strict" => Check {
            cases: vec![Case { tests: vec![argument(0, &[0, 0xffff_ffff])], action: Action::Allow }],
            otherwise: deny(EPERM),
        },
        "socket" => {
            let mut cases = local_and_internet();
            cases.extend(route_netlink());
            Check { cases, otherwise: deny(EAFNOSUPPORT) }
        }
        "socket-strict" => Check { cases: local_and_internet(), otherwise: deny(EAFNOSUPPORT) },
        "socketpair" => Check {
            cases: vec![Case { tests: vec![argument(0, &[AF_UNIX])], action: Action::Allow }],
            otherwise: deny(EAFNOSUPPORT),
        },
        "ioctl" => Check {
            cases: vec![Case { tests: vec![argument(1, TERMINAL_ABUSE)], action: deny(EPERM) }],
            otherwise: Action::Allow,
        },
        _ => return None,
    })
}

/// Unix sockets, and TCP, UDP and ping over IP. Raw sockets get EPERM as without CAP_NET_RAW, other protocols
/// EPROTONOSUPPORT as from a kernel without them (Go tries MPTCP first and then falls back).
fn local_and_internet() -> Vec<Case> {
    const INTERNET: Test = argument(0, &[AF_INET, AF_INET6]);
    const UNIX_TYPES: Test =
        Test { index: 1, mask: SOCK_TYPE_MASK, values: &[SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] };
    vec![
        Case {
            tests: vec![INTERNET, TYPE_STREAM_OR_DATAGRAM, argument(2, INTERNET_PROTOCOLS)],
            action: Action::Allow,
        },
        Case { tests: vec![INTERNET, TYPE_STREAM_OR_DATAGRAM], action: Action::Errno(EPROTONOSUPPORT) },
        Case { tests: vec![INTERNET], action: Action::Errno(EPERM) },
        Case { tests: vec![argument(0, &[AF_UNIX]), UNIX_TYPES], action: Action::Allow },
        Case { tests: vec![argument(0, &[AF_UNIX])], action: Action::Errno(EPERM) },
    ]
}

/// Netlink for the routing tables alone: C libraries, Go and Node list interfaces and addresses with it. The other
/// netlink protocols get the errno of a kernel without them; sudo and the shadow tools then skip their audit messages,
/// where EPERM would make them fail.
fn route_netlink() -> Vec<Case> {
    const NETLINK: Test = argument(0, &[AF_NETLINK]);
    const TYPES: Test = Test { index: 1, mask: SOCK_TYPE_MASK, values: &[SOCK_RAW, SOCK_DGRAM] };
    vec![
        Case { tests: vec![NETLINK, TYPES, argument(2, &[NETLINK_ROUTE])], action: Action::Allow },
        Case { tests: vec![NETLINK], action: Action::Errno(EPROTONOSUPPORT) },
    ]
}
