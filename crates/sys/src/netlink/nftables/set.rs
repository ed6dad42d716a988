//! The sets that rules look into: anonymous, made with the rule, and gone with it.

use super::address_set::AddressSet;
use super::attribute::*;
use super::batch::{Batch, CREATE, Place, request};
use super::expression::SET_NAME_PATTERN;
use super::interface::NAME_BYTES;
use super::rule::{IpVersion, Match};
use crate::netlink::Message;

/// Types of a set's keys by which nft(8) prints them: its own numbers.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_INTERFACE_NAME: u32 = 41;
/// Bounds in one message: its lists are counted in 16 bits.
const BOUNDS_PER_MESSAGE: usize = 512;
/// Byte orders of a set's keys.
#[derive(Clone, Copy)]
enum KeyOrder {
    Machine = 1,
    Network = 2,
}

/// What a set's keys are.
struct SetKind {
    flags: u32,
    key_type: u32,
    key_length: usize,
    order: KeyOrder,
}

impl Batch {
    /// The number of the set that `matched` looks into; 0 where it looks into none.
    pub(super) fn add_set(&mut self, place: Place<'_>, matched: &Match, what: &str) -> u32 {
        match matched {
            Match::DestinationAmong(addresses) => self.add_addresses(place, addresses, what),
            Match::InterfaceAmong(_, names) => {
                let keys: Vec<(Vec<u8>, bool)> =
                    names.iter().map(|name| (name.padded().to_vec(), false)).collect();
                let kind = SetKind {
                    flags: 0,
                    key_type: TYPE_INTERFACE_NAME,
                    key_length: NAME_BYTES,
                    order: KeyOrder::Machine,
                };
                self.add_elements(place, &kind, &keys, what)
            }
            _ => 0,
        }
    }

    fn add_addresses(&mut self, place: Place<'_>, addresses: &AddressSet, what: &str) -> u32 {
        let keys: Vec<(Vec<u8>, bool)> =
            addresses.bounds().into_iter().map(|bound| (bound.octets, bound.ends)).collect();
        let key_type = match addresses.version() {
            IpVersion::V4 => TYPE_IPV4,
            IpVersion::V6 => TYPE_IPV6,
        };
        let kind = SetKind {
            flags: libc::NFT_SET_INTERVAL as u32,
            key_type,
            key_length: addresses.version().octets(),
            order: KeyOrder::Network,
        };
        self.add_elements(place, &kind, &keys, what)
    }

    fn add_elements(
        &mut self,
        place: Place<'_>,
        kind: &SetKind,
        keys: &[(Vec<u8>, bool)],
        what: &str,
    ) -> u32 {
        self.sets += 1;
        let number = self.sets;
        let constant = (libc::NFT_SET_ANONYMOUS | libc::NFT_SET_CONSTANT) as u32;
        let mut user_data = vec![USERDATA_KEY_BYTE_ORDER, 4];
        user_data.extend((kind.order as u32).to_ne_bytes());
        let set = request(libc::NFT_MSG_NEWSET, CREATE, place.family)
            .text(SET_TABLE, place.table)
            .text(SET_NAME, SET_NAME_PATTERN)
            .network_number(SET_FLAGS, constant | kind.flags)
            .network_number(SET_KEY_TYPE, kind.key_type)
            .network_number(SET_KEY_LENGTH, kind.key_length as u32)
            .network_number(SET_ID, number)
            .nested(SET_DESCRIPTION, |size| size.network_number(DESCRIPTION_SIZE, keys.len() as u32))
            .attribute(SET_USERDATA, &user_data);
        self.push(set, what.to_owned());
        for part in keys.chunks(BOUNDS_PER_MESSAGE) {
            let elements = request(libc::NFT_MSG_NEWSETELEM, CREATE, place.family)
                .text(ELEMENTS_TABLE, place.table)
                .text(ELEMENTS_SET, SET_NAME_PATTERN)
                .network_number(ELEMENTS_SET_ID, number)
                .nested(ELEMENTS_LIST, |list| part.iter().fold(list, add_element));
            self.push(elements, what.to_owned());
        }
        number
    }
}

fn add_element(list: Message, (key, ends): &(Vec<u8>, bool)) -> Message {
    list.nested(LIST_ELEMENT, |element| {
        let element = match ends {
            true => element.network_number(ELEMENT_FLAGS, libc::NFT_SET_ELEM_INTERVAL_END as u32),
            false => element,
        };
        element.nested(ELEMENT_KEY, |data| data.attribute(DATA_VALUE, key))
    })
}
