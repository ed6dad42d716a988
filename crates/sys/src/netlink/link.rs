//! Network interfaces: veth pairs, and what is asked about an interface (rtnetlink(7), `linux/if_link.h`).

use std::os::fd::{AsRawFd, BorrowedFd};

use super::message::{Attributes, Message};
use super::socket::{NetlinkError, Refusal, Socket};

/// Bytes of `struct ifinfomsg`.
const BODY: usize = 16;
/// IN6_ADDR_GEN_MODE_NONE of `linux/if_link.h`: no link-local address is made up.
const ADDRESS_GENERATION_NONE: u8 = 1;
/// IF_OPER_UP of `linux/if.h`.
const OPERATIONAL: u8 = 6;
/// VETH_INFO_PEER of `linux/veth.h`.
const VETH_INFO_PEER: u16 = 1;
/// IFLA_INET_CONF of `linux/if_link.h`.
const IFLA_INET_CONF: u16 = 1;
/// IFLA_INET6_ADDR_GEN_MODE of `linux/if_link.h`.
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;

/// A setting of IPv4 for one interface: IPV4_DEVCONF_* of `linux/ip.h`, sysctl net.ipv4.conf.NAME.*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Ipv4Setting {
    /// Whether packets that come in here may leave elsewhere.
    Forwarding = 1,
    /// Whether ICMP redirects from here change routes.
    AcceptRedirects = 4,
    /// Whether ICMP redirects are sent.
    SendRedirects = 6,
    /// 1: a packet must come from where its source is routed to.
    ReversePathFilter = 8,
    /// Whether addresses of 127.0.0.0/8 may appear here.
    RouteLocalnet = 26,
}

/// An interface's number in its network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(pub u32);

/// What the kernel tells about an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAnswer {
    /// Its number.
    pub index: InterfaceIndex,
    /// Its name.
    pub name: String,
    /// For a veth, the number of its other end, in that end's namespace.
    pub peer: Option<InterfaceIndex>,
    /// Whether it passes packets: on, and so is its other end.
    pub operational: bool,
}

impl LinkAnswer {
    /// The request for it by name.
    pub fn request(name: &str) -> Message {
        Message::new("find an interface", libc::RTM_GETLINK, 0)
            .body(&header(0, 0, 0))
            .text(libc::IFLA_IFNAME, name)
    }

    /// From the payload of RTM_NEWLINK.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let index = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
        let attributes = Attributes::of(payload.get(BODY..)?);
        Some(Self {
            index: InterfaceIndex(index),
            name: attributes.text(libc::IFLA_IFNAME)?.to_owned(),
            peer: attributes.number(libc::IFLA_LINK).map(InterfaceIndex),
            operational: attributes.value(libc::IFLA_OPERSTATE) == Some(&[OPERATIONAL]),
        })
    }
}

/// Finds an interface by name.
pub fn get_link(socket: &mut Socket, name: &str) -> Result<LinkAnswer, NetlinkError> {
    let mut found = None;
    socket.exchange(vec![LinkAnswer::request(name)], |_, payload| found = LinkAnswer::parse(payload))?;
    found.ok_or(NetlinkError::Malformed { action: "find an interface" })
}

/// All interfaces of the socket's namespace.
pub fn list_links(socket: &mut Socket) -> Result<Vec<LinkAnswer>, NetlinkError> {
    let mut found = Vec::new();
    let request = Message::new("list interfaces", libc::RTM_GETLINK, 0).body(&header(0, 0, 0));
    socket.dump(request, |_, payload| found.extend(LinkAnswer::parse(payload)))?;
    Ok(found)
}

