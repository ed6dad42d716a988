//! The addresses of boxes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use agentkernel_sys::netlink::{RouteAnswer, RouteTarget};
use rustix::rand::{GetRandomFlags, getrandom};

use super::NetworkError;

/// The /16 ranges tried in this order: the first that overlaps no route of the machine is used.
const IPV4_CANDIDATES: [Ipv4Addr; 5] = [
    Ipv4Addr::new(10, 213, 0, 0),
    Ipv4Addr::new(172, 29, 0, 0),
    Ipv4Addr::new(10, 87, 0, 0),
    Ipv4Addr::new(100, 75, 0, 0),
    Ipv4Addr::new(192, 168, 0, 0),
];
/// A unique local /64 (RFC 4193) drawn once for this project.
pub(super) const IPV6: RouteTarget = RouteTarget {
    address: IpAddr::V6(Ipv6Addr::new(0xfd8b, 0x3c61, 0x7e42, 0xac5e, 0, 0, 0, 0)),
    prefix: 64,
};
/// A route with fewer bits than this stands for "everywhere", as the two halves 0.0.0.0/1 and 128.0.0.0/1 of a VPN.
const NARROW: u8 = 8;

/// The /16 of this machine's boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Range(Ipv4Addr);

impl Range {
    /// The one a machine with these routes uses. `used` until now stays while it can, and in any case while boxes `live`
    /// in it: their own routes are narrower than whatever has come to overlap them.
    pub(super) fn choose(
        routes: &[RouteAnswer],
        used: Option<Self>,
        live: bool,
    ) -> Result<Self, NetworkError> {
        if let (Some(used), true) = (used, live) {
            return Ok(used);
        }
        let free = |candidate: &Self| {
            !routes
                .iter()
                .filter(|route| (NARROW..32).contains(&route.target.prefix))
                .any(|route| route.target.overlaps(&candidate.target()))
        };
        used.into_iter().chain(IPV4_CANDIDATES.map(Self)).find(free).ok_or_else(|| {
            NetworkError::NoFreeRange { ranges: IPV4_CANDIDATES.map(|base| format!("{base}/16")).join(", ") }
        })
    }

    /// As a route's target.
    pub(super) fn target(&self) -> RouteTarget {
        RouteTarget { address: self.0.into(), prefix: 16 }
    }

    /// A random address of it and its IPv6 counterpart. Whether it is taken shows when it is routed.
    pub(super) fn draw(&self) -> Result<(Ipv4Addr, Ipv6Addr), NetworkError> {
        let mut random = [0_u8; 2];
        rustix::io::retry_on_intr(|| getrandom(&mut random, GetRandomFlags::empty()))
            .map_err(|errno| NetworkError::file("read", "/dev/urandom")(errno.into()))?;
        Ok(self.numbered(u16::from_be_bytes(random)))
    }

    /// Neither the first nor the last address, which old software takes for a broadcast.
    fn numbered(&self, number: u16) -> (Ipv4Addr, Ipv6Addr) {
        let number = number.clamp(1, u16::MAX - 1);
        let ipv4 = Ipv4Addr::from_bits(self.0.to_bits() | u32::from(number));
        let IpAddr::V6(prefix) = IPV6.address else { return (ipv4, Ipv6Addr::UNSPECIFIED) };
        (ipv4, Ipv6Addr::from_bits(prefix.to_bits() | u128::from(number)))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/16", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn route(address: &str, prefix: u8) -> RouteAnswer {
        let target = RouteTarget { address: address.parse().unwrap(), prefix };
        RouteAnswer { target, table: 254, kind: 1, interfaces: Vec::new() }
    }

    #[test]
    fn a_range_in_use_is_passed_over() {
        let text = |routes: &[RouteAnswer]| Range::choose(routes, None, false).map(|r| r.to_string()).ok();
        assert_eq!(text(&[route("0.0.0.0", 0), route("128.0.0.0", 1)]).as_deref(), Some("10.213.0.0/16"));
        assert_eq!(text(&[route("10.0.0.0", 8)]).as_deref(), Some("172.29.0.0/16"));
        assert_eq!(text(&[route("10.213.4.0", 24)]).as_deref(), Some("172.29.0.0/16"));
        // Our own boxes' host routes don't drive us away.
        assert_eq!(text(&[route("10.213.4.5", 32)]).as_deref(), Some("10.213.0.0/16"));
        let all = [
            route("10.0.0.0", 8),
            route("172.16.0.0", 12),
            route("100.64.0.0", 10),
            route("192.168.1.0", 24),
        ];
        assert_eq!(text(&all), None);
        let used = Some(Range(IPV4_CANDIDATES[3]));
        assert_eq!(Range::choose(&[], used, false).ok(), used);
        assert_eq!(Range::choose(&all, used, true).ok(), used);
    }

    proptest! {
        #[test]
        fn every_draw_lies_inside(number: u16) {
            let range = Range(IPV4_CANDIDATES[0]);
            let (ipv4, ipv6) = range.numbered(number);
            prop_assert!(range.target().overlaps(&RouteTarget::single(ipv4.into())));
            prop_assert!(IPV6.overlaps(&RouteTarget::single(ipv6.into())));
            prop_assert!(ipv4.octets()[2..] != [0, 0] && ipv4.octets()[2..] != [255, 255]);
        }
    }
}
