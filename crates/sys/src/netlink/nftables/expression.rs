//! Matches and actions as the kernel's expressions: small steps that load something into a register, compare it, and end
//! the rule where it differs. The same steps that nft(8) makes, so that its listing shows the rules as they were written.

use std::net::IpAddr;

use super::attribute::*;
use super::rule::{
    DestinationNat, IpVersion, Masquerade, Match, Sense, SourceNat, TrackedState, Transport, Verdict, Way,
};
use crate::netlink::{Message, RouteTarget};

/// NFT_REG_1: 16 bytes.
const FIRST: u32 = libc::NFT_REG_1 as u32;
/// NFT_REG_2: 16 bytes.
const SECOND: u32 = libc::NFT_REG_2 as u32;
/// Where the addresses are: source and destination, for IPv4 and IPv6.
const SOURCE_OFFSETS: [u32; 2] = [12, 8];
const DESTINATION_OFFSETS: [u32; 2] = [16, 24];
/// The destination port in UDP's and TCP's header.
const PORT_OFFSET: u32 = 2;
/// NF_CT_STATE_BIT of IP_CT_ESTABLISHED and IP_CT_RELATED.
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
/// NF_CT_STATE_INVALID_BIT.
const INVALID: u32 = 1;
/// IPS_DST_NAT.
const REDIRECTED: u32 = 32;

/// The set that a match looks into: its name while it has no number of the kernel's, and its number in the batch.
pub(super) const SET_NAME_PATTERN: &str = "__set%d";

/// What a rule of some chain does in the end.
pub(super) trait Action {
    /// Its expressions.
    fn append(&self, message: Message) -> Message;
}

/// The expressions of a match. `set` is the number of its set, where it has one.
pub(super) fn append(message: Message, matched: &Match, set: u32) -> Message {
    match matched {
        Match::Interface(way, sense, interface) => {
            compare(meta(message, interface_key(*way)), *sense, interface.pattern())
        }
        Match::InterfaceAmong(way, _) => look_up(meta(message, interface_key(*way)), set),
        Match::Version(version) => of_version(message, *version),
        Match::Source(sense, target) => network(message, SOURCE_OFFSETS, *sense, target),
        Match::Destination(sense, target) => network(message, DESTINATION_OFFSETS, *sense, target),
        Match::DestinationAmong(addresses) => {
            let version = addresses.version();
            let message = of_version(message, version);
            let offset = offset(DESTINATION_OFFSETS, version);
            look_up(load(message, libc::NFT_PAYLOAD_NETWORK_HEADER, offset, version.octets() as u32), set)
        }
        Match::Transport(transport) => of_protocol(message, transport.number()),
        Match::Port(transport, port) => {
            let message = of_protocol(message, transport.number());
            let message = load(message, libc::NFT_PAYLOAD_TRANSPORT_HEADER, PORT_OFFSET, 2);
            compare(message, Sense::Is, &port.to_be_bytes())
        }
        Match::Icmpv6(kind) => {
            let message = of_protocol(of_version(message, IpVersion::V6), libc::IPPROTO_ICMPV6);
            compare(load(message, libc::NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1), Sense::Is, &[*kind])
        }
        Match::State(state) => {
            let bits = match state {
                TrackedState::EstablishedOrRelated => ESTABLISHED_OR_RELATED,
                TrackedState::Invalid => INVALID,
            };
            any_bit(tracked(message, libc::NFT_CT_STATE), bits)
        }
        Match::Redirected => any_bit(tracked(message, libc::NFT_CT_STATUS), REDIRECTED),
        Match::NoWayBack => {
            let message = route(message, FIB_RESULT_INTERFACE, FIB_SOURCE_BY_INTERFACE);
            compare(message, Sense::Is, &0_u32.to_ne_bytes())
        }
        Match::ForThisMachine => {
            let message = route(message, FIB_RESULT_TYPE, FIB_DESTINATION);
            compare(message, Sense::Is, &u32::from(libc::RTN_LOCAL).to_ne_bytes())
        }
    }
}

