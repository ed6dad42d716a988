//! IPsec policies without IPsec (ip-xfrm(8), `linux/xfrm.h`): an action `block` on a destination refuses every packet of
//! this namespace's sockets to it, whatever interface or route they name. Neither routes nor rules do: an IPv4 socket
//! bound to an interface ignores that its route is refused, and an IPv6 one passes over it.

use std::net::IpAddr;

use super::message::Message;
use super::route::RouteTarget;

/// XFRM_MSG_NEWPOLICY.
const NEW_POLICY: u16 = 0x13;
/// XFRM_POLICY_OUT.
const OUT: u8 = 1;
/// Bytes of `struct xfrm_userpolicy_info`.
const BODY: usize = 168;
/// Where the four limits of `struct xfrm_lifetime_cfg` stand, which follows `struct xfrm_selector`.
const LIMITS: std::ops::Range<usize> = 56..88;

/// What becomes of packets that leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They may. Decides before every `Block`.
    Allow,
    /// The sender gets EPERM.
    Block,
}

/// Which packets a policy is for; the default is all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packets {
    /// Where they go.
    pub to: RouteTarget,
    /// Where they come from, of the same family.
    pub from: Option<RouteTarget>,
    /// ICMPv6 of this type alone.
    pub icmpv6_type: Option<u8>,
}

impl Packets {
    /// All that go there.
    pub fn to(to: RouteTarget) -> Self {
        Self { to, from: None, icmpv6_type: None }
    }
}

/// The request for a new policy; one for the same packets is EEXIST.
pub fn new_policy(packets: Packets, verdict: Verdict) -> Message {
    let mut body = [0; BODY];
    put_address(&mut body[0..16], packets.to.address);
    body[42] = packets.to.prefix;
    if let Some(from) = packets.from {
        put_address(&mut body[16..32], from.address);
        body[43] = from.prefix;
    }
    if let Some(kind) = packets.icmpv6_type {
        // For ICMP the source port stands for the type.
        body[36..38].copy_from_slice(&u16::from(kind).to_be_bytes());
        body[38..40].fill(0xff);
        body[44] = libc::IPPROTO_ICMPV6 as u8;
    }
    let family = if packets.to.address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    body[40..42].copy_from_slice(&(family as u16).to_ne_bytes());
    // XFRM_INF: no limit of bytes or packets.
    body[LIMITS].fill(0xff);
    let (priority, action) = match verdict {
        Verdict::Allow => (1_u32, 0),
        Verdict::Block => (2, 1),
    };
    body[152..156].copy_from_slice(&priority.to_ne_bytes());
    body[160] = OUT;
    body[161] = action;
    Message::new("add a policy", NEW_POLICY, 0).body(&body)
}

fn put_address(place: &mut [u8], address: IpAddr) {
    match address {
        IpAddr::V4(address) => place[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => place.copy_from_slice(&address.octets()),
    }
}
