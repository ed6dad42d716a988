//! What this machine offers for `network on`, and the one way to get it.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use agentkernel_sys::netlink::{self, Protocol, Socket};
use rustix::thread::CapabilitySet;

use super::firewall::{self, Firewall};
use super::pasta::{self, Pasta};
use super::resolver::Resolver;
use super::{MachineNetwork, NetworkError, machine, program, veth};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// systemd-resolved(8): the real servers, where /etc/resolv.conf names its own stub.
const UPSTREAM_RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// More than any `resolv.conf` in use.
const RESOLV_CONF_BYTES: u64 = 64 * 1024;

/// How boxes of this process get their network, or why they don't. Cheap to make; knows this machine as it was then.
#[derive(Debug, Clone)]
pub struct NetworkHost {
    way: Result<Way, String>,
    resolver: Option<Resolver>,
}

#[derive(Debug, Clone)]
enum Way {
    Veth(Firewall),
    Pasta(Pasta),
}

/// What a box has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Its address, as seen in the box.
    pub ipv4: Option<Ipv4Addr>,
    /// The same for IPv6; None where the host has none.
    pub ipv6: Option<Ipv6Addr>,
    /// The process that carries its packets, where that is not the kernel. It ends with the box.
    pub helper_pid: Option<u32>,
}

/// Where the machine's settings are; tests have their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) resolv_conf: &'a Path,
    pub(super) upstream_resolv_conf: &'a Path,
    pub(super) runtime_folder: &'a Path,
}

/// What a [`NetworkHost`] was made from, as far as it changes while a machine runs: it moves to another network, and its
/// resolver's settings are written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp([Option<FileStamp>; 2]);

/// Device, inode, size and time of the last change: a file that was written anew differs in one of them.
type FileStamp = (u64, u64, u64, i64, i64);

impl Stamp {
    /// As it is now: two looks at files, and no reading.
    pub fn now() -> Self {
        Self([RESOLV_CONF, UPSTREAM_RESOLV_CONF].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
        }))
    }
}

impl NetworkHost {
    /// Looks at this machine. `rootless`: whether boxes are made without rights on the host.
    pub fn detect(rootless: bool) -> Self {
        let places = Places {
            resolv_conf: Path::new(RESOLV_CONF),
            upstream_resolv_conf: Path::new(UPSTREAM_RESOLV_CONF),
            runtime_folder: firewall::default_folder(),
        };
        Self::detect_in(rootless, places)
    }

    pub(super) fn detect_in(rootless: bool, places: Places<'_>) -> Self {
        let resolver = read(places.resolv_conf).and_then(|primary| {
            let upstream = read(places.upstream_resolv_conf).ok();
            Resolver::choose(&primary.unwrap_or_default(), upstream.flatten().as_deref(), is_own)
        });
        let policies = Socket::open(Protocol::Policy).map(drop).map_err(|_| {
            "the kernel has no IPsec policies (CONFIG_XFRM_USER), which keep a sandbox away from the host: load the module \
             (`modprobe xfrm_user`), or use `--no-network`"
                .to_owned()
        });
        let way = resolver.as_ref().map_err(Clone::clone).and_then(|resolver| match (policies, rootless) {
            (Err(why), _) => Err(why),
            (Ok(()), true) => find_pasta(resolver).map(Way::Pasta),
            (Ok(()), false) => find_veth(resolver, places).map(Way::Veth),
        });
        Self { way, resolver: resolver.ok() }
    }

