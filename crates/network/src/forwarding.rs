//! The kernel's switches for forwarding packets: only those that boxes need, and no interface changes its manners more
//! than that.

use std::fs;
use std::path::{Path, PathBuf};

use super::NetworkError;

/// net.ipv4 and net.ipv6 of the calling thread's network namespace.
const SETTINGS: &str = "/proc/sys/net";

/// A setting's value; None where the kernel has no such setting.
pub(super) fn read(setting: &str) -> Result<Option<u32>, NetworkError> {
    let path = Path::new(SETTINGS).join(setting);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(NetworkError::File { action: "read", path, source }),
    }
}

/// Sets it.
pub(super) fn write(setting: &str, value: u32) -> Result<(), NetworkError> {
    let path = Path::new(SETTINGS).join(setting);
    fs::write(&path, value.to_string()).map_err(NetworkError::file("write", path))
}

/// Whether this machine forwards IPv4 on all interfaces, by its administrator's will: we never set this.
pub(super) fn is_router_ipv4() -> Result<bool, NetworkError> {
    Ok(read("ipv4/ip_forward")? == Some(1))
}

/// Whether packets that come in on `interface` are forwarded.
pub(super) fn forwards_ipv4(interface: &str) -> Result<bool, NetworkError> {
    Ok(read(&format!("ipv4/conf/{interface}/forwarding"))? == Some(1))
}

/// Forwards what comes in on `interface`.
pub(super) fn forward_ipv4(interface: &str) -> Result<(), NetworkError> {
    write(&format!("ipv4/conf/{interface}/forwarding"), 1)
}

/// What the kernel does with IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ipv6Forwarding {
    /// There is no IPv6 here, or new interfaces get none.
    Absent,
    /// Nothing is forwarded.
    Off,
    /// As [`forward_ipv6`] leaves it: forwarded, but no interface (nor a new one) is a router's.
    OnByUs,
    /// Forwarded by the administrator's will.
    OnByOthers,
}

/// How it stands.
pub(super) fn ipv6() -> Result<Ipv6Forwarding, NetworkError> {
    let (Some(all), Some(new)) = (read("ipv6/conf/all/forwarding")?, read("ipv6/conf/default/forwarding")?)
    else {
        return Ok(Ipv6Forwarding::Absent);
    };
    if read("ipv6/conf/default/disable_ipv6")? != Some(0) || read("ipv6/conf/all/disable_ipv6")? != Some(0) {
        return Ok(Ipv6Forwarding::Absent);
    }
    Ok(match (all, new) {
        (0, _) => Ipv6Forwarding::Off,
        (_, 0) => Ipv6Forwarding::OnByUs,
        (_, _) => Ipv6Forwarding::OnByOthers,
    })
}

/// Switches IPv6 forwarding on and leaves each interface a host's. The kernel's one switch makes every interface a
/// router's, which then ignores router advertisements and drops the routes learnt from them, unless accept_ra is 2
/// (`Documentation/networking/ip-sysctl.rst`). So that is set for the moment of the switch, and taken back with the
/// interface's own `forwarding`, which decides its manners only. A later `all` = 1 by somebody else sets `default` to 1,
/// by which it is told from ours.
pub(super) fn forward_ipv6() -> Result<(), NetworkError> {
    let mut interfaces = Vec::new();
    for name in interface_names()? {
        let accepts = read(&setting(&name, "accept_ra"))?;
        let forwards = read(&setting(&name, "forwarding"))?;
        if accepts == Some(1) && forwards == Some(0) {
            write_if_there(&name, "accept_ra", 2)?;
        }
        interfaces.push((name, accepts, forwards));
    }
    write("ipv6/conf/all/forwarding", 1)?;
    for (name, accepts, forwards) in interfaces {
        if forwards == Some(0) {
            write_if_there(&name, "forwarding", 0)?;
            if accepts == Some(1) {
                write_if_there(&name, "accept_ra", 1)?;
            }
        }
    }
    Ok(())
}

/// Interfaces with settings of IPv6, and `default`.
fn interface_names() -> Result<Vec<String>, NetworkError> {
    let folder: PathBuf = Path::new(SETTINGS).join("ipv6/conf");
    let list = || -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder)? {
            names.extend(entry?.file_name().into_string().ok().filter(|name| name != "all"));
        }
        Ok(names)
    };
    list().map_err(NetworkError::file("list", folder.clone()))
}

fn setting(interface: &str, name: &str) -> String {
    format!("ipv6/conf/{interface}/{name}")
}

/// An interface may go at any moment; its setting goes with it.
fn write_if_there(interface: &str, name: &str, value: u32) -> Result<(), NetworkError> {
    match write(&setting(interface, name), value) {
        Err(NetworkError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
