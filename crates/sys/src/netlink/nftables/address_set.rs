//! Many networks as one set, as the kernel keeps them: ranges in order that neither touch nor overlap.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rule::IpVersion;
use crate::netlink::RouteTarget;

/// Addresses of one version, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressSet {
    version: IpVersion,
    /// First and last address of each range.
    ranges: Vec<(u128, u128)>,
}

/// A bound of a range as the kernel takes it: the address, and whether it is the first after a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) octets: Vec<u8>,
    pub(super) ends: bool,
}

impl AddressSet {
    /// The sets that hold `targets`: one of each version that occurs among them.
    pub fn of(targets: impl IntoIterator<Item = RouteTarget>) -> Vec<Self> {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for target in targets {
            match IpVersion::of(target.address) {
                IpVersion::V4 => ipv4.push(range_of(&target)),
                IpVersion::V6 => ipv6.push(range_of(&target)),
            }
        }
        [(IpVersion::V4, ipv4), (IpVersion::V6, ipv6)]
            .into_iter()
            .filter(|(_, ranges)| !ranges.is_empty())
            .map(|(version, ranges)| Self { version, ranges: merged(ranges) })
            .collect()
    }

    /// Which addresses they are.
    pub fn version(&self) -> IpVersion {
        self.version
    }

    /// Whether it holds `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = bits(address);
        IpVersion::of(address) == self.version
            && self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&bits))
    }

    /// The bounds in order. One below the first range that says that nothing has begun, as nft(8) has it; none after a
    /// range that reaches to the end.
    pub(super) fn bounds(&self) -> Vec<Bound> {
        let bound = |bits, ends| Bound { octets: octets(self.version, bits), ends };
        let mut bounds = Vec::new();
        if self.ranges.first().is_some_and(|(first, _)| *first > 0) {
            bounds.push(bound(0, true));
        }
        for (first, last) in &self.ranges {
            bounds.push(bound(*first, false));
            if *last < end(self.version) {
                bounds.push(bound(last + 1, true));
            }
        }
        bounds
    }
}

fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn range_of(target: &RouteTarget) -> (u128, u128) {
    let width = IpVersion::of(target.address).bits();
    let free = width - u32::from(target.prefix).min(width);
    let mask = 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
    let bits = bits(target.address);
    (bits & !mask, bits | mask)
}

fn end(version: IpVersion) -> u128 {
    match version {
        IpVersion::V4 => u32::MAX.into(),
        IpVersion::V6 => u128::MAX,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn octets(version: IpVersion, bits: u128) -> Vec<u8> {
    let bytes = bits.to_be_bytes();
    bytes[16 - version.octets()..].to_vec()
}

impl fmt::Display for AddressSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |bits: u128| match self.version {
            IpVersion::V4 => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            IpVersion::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        f.write_str("{ ")?;
        for (position, (first, last)) in self.ranges.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            match last - first {
                0 => write!(f, "{}", address(*first))?,
                // One network: its size is a power of two, and it begins at a multiple of that.
                size if size & size.wrapping_add(1) == 0 && first & size == 0 => {
                    write!(f, "{}/{}", address(*first), self.version.bits() - size.count_ones())?;
                }
                _ => write!(f, "{}-{}", address(*first), address(*last))?,
            }
        }
        f.write_str(" }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(text: &str) -> RouteTarget {
        let (address, prefix) = text.split_once('/').unwrap();
        RouteTarget { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    fn texts(targets: &[&str]) -> Vec<String> {
        AddressSet::of(targets.iter().map(|text| target(text))).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn networks_that_touch_or_overlap_become_one() {
        assert_eq!(
            texts(&["240.0.0.0/4", "10.0.0.0/8", "224.0.0.0/4", "10.1.0.0/16", "ff00::/8", "::1/128"]),
            ["{ 10.0.0.0/8, 224.0.0.0/3 }", "{ ::1, ff00::/8 }"]
        );
        assert_eq!(texts(&["10.0.0.0/24", "10.0.1.0/25"]), ["{ 10.0.0.0-10.0.1.127 }"]);
        assert_eq!(texts(&["0.0.0.0/0", "::/0"]), ["{ 0.0.0.0/0 }", "{ ::/0 }"]);
        assert_eq!(texts(&[]), [""; 0]);
    }

    #[test]
    fn bits_beyond_the_prefix_mean_nothing() {
        assert_eq!(texts(&["10.1.2.3/8", "10.9.9.9/99"]), ["{ 10.0.0.0/8 }"]);
    }

    #[test]
    fn bounds_are_those_that_the_kernel_wants() {
        let bounds = |text| AddressSet::of([target(text)])[0].bounds();
        let bound = |octets: [u8; 4], ends| Bound { octets: octets.to_vec(), ends };
        assert_eq!(
            bounds("10.0.0.0/8"),
            [bound([0; 4], true), bound([10, 0, 0, 0], false), bound([11, 0, 0, 0], true)]
        );
        assert_eq!(bounds("0.0.0.0/8"), [bound([0; 4], false), bound([1, 0, 0, 0], true)]);
        assert_eq!(bounds("255.255.255.255/32"), [bound([0; 4], true), bound([255; 4], false)]);
    }

    proptest! {
        #[test]
        fn a_set_holds_what_its_networks_hold(
            networks in proptest::collection::vec((any::<u32>(), 0_u8..=32), 1..8),
            others in proptest::collection::vec(any::<u32>(), 8),
        ) {
            let targets: Vec<RouteTarget> = networks
                .iter()
                .map(|(bits, prefix)| RouteTarget { address: Ipv4Addr::from_bits(*bits).into(), prefix: *prefix })
                .collect();
            let set = &AddressSet::of(targets.clone())[0];
            for bits in others.into_iter().chain(networks.iter().map(|(bits, _)| *bits)) {
                let address = IpAddr::V4(Ipv4Addr::from_bits(bits));
                let expected = targets.iter().any(|target| target.overlaps(&RouteTarget::single(address)));
                prop_assert_eq!(set.contains(address), expected);
            }
            let bounds = set.bounds();
            prop_assert!(bounds.is_sorted_by(|a, b| a.octets < b.octets && (a.ends != b.ends)));
        }
    }
}
