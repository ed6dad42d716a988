//! Links, addresses and routes.

use agentkernel_protocol::machine::Network;
use rustix::io::Errno;

use super::mount::at;
use super::netlink::{Message, SET, Socket};

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const LINK_ADDRESS: u16 = 1;
const LINK_MTU: u16 = 4;
const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_LINK: u16 = 4;
/// IFF_UP.
const UP: u32 = 1;
/// IFF_NOARP.
const NO_QUESTIONS: u32 = 0x80;
/// IFA_F_NODAD: nobody else can have it, and it is needed at once.
const NO_DUPLICATES: u8 = 2;
/// RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST.
const MAIN_ROUTE: [u8; 4] = [254, 3, 0, 1];
/// The same with RT_SCOPE_LINK.
const LINK_ROUTE: [u8; 4] = [254, 3, 253, 1];
/// RTNH_F_ONLINK: the gateway may be in another network than the address.
const ON_LINK: u32 = 4;

/// The loopback, and the machine's device where it has one.
pub(super) fn start(network: Option<&Network>) -> Result<(), String> {
    let socket = Socket::open().map_err(at("open a netlink socket"))?;
    let loopback = socket.index("lo").map_err(at("find the loopback interface"))?;
    socket.ask(link(loopback, UP, UP)).map_err(at("bring up the loopback interface"))?;
    let Some(network) = network else { return Ok(()) };
    let interface = &network.interface;
    let index = socket.index(interface).map_err(at(format!("find the network interface {interface}")))?;
    only_what_was_said(network)?;
    for (what, message) in messages(network, index) {
        socket.ask(message).map_err(at(format!("{what} of {interface}")))?;
    }
    Ok(())
}

/// In place of what the machine had; a machine that had none can't get one.
pub(super) fn renew(old: Option<&Network>, new: Option<&Network>) -> Result<(), String> {
    let (old, new) = match (old, new) {
        (None, None) => return Ok(()),
        (Some(old), Some(new)) if old.interface == new.interface => (old, new),
        _ => return Err("the machine's network device is another than it was".to_owned()),
    };
    let interface = &new.interface;
    let socket = Socket::open().map_err(at("open a netlink socket"))?;
    let index = socket.index(interface).map_err(at(format!("find the network interface {interface}")))?;
    // Routes, and addresses of IPv6, go with it.
    socket.ask(link(index, 0, UP)).map_err(at(format!("bring down {interface}")))?;
    for message in old_addresses(old, index) {
        match socket.ask(message) {
            Ok(()) | Err(Errno::ADDRNOTAVAIL) => {}
            Err(errno) => return Err(at(format!("remove the old address of {interface}"))(errno)),
        }
    }
    for (what, message) in messages(new, index) {
        socket.ask(message).map_err(at(format!("{what} of {interface}")))?;
    }
    Ok(())
}

fn old_addresses(old: &Network, index: u32) -> Vec<Message> {
    let message = |family: i32, own: &[u8], prefix| {
        // Both families have small numbers.
        Message::new(DELETE_ADDRESS, 0, &[&[family as u8, prefix, 0, 0], &index.to_ne_bytes()])
            .with(ADDRESS_LOCAL, own)
    };
    let version_6 = old.version_6.as_ref().map(|own| message(libc::AF_INET6, &own.address[..], own.prefix));
    std::iter::once(message(libc::AF_INET, &old.address[..], old.prefix)).chain(version_6).collect()
}

/// Nothing of IPv6 is made up, and nothing is learnt from who else is on the link (ip-sysctl.rst). A kernel without IPv6
/// needs not be told.
fn only_what_was_said(network: &Network) -> Result<(), String> {
    let (setting, value) = match network.version_6 {
        None => ("disable_ipv6", "1"),
        Some(_) => ("accept_ra", "0"),
    };
    let path = format!("/proc/sys/net/ipv6/conf/{}/{setting}", network.interface);
    match std::fs::write(&path, value) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("set {path}: {error}")),
        _ => Ok(()),
    }
}