impl Transport {
    fn number(self) -> libc::c_int {
        match self {
            Self::Udp => libc::IPPROTO_UDP,
            Self::Tcp => libc::IPPROTO_TCP,
        }
    }
}

impl Action for Verdict {
    fn append(&self, message: Message) -> Message {
        let verdict = |code: i32, chain: Option<&str>| {
            expression(message.clone(), "immediate", |data| {
                data.network_number(IMMEDIATE_REGISTER, libc::NFT_REG_VERDICT as u32).nested(
                    IMMEDIATE_DATA,
                    |value| {
                        value.nested(DATA_VERDICT, |verdict| {
                            let verdict = verdict.network_number(VERDICT_CODE, code as u32);
                            chain.iter().fold(verdict, |verdict, chain| verdict.text(VERDICT_CHAIN, chain))
                        })
                    },
                )
            })
        };
        match self {
            Self::Accept => verdict(libc::NF_ACCEPT, None),
            Self::Drop => verdict(libc::NF_DROP, None),
            Self::Jump(chain) => verdict(libc::NFT_JUMP, Some(chain.0)),
            Self::Reset => expression(message, "reject", |data| {
                data.network_number(REJECT_TYPE, libc::NFT_REJECT_TCP_RST as u32).attribute(REJECT_CODE, &[0])
            }),
            Self::Reject => expression(message, "reject", |data| {
                data.network_number(REJECT_TYPE, libc::NFT_REJECT_ICMPX_UNREACH as u32)
                    .attribute(REJECT_CODE, &[ADMIN_PROHIBITED])
            }),
        }
    }
}

impl Action for DestinationNat {
    fn append(&self, message: Message) -> Message {
        let message = immediate(message, FIRST, &self.0.ip().octets());
        let message = immediate(message, SECOND, &self.0.port().to_be_bytes());
        translate(message, libc::NFT_NAT_DNAT, |data| {
            data.network_number(NAT_PORT, SECOND).network_number(NAT_FLAGS, NAT_PORT_GIVEN)
        })
    }
}

impl Action for SourceNat {
    fn append(&self, message: Message) -> Message {
        let message = immediate(message, FIRST, &self.0.octets());
        translate(message, libc::NFT_NAT_SNAT, |data| data)
    }
}

impl Action for Masquerade {
    fn append(&self, message: Message) -> Message {
        expression(message, "masq", |data| data)
    }
}

fn expression(message: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    message.nested(LIST_ELEMENT, |element| element.text(EXPRESSION_NAME, name).nested(EXPRESSION_DATA, data))
}

/// Loads something that the kernel knows about a packet.
fn meta(message: Message, key: libc::c_int) -> Message {
    expression(message, "meta", |data| {
        data.network_number(META_KEY, key as u32).network_number(META_REGISTER, FIRST)
    })
}

fn interface_key(way: Way) -> libc::c_int {
    match way {
        Way::In => libc::NFT_META_IIFNAME,
        Way::Out => libc::NFT_META_OIFNAME,
    }
}

fn of_version(message: Message, version: IpVersion) -> Message {
    let number = match version {
        IpVersion::V4 => libc::NFPROTO_IPV4,
        IpVersion::V6 => libc::NFPROTO_IPV6,
    };
    compare(meta(message, libc::NFT_META_NFPROTO), Sense::Is, &[number as u8])
}

fn of_protocol(message: Message, number: libc::c_int) -> Message {
    compare(meta(message, libc::NFT_META_L4PROTO), Sense::Is, &[number as u8])
}

/// Loads bytes of the packet.
fn load(message: Message, header: libc::c_int, offset: u32, length: u32) -> Message {
    expression(message, "payload", |data| {
        data.network_number(PAYLOAD_REGISTER, FIRST)
            .network_number(PAYLOAD_BASE, header as u32)
            .network_number(PAYLOAD_OFFSET, offset)
            .network_number(PAYLOAD_LENGTH, length)
    })
}

