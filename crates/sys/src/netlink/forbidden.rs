//! Where no box may go, on any machine. Pure data: who enforces it, and how, is the business of others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::RouteTarget;

/// "This network" and loopback.
pub const LOOPBACK: [RouteTarget; 2] = [v4([0, 0, 0, 0], 8), v4([127, 0, 0, 0], 8)];
/// Link-local addresses of IPv6.
pub const LINK_LOCAL: RouteTarget = v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10);
/// Multicast by IPv6.
pub const MULTICAST: RouteTarget = v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8);
/// Types of ICMPv6 by which neighbours on a link are found (RFC 4861): solicitation and advertisement.
pub const NEIGHBOUR_DISCOVERY: [u8; 2] = [135, 136];

/// IPv4 targets: "this network", loopback, link-local with the metadata service of most clouds, Alibaba's metadata
/// service, multicast and broadcast.
pub const IPV4: [RouteTarget; 6] = [
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
pub const IPV6: [RouteTarget; 9] = [
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

/// All of them.
pub fn targets() -> impl Iterator<Item = RouteTarget> {
    IPV4.into_iter().chain(IPV6)
}

/// Whether no box may reach `address`.
pub fn is_forbidden(address: IpAddr) -> bool {
    let single = RouteTarget::single(address);
    targets().any(|target| target.overlaps(&single))
}

const fn v4(octets: [u8; 4], prefix: u8) -> RouteTarget {
    let [a, b, c, d] = octets;
    RouteTarget { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6(segments: [u16; 8], prefix: u8) -> RouteTarget {
    let [a, b, c, d, e, f, g, h] = segments;
    RouteTarget { address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix }
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