/// All that makes the interface with this number what `network` says, in order.
fn messages(network: &Network, index: u32) -> Vec<(&'static str, Message)> {
    let mut messages = Vec::new();
    if let Some(mac) = &network.mac {
        // A link that is up may refuse it.
        let message = link(index, 0, UP).with(LINK_ADDRESS, &**mac);
        messages.push(("set the link address", message));
    }
    if network.gateway.is_none() {
        // Whoever has the same link address is the one neighbour: the kernel sends there what it knows no address of.
        messages.push(("ask nobody for link addresses", link(index, NO_QUESTIONS, NO_QUESTIONS)));
    }
    let up = link(index, UP, UP).with(LINK_MTU, &network.mtu.to_ne_bytes());
    messages.push(("set the longest packet", up));
    let gateway = network.gateway.as_ref().map(|gateway| &gateway[..]);
    let version_4 = (libc::AF_INET, &network.address[..], network.prefix, gateway);
    let version_6 = network.version_6.as_ref().map(|own| {
        let gateway = own.gateway.as_ref().map(|gateway| &gateway[..]);
        (libc::AF_INET6, &own.address[..], own.prefix, gateway)
    });
    for (family, own, prefix, gateway) in [Some(version_4), version_6].into_iter().flatten() {
        // Both families have small numbers.
        let family = family as u8;
        messages.push(("set the address", address(family, index, own, prefix)));
        messages.push(("set the gateway", default_route(family, index, gateway)));
    }
    messages
}

/// struct ifinfomsg: of its flags only those of `change` are.
fn link(index: u32, flags: u32, change: u32) -> Message {
    let body = [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), change.to_ne_bytes()];
    Message::new(NEW_LINK, 0, &[&body.concat()])
}

/// struct ifaddrmsg.
fn address(family: u8, index: u32, address: &[u8], prefix: u8) -> Message {
    Message::new(NEW_ADDRESS, SET, &[&[family, prefix, NO_DUPLICATES, 0], &index.to_ne_bytes()])
        .with(ADDRESS_LOCAL, address)
        .with(ADDRESS_ADDRESS, address)
}

/// struct rtmsg.
fn default_route(family: u8, index: u32, gateway: Option<&[u8]>) -> Message {
    let through = &index.to_ne_bytes();
    let everywhere = &[family, 0, 0, 0];
    match gateway {
        Some(gateway) => Message::new(NEW_ROUTE, SET, &[everywhere, &MAIN_ROUTE, &ON_LINK.to_ne_bytes()])
            .with(ROUTE_GATEWAY, gateway)
            .with(ROUTE_LINK, through),
        None => Message::new(NEW_ROUTE, SET, &[everywhere, &LINK_ROUTE, &[0; 4]]).with(ROUTE_LINK, through),
    }
}

#[cfg(test)]
mod tests {
    use agentkernel_protocol::machine::NetworkVersion6;

    use super::*;

    #[test]
    fn a_link_gets_its_address_while_it_is_down() {
        let network = Network {
            interface: "eth0".into(),
            mac: Some([2; 6].into()),
            address: [10, 0, 0, 2].into(),
            prefix: 30,
            gateway: Some([10, 0, 0, 1].into()),
            mtu: 1400,
            version_6: None,
        };
        let what = |network: &Network| messages(network, 2).into_iter().map(|(what, _)| what).collect();
        let all: Vec<_> = what(&network);
        assert_eq!(
            all,
            ["set the link address", "set the longest packet", "set the address", "set the gateway"]
        );
        let (address, gateway) = ([0xfd; 16].into(), Some([0xfe; 16].into()));
        let version_6 = Some(NetworkVersion6 { address, prefix: 64, gateway });
        let more: Vec<_> = what(&Network { mac: None, version_6, ..network.clone() });
        assert_eq!(more.len(), 5);
        let alone: Vec<_> = what(&Network { gateway: None, ..network });
        assert_eq!(alone[1..3], ["ask nobody for link addresses", "set the longest packet"]);
        assert_ne!(link(1, UP, UP), link(1, 0, UP));
    }
}
