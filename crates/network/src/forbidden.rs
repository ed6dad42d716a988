//! Where no box may go, as its own kernel tables say it.

use std::net::{Ipv4Addr, Ipv6Addr};

use agentkernel_sys::netlink::forbidden::{LINK_LOCAL, LOOPBACK, MULTICAST, NEIGHBOUR_DISCOVERY, targets};
use agentkernel_sys::netlink::{AddressAnswer, Message, Packets, RouteTarget, Verdict, new_policy};

/// An address as `resolv.conf` of a box names the host's resolver where that listens on the loopback interface. Of the
/// IETF protocol assignments (RFC 6890), never routed on the Internet.
pub(super) const RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 53);

/// Requests of [`Protocol::Policy`](agentkernel_sys::netlink::Protocol) that make the box's own kernel refuse: the
/// forbidden targets and every address that the host has at this moment. In force whatever happens to the host's rules;
/// the box lacks the right to change them. `own` is the box's IPv6 address, which stays within its reach.
pub(super) fn refusals(host: &[AddressAnswer], own: Option<Ipv6Addr>) -> Vec<Message> {
    // The kernel sends nothing to IPv4's loopback addresses through another interface than `lo`, whose packets know no
    // policies (disable_xfrm).
    let mut targets: Vec<RouteTarget> = targets().filter(|target| !LOOPBACK.contains(target)).collect();
    for answer in host.iter().filter(|answer| !answer.address.is_loopback()) {
        let single = RouteTarget::single(answer.address);
        if !targets.iter().any(|target| target.prefix <= single.prefix && target.overlaps(&single)) {
            targets.push(single);
        }
    }
    let loopback = RouteTarget::single(Ipv6Addr::LOCALHOST.into());
    let mut allowed = vec![Packets { from: Some(loopback), ..Packets::to(loopback) }];
    allowed.extend(own.map(|own| Packets::to(RouteTarget::single(own.into()))));
    for kind in NEIGHBOUR_DISCOVERY {
        let packets = |to| Packets { icmpv6_type: Some(kind), ..Packets::to(to) };
        allowed.extend([packets(LINK_LOCAL), packets(MULTICAST)]);
    }
    let allow = allowed.into_iter().map(|packets| new_policy(packets, Verdict::Allow));
    let block = targets.into_iter().map(|target| new_policy(Packets::to(target), Verdict::Block));
    allow.chain(block).collect()
}