/// The request for a veth(4) pair: `name` here, `peer_name` in the network namespace `peer_namespace`. Both ends carry
/// the same hardware address and resolve no neighbours (IFF_NOARP): on such an interface the kernel sends to the
/// interface's own address, which is the other end's too. So neither ARP nor neighbour discovery is ever spoken. A
/// taken name is EEXIST.
pub fn new_veth(
    name: &str,
    peer_name: &str,
    peer_namespace: BorrowedFd<'_>,
    hardware_address: [u8; 6],
) -> Message {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let no_arp = libc::IFF_NOARP as u32;
    Message::new("make a veth pair", libc::RTM_NEWLINK, flags)
        .body(&header(0, no_arp, no_arp))
        .text(libc::IFLA_IFNAME, name)
        .attribute(libc::IFLA_ADDRESS, &hardware_address)
        .nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth").nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.body(&header(0, no_arp, no_arp))
                        .text(libc::IFLA_IFNAME, peer_name)
                        .attribute(libc::IFLA_ADDRESS, &hardware_address)
                        .number(libc::IFLA_NET_NS_FD, peer_namespace.as_raw_fd() as u32)
                })
            })
        })
}

/// The request that sets IPv4 settings of a veth's end and, where the interface knows IPv6, keeps it from making up a link-local address. Must come before it is up.
pub fn veth_end(name: &str, ipv4: &[(Ipv4Setting, u32)], ipv6: bool) -> Message {
    let message = Message::new("set up an end of a veth pair", libc::RTM_SETLINK, 0)
        .body(&header(0, 0, 0))
        .text(libc::IFLA_IFNAME, name);
    with_settings(message, ipv4, ipv6)
}

fn with_settings(message: Message, ipv4: &[(Ipv4Setting, u32)], ipv6: bool) -> Message {
    message.nested(libc::IFLA_AF_SPEC, |families| {
        let families = match ipv4 {
            [] => families,
            settings => families.nested(libc::AF_INET as u16, |inet| {
                inet.nested(IFLA_INET_CONF, |conf| {
                    settings.iter().fold(conf, |conf, (setting, value)| conf.number(*setting as u16, *value))
                })
            }),
        };
        match ipv6 {
            false => families,
            true => families.nested(libc::AF_INET6 as u16, |inet6| {
                inet6.attribute(IFLA_INET6_ADDR_GEN_MODE, &[ADDRESS_GENERATION_NONE])
            }),
        }
    })
}

/// The request that makes a TAP device one end of a link as [`new_veth`]'s: both ends, the other is a virtual machine's, carry
/// the same hardware address and resolve no neighbours. Also sets IPv4 settings and keeps IPv6 from making up an address.
pub fn tap_end(name: &str, hardware_address: [u8; 6], ipv4: &[(Ipv4Setting, u32)], ipv6: bool) -> Message {
    let no_arp = libc::IFF_NOARP as u32;
    let message = Message::new("set up a TAP device", libc::RTM_SETLINK, 0)
        .body(&header(0, no_arp, no_arp))
        .text(libc::IFLA_IFNAME, name)
        .attribute(libc::IFLA_ADDRESS, &hardware_address);
    with_settings(message, ipv4, ipv6)
}

/// The request that switches an interface on.
pub fn set_link_up(name: &str) -> Message {
    let up = libc::IFF_UP as u32;
    Message::new("switch an interface on", libc::RTM_SETLINK, 0)
        .body(&header(0, up, up))
        .text(libc::IFLA_IFNAME, name)
}

/// Removes an interface (and a veth's other end); false when there is none of that name. Takes the kernel about 15 ms.
pub fn remove_link(socket: &mut Socket, name: &str) -> Result<bool, NetlinkError> {
    let request = Message::new("remove an interface", libc::RTM_DELLINK, 0)
        .body(&header(0, 0, 0))
        .text(libc::IFLA_IFNAME, name);
    match socket.apply(vec![request]) {
        Ok(()) => Ok(true),
        Err(NetlinkError::Refused(Refusal { source: rustix::io::Errno::NODEV, .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `struct ifinfomsg`.
fn header(index: u32, flags: u32, change: u32) -> [u8; BODY] {
    let mut body = [0; BODY];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}
