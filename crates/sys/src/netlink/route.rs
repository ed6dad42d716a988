//! Addresses and routes (rtnetlink(7)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::link::InterfaceIndex;
use super::message::{Attributes, Message};
use super::socket::{NetlinkError, Socket};

/// Bytes of `struct rtmsg`.
const ROUTE_BODY: usize = 12;
/// Bytes of `struct ifaddrmsg`.
const ADDRESS_BODY: usize = 8;
/// Bytes of `struct rtnexthop`.
const NEXT_HOP_BODY: usize = 8;

/// Which packets a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteTarget {
    /// The first address.
    pub address: IpAddr,
    /// How many leading bits count: 0 to 32 or 128.
    pub prefix: u8,
}

impl RouteTarget {
    /// One address alone.
    pub fn single(address: IpAddr) -> Self {
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let prefix = self.prefix.min(other.prefix);
        match (self.address, other.address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32_u32.saturating_sub(prefix.into());
                a.to_bits().checked_shr(shift) == b.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128_u32.saturating_sub(prefix.into());
                a.to_bits().checked_shr(shift) == b.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// A route as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteAnswer {
    /// Which packets.
    pub target: RouteTarget,
    /// The table: RT_TABLE_MAIN (254), RT_TABLE_LOCAL (255), others of the administrator.
    pub table: u32,
    /// RTN_UNICAST, RTN_LOCAL, ...
    pub kind: u8,
    /// The interfaces it uses.
    pub interfaces: Vec<InterfaceIndex>,
}

/// An address as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressAnswer {
    /// The address.
    pub address: IpAddr,
    /// On which interface.
    pub interface: InterfaceIndex,
}

/// The request that gives an interface an address of its own alone (/32 or /128), usable at once (no duplicate address
/// detection, which would take a second).
pub fn new_address(address: IpAddr, interface: InterfaceIndex) -> Message {
    let mut body = [0; ADDRESS_BODY];
    body[0] = family(address);
    body[1] = RouteTarget::single(address).prefix;
    body[2] = libc::IFA_F_NODAD as u8;
    body[4..8].copy_from_slice(&interface.0.to_ne_bytes());
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let octets = octets(address);
    Message::new("add an address", libc::RTM_NEWADDR, flags)
        .body(&body)
        .attribute(libc::IFA_LOCAL, &octets)
        .attribute(libc::IFA_ADDRESS, &octets)
}

/// The request for a new route in the main table that leads out of an interface; one to the same target is EEXIST.
pub fn new_route(target: RouteTarget, interface: InterfaceIndex) -> Message {
    let mut body = [0; ROUTE_BODY];
    body[0] = family(target.address);
    body[1] = target.prefix;
    body[4] = libc::RT_TABLE_MAIN;
    body[5] = libc::RTPROT_STATIC;
    body[6] = libc::RT_SCOPE_LINK;
    body[7] = libc::RTN_UNICAST;
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let mut message = Message::new("add a route", libc::RTM_NEWROUTE, flags).body(&body);
    if target.prefix > 0 {
        message = message.attribute(libc::RTA_DST, &octets(target.address));
    }
    message.number(libc::RTA_OIF, interface.0)
}

/// The interface that a packet to `address` would leave by; None where it would not leave.
pub fn route_to(socket: &mut Socket, address: IpAddr) -> Result<Option<InterfaceIndex>, NetlinkError> {
    let mut body = [0; ROUTE_BODY];
    body[0] = family(address);
    body[1] = RouteTarget::single(address).prefix;
    let request = Message::new("look up a route", libc::RTM_GETROUTE, 0)
        .body(&body)
        .attribute(libc::RTA_DST, &octets(address));
    let mut found = None;
    match socket.exchange(vec![request], |_, payload| found = parse_route(payload)) {
        Ok(()) => Ok(found
            .filter(|route: &RouteAnswer| route.kind == libc::RTN_UNICAST)
            .and_then(|route| route.interfaces.first().copied())),
        Err(NetlinkError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All routes of both families, of all tables.
pub fn list_routes(socket: &mut Socket) -> Result<Vec<RouteAnswer>, NetlinkError> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut body = [0; ROUTE_BODY];
        body[0] = family as u8;
        let request = Message::new("list routes", libc::RTM_GETROUTE, 0).body(&body);
        socket.dump(request, |_, payload| found.extend(parse_route(payload)))?;
    }
    Ok(found)
}

/// All addresses of both families.
pub fn list_addresses(socket: &mut Socket) -> Result<Vec<AddressAnswer>, NetlinkError> {
    let mut found = Vec::new();
    let request = Message::new("list addresses", libc::RTM_GETADDR, 0).body(&[0; ADDRESS_BODY]);
    socket.dump(request, |_, payload| found.extend(parse_address(payload)))?;
    Ok(found)
}

fn parse_route(payload: &[u8]) -> Option<RouteAnswer> {
    let body = payload.get(..ROUTE_BODY)?;
    let attributes = Attributes::of(&payload[ROUTE_BODY..]);
    let address = match (attributes.value(libc::RTA_DST), i32::from(body[0])) {
        (Some(octets), _) => address_of(octets)?,
        (None, libc::AF_INET) => Ipv4Addr::UNSPECIFIED.into(),
        (None, libc::AF_INET6) => Ipv6Addr::UNSPECIFIED.into(),
        (None, _) => return None,
    };
    let mut interfaces: Vec<_> = attributes.number(libc::RTA_OIF).map(InterfaceIndex).into_iter().collect();
    interfaces.extend(next_hops(attributes.value(libc::RTA_MULTIPATH).unwrap_or_default()));
    Some(RouteAnswer {
        target: RouteTarget { address, prefix: body[1] },
        table: attributes.number(libc::RTA_TABLE).unwrap_or(body[4].into()),
        kind: body[7],
        interfaces,
    })
}

/// The interfaces of a list of `struct rtnexthop`.
fn next_hops(mut bytes: &[u8]) -> impl Iterator<Item = InterfaceIndex> {
    std::iter::from_fn(move || {
        let hop = bytes.get(..NEXT_HOP_BODY)?;
        let length = usize::from(u16::from_ne_bytes([hop[0], hop[1]])).max(NEXT_HOP_BODY);
        let index = u32::from_ne_bytes(hop[4..8].try_into().ok()?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(InterfaceIndex(index))
    })
}

fn parse_address(payload: &[u8]) -> Option<AddressAnswer> {
    let index = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    let attributes = Attributes::of(&payload[ADDRESS_BODY..]);
    // On a point-to-point interface IFA_ADDRESS is the other side and IFA_LOCAL is ours; IPv6 often has only the first.
    let octets = attributes.value(libc::IFA_LOCAL).or_else(|| attributes.value(libc::IFA_ADDRESS))?;
    Some(AddressAnswer { address: address_of(octets)?, interface: InterfaceIndex(index) })
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_of(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(IpAddr::V4(<[u8; 4]>::try_from(octets).ok()?.into())),
        16 => Some(IpAddr::V6(<[u8; 16]>::try_from(octets).ok()?.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Protocol;
    use proptest::prelude::*;

    fn target(text: &str, prefix: u8) -> RouteTarget {
        RouteTarget { address: text.parse().unwrap(), prefix }
    }

    #[test]
    fn targets_overlap_when_one_holds_the_other() {
        assert!(target("10.0.0.0", 8).overlaps(&target("10.213.0.0", 16)));
        assert!(target("10.213.0.0", 16).overlaps(&target("10.0.0.0", 8)));
        assert!(target("0.0.0.0", 0).overlaps(&target("10.0.0.0", 8)));
        assert!(!target("10.212.0.0", 16).overlaps(&target("10.213.0.0", 16)));
        assert!(!target("::", 0).overlaps(&target("10.0.0.0", 8)));
        assert!(target("fe80::1", 128).overlaps(&target("fe80::", 10)));
    }

    #[test]
    fn the_kernel_lists_the_loopback_address() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let addresses = list_addresses(&mut socket).unwrap();
        assert!(addresses.iter().any(|a| a.address == IpAddr::V4(Ipv4Addr::LOCALHOST)), "{addresses:?}");
        let routes = list_routes(&mut socket).unwrap();
        assert!(
            routes
                .iter()
                .any(|r| r.table == u32::from(libc::RT_TABLE_LOCAL) && r.interfaces == [InterfaceIndex(1)]),
            "{routes:?}"
        );
        assert_eq!(route_to(&mut socket, Ipv4Addr::LOCALHOST.into()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _route = parse_route(&bytes);
            let _address = parse_address(&bytes);
        }
    }
}
