//! One rule: what it asks of a packet, and what becomes of one that fits. What a rule may do depends on its chain, which
//! is a parameter of its type: a chain that translates addresses takes no verdicts, and the other way round.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use super::address_set::AddressSet;
use super::interface::{Interface, InterfaceName};
use super::table::CalledChain;
use crate::netlink::RouteTarget;

/// The family of a table: which packets it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6 (NFPROTO_INET).
    Inet,
    /// IPv4 alone (NFPROTO_IPV4).
    Ipv4,
    /// IPv6 alone (NFPROTO_IPV6).
    Ipv6,
}

impl Family {
    /// The one that the kernel calls `number`; None for those of links and bridges.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Inet),
            2 => Some(Self::Ipv4),
            10 => Some(Self::Ipv6),
            _ => None,
        }
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }
}

/// A version of the Internet protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(super) fn octets(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    pub(super) fn bits(self) -> u32 {
        self.octets() as u32 * 8
    }
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// Whether what is named must be so, or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// It must.
    Is,
    /// It must not.
    IsNot,
}

/// By which interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The packet came in by it.
    In,
    /// The packet leaves by it.
    Out,
}

/// Where a packet stands in its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackedState {
    /// Of a connection that both sides know, or an answer that belongs to one.
    EstablishedOrRelated,
    /// Of no connection, and beginning none.
    Invalid,
}

/// What a rule asks of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The name of its interface: `iifname`, `oifname`.
    Interface(Way, Sense, Interface),
    /// Its interface is one of these; of none, where there are none.
    InterfaceAmong(Way, Vec<InterfaceName>),
    /// `meta nfproto`.
    Version(IpVersion),
    /// `ip saddr`, `ip6 saddr`. A packet of the other version never fits.
    Source(Sense, RouteTarget),
    /// `ip daddr`, `ip6 daddr`. A packet of the other version never fits.
    Destination(Sense, RouteTarget),
    /// `ip daddr { ... }`, `ip6 daddr { ... }`.
    DestinationAmong(AddressSet),
    /// `meta l4proto`.
    Transport(Transport),
    /// `udp dport`, `tcp dport`.
    Port(Transport, u16),
    /// `icmpv6 type`.
    Icmpv6(u8),
    /// `ct state`.
    State(TrackedState),
    /// A rule has changed where its connection leads: `ct status dnat`.
    Redirected,
    /// No answer to it would leave by the interface that it came in by: `fib saddr . iif oif missing`.
    NoWayBack,
    /// It is for this machine: `fib daddr type local`.
    ForThisMachine,
}

/// What a filter does with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This table lets it pass.
    Accept,
    /// It is gone.
    Drop,
    /// It is gone, and its sender is told that it was forbidden.
    Reject,
    /// It is gone, and its sender is told that nobody listens there. A packet of another protocol than TCP is just gone.
    Reset,
    /// Another chain goes on, and when that decides nothing, the next rule here.
    Jump(CalledChain),
}

/// The connection leads here instead: `dnat`. IPv4 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationNat(pub SocketAddrV4);

/// The connection seems to come from here: `snat`. IPv4 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceNat(pub Ipv4Addr);

/// The connection seems to come from the interface that it leaves by: `masquerade`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Masquerade;

/// A rule of a chain whose rules do an `A`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule<A> {
    pub(super) matches: Vec<Match>,
    pub(super) action: A,
    pub(super) comment: Option<&'static str>,
}

impl<A> Rule<A> {
    /// Does `action` with what fits all of `matches`.
    pub fn new(matches: impl IntoIterator<Item = Match>, action: A) -> Self {
        Self { matches: matches.into_iter().collect(), action, comment: None }
    }

    /// With a word for people, which the kernel keeps. At most 250 bytes of it.
    #[must_use]
    pub fn comment(self, comment: &'static str) -> Self {
        Self { comment: Some(comment), ..self }
    }
}
