//! The network of a box without rights: `pasta` (package passt) speaks for it in user space with the user's own sockets.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{PipeReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agentkernel_sys::companion::{self, Companion};
use agentkernel_sys::netlink::{self, Protocol, Socket};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::{Connected, NetworkError, forbidden, program};

/// How long it may take until it is ready; it needs some 30 ms, and for ever where it may not open the tun device.
const READY_SECONDS: u64 = 10;
/// The box's address, the same in every box: each is alone in its network.
const IPV4: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 2);
const IPV4_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 1);
const IPV6: Ipv6Addr = Ipv6Addr::new(0xfd8b, 0x3c61, 0x7e42, 0xac5e, 0, 0, 0, 2);
const IPV6_GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfd8b, 0x3c61, 0x7e42, 0xac5e, 0, 0, 0, 1);

/// Addresses that stand for the Internet when the kernel is asked for the way there.
const SOMEWHERE: Ipv4Addr = Ipv4Addr::new(1, 0, 0, 1);
const SOMEWHERE_IPV6: Ipv6Addr = Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1);

/// The `pasta` of this machine.
#[derive(Debug, Clone)]
pub(super) struct Pasta {
    /// The program.
    pub(super) path: PathBuf,
    /// Whether it answers for [`forbidden::RESOLVER`] with the host's resolver.
    pub(super) resolver: bool,
}

/// Whether the device is there that `pasta` puts into boxes.
pub(super) fn tun_problem() -> Option<String> {
    let path = Path::new("/dev/net/tun");
    match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => None,
        Err(error) => Some(format!("{} can't be opened: {error}", path.display())),
    }
}

/// By which protocols the host reaches other networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Families {
    ipv4: bool,
    ipv6: bool,
}

impl Families {
    fn of_the_host(socket: &mut Socket) -> Result<Self, NetworkError> {
        let mut leads_out = |address| {
            netlink::route_to(socket, address)
                .map(|interface| interface.is_some())
                .map_err(NetworkError::kernel("look up a route"))
        };
        let families = Self { ipv4: leads_out(SOMEWHERE.into())?, ipv6: leads_out(SOMEWHERE_IPV6.into())? };
        if !families.ipv4 && !families.ipv6 {
            return Err(NetworkError::Unavailable {
                why: "this machine has no default route, which a rootless sandbox's network needs: connect it, or use \
                      `--no-network`"
                    .to_owned(),
            });
        }
        Ok(families)
    }
}

impl Pasta {
    /// Starts one for the box of process `pid`. It ends when that process has ended.
    pub(super) fn connect(&self, namespace: BorrowedFd<'_>, pid: u32) -> Result<Connected, NetworkError> {
        let mut socket = Socket::open(Protocol::Route)
            .map_err(NetworkError::kernel("open the kernel's network settings"))?;
        let host = netlink::list_addresses(&mut socket).map_err(NetworkError::kernel("list addresses"))?;
        let families = Families::of_the_host(&mut socket)?;
        let user_path = format!("/proc/{pid}/ns/user");
        let user = File::open(&user_path).map_err(NetworkError::file("open", &user_path))?;
        // Refused before anything could be sent.
        let refusals = forbidden::refusals(&host, Some(IPV6));
        netlink::send_in_namespaces(user.as_fd(), namespace, Protocol::Policy, refusals)
            .map_err(NetworkError::kernel("close the sandbox's network"))?;
        let accompanied = companion::open_process(pid)
            .map_err(NetworkError::file("open", format!("/proc/{pid}")))?
            .ok_or(NetworkError::BoxGone)?;
        let helper_pid = self.start(pid, &accompanied, families)?;
        Ok(Connected {
            ipv4: families.ipv4.then_some(IPV4),
            ipv6: families.ipv6.then_some(IPV6),
            helper_pid: Some(helper_pid),
        })
    }

    /// Its arguments. No port leads in or out but through the interface (`-t -u -T -U none`), and no address of the box
    /// stands for the host (`--no-map-gw`).
    fn arguments(&self, pid: u32, pid_file: &str, families: Families) -> Vec<String> {
        let mut list: Vec<String> = ["pasta", "--foreground", "--quiet", "--config-net", "--no-map-gw"]
            .into_iter()
            .chain([
                "--no-dhcp",
                "--no-dhcpv6",
                "--no-ra",
                "-t",
                "none",
                "-u",
                "none",
                "-T",
                "none",
                "-U",
                "none",
            ])
            .chain(["-I", "eth0"])
            .chain(families.ipv4.then_some(["-n", "24"]).into_iter().flatten())
            .map(str::to_owned)
            .collect();
        let ipv4 = ("--ipv4-only", IpAddr::from(IPV4), IpAddr::from(IPV4_GATEWAY));
        let ipv6 = ("--ipv6-only", IpAddr::from(IPV6), IpAddr::from(IPV6_GATEWAY));
        for ((only, address, gateway), here, alone) in
            [(ipv4, families.ipv4, !families.ipv6), (ipv6, families.ipv6, !families.ipv4)]
        {
            if here {
                list.extend(["-a".to_owned(), address.to_string(), "-g".to_owned(), gateway.to_string()]);
                list.extend(alone.then(|| only.to_owned()));
            }
        }
        if self.resolver {
            list.extend(["--dns-forward".to_owned(), forbidden::RESOLVER.to_string()]);
        }
        list.extend(["--pid".to_owned(), pid_file.to_owned(), pid.to_string()]);
        list
    }