    /// Whether boxes can have a network; else why not and what mends it, on one line.
    pub fn available(&self) -> Result<(), String> {
        self.way.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// The `/etc/resolv.conf` of a box with a network.
    pub fn resolv_conf(&self) -> Vec<u8> {
        self.resolver.as_ref().map(Resolver::file).unwrap_or_default()
    }

    /// Connects the box whose first process is `pid` and whose network namespace is `namespace`. Its id mappings must
    /// be written. Without rights it must not have changed its user yet: the kernel closes such a process's `/proc`
    /// entries to its parent until it executes a program (PR_SET_DUMPABLE of prctl(2)). Blocks for about a millisecond
    /// as root, some tens without. When it has returned without error, every rule is in force.
    pub fn connect(
        &self,
        namespace: BorrowedFd<'_>,
        pid: u32,
        box_id: &str,
    ) -> Result<Connected, NetworkError> {
        match &self.way {
            Err(why) => Err(NetworkError::Unavailable { why: why.clone() }),
            Ok(Way::Veth(firewall)) => veth::connect(firewall, namespace, box_id, None),
            Ok(Way::Pasta(pasta)) => pasta.connect(namespace, pid),
        }
    }

    /// Whether virtual machines can have a network; else why not and what mends it, on one line.
    ///
    /// # Errors
    /// The reason.
    pub fn available_to_machines(&self) -> Result<(), String> {
        self.available()?;
        match &self.way {
            Ok(Way::Veth(_)) => machine::available(),
            _ => Err("without root a machine has no network: run as root, or use `--no-network`".to_owned()),
        }
    }

    /// Makes the network namespace of the virtual machine `box_id`, which the host's user `user` will run, and connects it.
    /// It lives as long as the descriptor or a process in it. When this has returned without error, every rule is in force.
    /// Blocks for some milliseconds.
    ///
    /// # Errors
    /// See [`NetworkError`]; nothing is left then.
    pub fn connect_machine(&self, box_id: &str, user: u32) -> Result<MachineNetwork, NetworkError> {
        self.available_to_machines().map_err(|why| NetworkError::Unavailable { why })?;
        match &self.way {
            Ok(Way::Veth(firewall)) => machine::connect(firewall, box_id, user),
            _ => Err(NetworkError::Unavailable { why: "only root can connect machines".to_owned() }),
        }
    }

    /// Removes what a box that is surely dead has left on the host; its name if there was something. Needed only where a
    /// namespace outlives its box, since an interface goes with its namespace and `pasta` with its box. Takes 15 ms for
    /// an interface that is there, next to nothing else.
    pub fn reclaim(&self, dead_box_id: &str) -> Result<Option<String>, NetworkError> {
        if !matches!(self.way, Ok(Way::Veth(_))) {
            return Ok(None);
        }
        let name = veth::host_end(dead_box_id);
        let removed = Socket::open(Protocol::Route)
            .and_then(|mut socket| netlink::remove_link(&mut socket, &name))
            .map_err(NetworkError::kernel("remove a dead sandbox's network interface"))?;
        Ok(removed.then(|| format!("network interface {name}")))
    }
}

fn find_veth(resolver: &Resolver, places: Places<'_>) -> Result<Firewall, String> {
    let needed = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
    if !rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed)) {
        return Err("root lacks the rights to set up networks here (CAP_NET_ADMIN, CAP_SYS_ADMIN), as in a container: give \
                    it those, or use `--no-network`"
            .to_owned());
    }
    if let Some(problem) = firewall::problem() {
        return Err(problem);
    }
    Ok(Firewall { folder: places.runtime_folder.to_owned(), resolver: resolver.translated_to })
}

fn find_pasta(resolver: &Resolver) -> Result<Pasta, String> {
    let path = program::find("pasta").ok_or(
        "the program `pasta` is missing, which carries a rootless sandbox's packets: install it (`apt install passt`), \
         or use `--no-network`",
    )?;
    if let Some(problem) = pasta::tun_problem() {
        return Err(format!(
            "{problem}, which a rootless sandbox's network needs: `sudo modprobe tun && sudo chmod 666 /dev/net/tun`, \
             or use `--no-network`"
        ));
    }
    Ok(Pasta { path, resolver: resolver.translated_to.is_some() })
}

/// The file's text; None when there is no such file.
fn read(path: &Path) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(RESOLV_CONF_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} can't be read: {error}", path.display())),
    }
}

/// Whether the host has this address: only then can a socket be bound to it (ip(7)).
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_a_machine_has_no_network_and_is_told_why() {
        let pasta = Pasta { path: "/usr/bin/pasta".into(), resolver: false };
        let host = NetworkHost { way: Ok(Way::Pasta(pasta)), resolver: None };
        host.available().unwrap();
        let why = host.available_to_machines().unwrap_err();
        assert!(why.contains("root") && why.contains("--no-network"), "{why}");
        let error = host.connect_machine("0011223344556677", 7).unwrap_err();
        assert!(matches!(error, NetworkError::Unavailable { .. }), "{error}");
    }
}
