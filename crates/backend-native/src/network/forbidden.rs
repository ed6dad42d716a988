//! Where no box may go, on any machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use agentkernel_sys::netlink::{AddressAnswer, Message, Packets, RouteTarget, Verdict, new_policy};

/// An address as `resolv.conf` of a box names the host's resolver where that listens on the loopback interface. Of the
/// IETF protocol assignments (RFC 6890), never routed on the Internet.
pub(super) const RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 53);

/// "This network" and loopback.
const LOOPBACK: [RouteTarget; 2] = [v4([0, 0, 0, 0], 8), v4([127, 0, 0, 0], 8)];
const LINK_LOCAL: RouteTarget = v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10);
const MULTICAST: RouteTarget = v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8);
/// Types of ICMPv6 by which neighbours on a link are found (RFC 4861): solicitation and advertisement.
const NEIGHBOUR_DISCOVERY: [u8; 2] = [135, 136];

/// IPv4 targets: "this network", loopback, link-local with the metadata service of most clouds, Alibaba's metadata
/// service, multicast and broadcast.
pub(super) const IPV4: [RouteTarget; 6] = [
    LOOPBACK[0],
    LOOPBACK[1],
    v4([169, 254, 0, 0], 16),
    v4([100, 100, 100, 200], 32),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// IPv6 targets: loopback and IPv4-compatible addresses, IPv4-mapped addresses, link-local, the metadata services of AWS
/// and Google, multicast; and through the well-known translation prefix (RFC 6052) IPv4's loopback, link-local and
/// Alibaba's metadata service.
pub(super) const IPV6: [RouteTarget; 9] = [
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),
    LINK_LOCAL,
    v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254], 128),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
    MULTICAST,
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0x7f00, 0], 104),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0xa9fe, 0], 112),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0x6464, 0x64c8], 128),
];

const fn v4(octets: [u8; 4], prefix: u8) -> RouteTarget {
    let [a, b, c, d] = octets;
    RouteTarget { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6(segments: [u16; 8], prefix: u8) -> RouteTarget {
    let [a, b, c, d, e, f, g, h] = segments;
    RouteTarget { address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix }
}

/// Requests of [`Protocol::Policy`](agentkernel_sys::netlink::Protocol) that make the box's own kernel refuse: the
/// forbidden targets and every address that the host has at this moment. In force whatever happens to the host's rules;
/// the box lacks the right to change them. `own` is the box's IPv6 address, which stays within its reach.
pub(super) fn refusals(host: &[AddressAnswer], own: Option<Ipv6Addr>) -> Vec<Message> {
    // The kernel sends nothing to IPv4's loopback addresses through another interface than `lo`, whose packets know no
    // policies (disable_xfrm).
    let mut targets: Vec<RouteTarget> = IPV4.iter().chain(&IPV6).copied().collect();
    targets.retain(|target| !LOOPBACK.contains(target));
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

/// Whether no box may reach `address`.
pub(super) fn is_forbidden(address: IpAddr) -> bool {
    let single = RouteTarget::single(address);
    IPV4.iter().chain(&IPV6).any(|target| target.overlaps(&single))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_threat_model_are_all_in() {
        for address in [
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "255.255.255.255",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(is_forbidden(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "10.0.0.1",
            "192.0.0.53",
            "100.100.100.201",
            "2606:4700::1111",
            "fd00::1",
            "64:ff9b::101:101",
        ] {
            assert!(!is_forbidden(address.parse().unwrap()), "{address}");
        }
    }
}