    /// Starts it and waits until it says its process id, which it does when all is set up.
    fn start(&self, pid: u32, accompanied: &OwnedFd, families: Families) -> Result<u32, NetworkError> {
        let failed = |source: std::io::Error| NetworkError::Program { path: self.path.clone(), source };
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|error| failed(error.into()));
        let output = program::scratch().map_err(failed)?;
        // Its standard input is the writing end of a pipe, which it opens once more by name for its process id. When it
        // ends before that, the pipe does too.
        let (sign, input) = std::io::pipe().map_err(failed)?;
        let arguments = self
            .arguments(pid, "/dev/fd/0", families)
            .iter()
            .map(|argument| text(argument.as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        Companion {
            program: &text(self.path.as_os_str().as_bytes())?,
            arguments: &arguments,
            environment: &[],
            accompanied: accompanied.as_fd(),
            output: output.as_fd(),
            input: input.as_fd(),
        }
        .start()
        .map_err(failed)?;
        drop(input);
        match self.read_sign(sign)? {
            Some(helper_pid) => Ok(helper_pid),
            None => Err(NetworkError::ProgramFailed {
                path: self.path.clone(),
                action: "connect the sandbox",
                message: program::words(output),
            }),
        }
    }

    /// The process id; None when it ended without a word.
    fn read_sign(&self, mut sign: PipeReader) -> Result<Option<u32>, NetworkError> {
        let failed = |source: std::io::Error| NetworkError::Program { path: self.path.clone(), source };
        let deadline = Instant::now() + Duration::from_secs(READY_SECONDS);
        let mut text = Vec::new();
        while !text.ends_with(b"\n") && text.len() < 32 {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut fds = [PollFd::new(&sign, PollFlags::IN)];
            match rustix::event::poll(&mut fds, Some(&limit)) {
                Ok(0) => {
                    return Err(NetworkError::ProgramHung {
                        path: self.path.clone(),
                        seconds: READY_SECONDS,
                    });
                }
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno.into())),
            }
            let mut bytes = [0; 32];
            match sign.read(&mut bytes).map_err(failed)? {
                0 => break,
                count => text.extend(&bytes[..count]),
            }
        }
        Ok(String::from_utf8_lossy(&text).trim().parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Families = Families { ipv4: true, ipv6: true };

    #[test]
    fn a_family_that_the_host_lacks_is_switched_off() {
        let pasta = Pasta { path: "/usr/bin/pasta".into(), resolver: false };
        let line = pasta.arguments(42, "x", Families { ipv6: false, ..BOTH }).join(" ");
        assert!(line.contains("--ipv4-only") && !line.contains("fd8b"), "{line}");
        let line = pasta.arguments(42, "x", Families { ipv4: false, ..BOTH }).join(" ");
        assert!(line.contains("--ipv6-only") && !line.contains("10.213"), "{line}");
    }

    #[test]
    fn no_argument_leads_to_the_host() {
        let pasta = Pasta { path: "/usr/bin/pasta".into(), resolver: true };
        let line = pasta.arguments(42, "/dev/fd/0", BOTH).join(" ");
        for present in [
            "--no-map-gw",
            "-t none -u none -T none -U none",
            "--foreground",
            "--dns-forward 192.0.0.53",
            "--pid /dev/fd/0 42",
        ] {
            assert!(line.contains(present), "{present}: {line}");
        }
    }

    #[test]
    fn one_that_fails_at_once_is_told_with_its_words() {
        let me = companion::open_process(std::process::id()).unwrap().unwrap();
        let error = Pasta { path: "/bin/cat".into(), resolver: false }.start(1, &me, BOTH).unwrap_err();
        assert!(matches!(error, NetworkError::ProgramFailed { .. }), "{error}");
        assert!(error.to_string().contains("cat") && error.to_string().contains("option"), "{error}");
        let missing =
            Pasta { path: "/no/such/pasta".into(), resolver: false }.start(1, &me, BOTH).unwrap_err();
        assert!(missing.to_string().starts_with("/no/such/pasta failed"), "{missing}");
    }
}