/// Goes on only where the register's first bytes are (or are not) `value`.
fn compare(message: Message, sense: Sense, value: &[u8]) -> Message {
    let operator = match sense {
        Sense::Is => libc::NFT_CMP_EQ,
        Sense::IsNot => libc::NFT_CMP_NEQ,
    };
    expression(message, "cmp", |data| {
        data.network_number(COMPARE_REGISTER, FIRST)
            .network_number(COMPARE_OPERATOR, operator as u32)
            .nested(COMPARE_DATA, |data| data.attribute(DATA_VALUE, value))
    })
}

/// Clears the register's bits that `mask` lacks.
fn keep_bits(message: Message, mask: &[u8]) -> Message {
    expression(message, "bitwise", |data| {
        data.network_number(BITWISE_FROM, FIRST)
            .network_number(BITWISE_TO, FIRST)
            .network_number(BITWISE_LENGTH, mask.len() as u32)
            .nested(BITWISE_MASK, |data| data.attribute(DATA_VALUE, mask))
            .nested(BITWISE_XOR, |data| data.attribute(DATA_VALUE, &vec![0; mask.len()]))
    })
}

fn any_bit(message: Message, bits: u32) -> Message {
    compare(keep_bits(message, &bits.to_ne_bytes()), Sense::IsNot, &0_u32.to_ne_bytes())
}

fn look_up(message: Message, set: u32) -> Message {
    expression(message, "lookup", |data| {
        data.network_number(LOOKUP_REGISTER, FIRST)
            .text(LOOKUP_SET, SET_NAME_PATTERN)
            .network_number(LOOKUP_SET_ID, set)
    })
}

/// Loads something about the packet's connection.
fn tracked(message: Message, key: libc::c_int) -> Message {
    expression(message, "ct", |data| {
        data.network_number(CT_KEY, key as u32).network_number(CT_REGISTER, FIRST)
    })
}

/// Loads something about the route of the packet, or of an answer to it.
fn route(message: Message, result: u32, flags: u32) -> Message {
    expression(message, "fib", |data| {
        data.network_number(FIB_FLAGS, flags)
            .network_number(FIB_RESULT, result)
            .network_number(FIB_REGISTER, FIRST)
    })
}

fn offset(offsets: [u32; 2], version: IpVersion) -> u32 {
    match version {
        IpVersion::V4 => offsets[0],
        IpVersion::V6 => offsets[1],
    }
}

/// Whole bytes are loaded alone; a prefix that ends within a byte takes a mask.
fn network(message: Message, offsets: [u32; 2], sense: Sense, target: &RouteTarget) -> Message {
    let version = IpVersion::of(target.address);
    let octets = match target.address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let prefix = usize::from(target.prefix).min(octets.len() * 8);
    let message = of_version(message, version);
    let bytes = |length| {
        move |message| {
            load(message, libc::NFT_PAYLOAD_NETWORK_HEADER, offset(offsets, version), length as u32)
        }
    };
    if prefix > 0 && prefix.is_multiple_of(8) {
        return compare(bytes(prefix / 8)(message), sense, &octets[..prefix / 8]);
    }
    let mask: Vec<u8> = (0..octets.len())
        .map(|position| 0xff_u8.checked_shl((8 * (position + 1)).saturating_sub(prefix) as u32).unwrap_or(0))
        .collect();
    let value: Vec<u8> = octets.iter().zip(&mask).map(|(octet, mask)| octet & mask).collect();
    compare(keep_bits(bytes(octets.len())(message), &mask), sense, &value)
}

/// Puts a value into a register.
fn immediate(message: Message, register: u32, value: &[u8]) -> Message {
    expression(message, "immediate", |data| {
        data.network_number(IMMEDIATE_REGISTER, register)
            .nested(IMMEDIATE_DATA, |data| data.attribute(DATA_VALUE, value))
    })
}

fn translate(message: Message, kind: libc::c_int, more: impl FnOnce(Message) -> Message) -> Message {
    expression(message, "nat", |data| {
        more(
            data.network_number(NAT_TYPE, kind as u32)
                .network_number(NAT_FAMILY, libc::NFPROTO_IPV4 as u32)
                .network_number(NAT_ADDRESS, FIRST),
        )
    })
}
