//! Changes of the rules that the kernel makes all at once or not at all (`linux/netfilter/nfnetlink.h`).

use std::fmt::Display;

use super::attribute::*;
use super::expression::{self, Action};
use super::rule::{Family, Rule, Verdict};
use super::table::{Chain, DESTINATION_PRIORITY, ForeignChain, Hook, Policy, SOURCE_PRIORITY, Table};
use crate::netlink::Message;

/// The nftables subsystem, in the upper byte of a message's type.
const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8;
/// NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END.
const BEGIN: u16 = libc::NLMSG_MIN_TYPE as u16;
const END: u16 = BEGIN + 1;
pub(super) const CREATE: u16 = libc::NLM_F_CREATE as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;

/// A change, and what it is in words.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) message: Message,
    pub(super) what: String,
}

/// Changes in their order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(super) changes: Vec<Change>,
    /// How many sets there are: each has its number.
    pub(super) sets: u32,
}

impl Batch {
    /// No change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `table` in the place of any other of its name.
    #[must_use]
    pub fn replace_table(mut self, table: &Table) -> Self {
        let name = table.name;
        for (kind, flags, what) in [
            (libc::NFT_MSG_NEWTABLE, CREATE, "make"),
            (libc::NFT_MSG_DELTABLE, 0, "empty"),
            (libc::NFT_MSG_NEWTABLE, CREATE, "make"),
        ] {
            let message = request(kind, flags, Family::Inet).text(TABLE_NAME, name);
            self.push(message, format!("{what} the table `inet {name}`"));
        }
        // All chains before the first rule: a jump needs its target.
        for chain in &table.chains {
            self.add_chain(name, chain);
        }
        for chain in &table.chains {
            let place = Place { family: Family::Inet, table: name, chain: chain.name() };
            match chain {
                Chain::Called { rules, .. } => self.add_rules(place, rules),
                Chain::Filter(filter) => self.add_rules(place, &filter.rules),
                Chain::Destination { rules, .. } => self.add_rules(place, rules),
                Chain::Source { rules, .. } => self.add_rules(place, rules),
                Chain::Masquerading { rules, .. } => self.add_rules(place, rules),
            }
        }
        self
    }

    /// Puts a rule at the head of a chain of somebody else.
    #[must_use]
    pub fn insert(mut self, chain: &ForeignChain, rule: &Rule<Verdict>) -> Self {
        let place = Place { family: chain.family, table: &chain.table, chain: &chain.name };
        self.add_rule(place, CREATE, rule);
        self
    }

    pub(super) fn push(&mut self, message: Message, what: String) {
        self.changes.push(Change { message, what });
    }

    fn add_chain(&mut self, table: &str, chain: &Chain) {
        let message = request(libc::NFT_MSG_NEWCHAIN, CREATE, Family::Inet)
            .text(CHAIN_TABLE, table)
            .text(CHAIN_NAME, chain.name());
        let base = |message: Message, kind: &str, hook: Hook, priority: i32, policy: Policy| {
            let policy = match policy {
                Policy::Accept => libc::NF_ACCEPT,
                Policy::Drop => libc::NF_DROP,
            };
            message.text(CHAIN_TYPE, kind).network_number(CHAIN_POLICY, policy as u32).nested(
                CHAIN_HOOK,
                |place| {
                    place
                        .network_number(HOOK_NUMBER, hook.number())
                        .network_number(HOOK_PRIORITY, priority as u32)
                },
            )
        };
        let message = match chain {
            Chain::Called { .. } => message,
            Chain::Filter(filter) => base(message, "filter", filter.hook, filter.priority, filter.policy),
            Chain::Destination { .. } => {
                base(message, "nat", Hook::Prerouting, DESTINATION_PRIORITY, Policy::Accept)
            }
            Chain::Source { .. } => base(message, "nat", Hook::Input, SOURCE_PRIORITY, Policy::Accept),
            Chain::Masquerading { .. } => {
                base(message, "nat", Hook::Postrouting, SOURCE_PRIORITY, Policy::Accept)
            }
        };
        self.push(message, format!("make the chain `inet {table} {}`", chain.name()));
    }

    fn add_rules<A: Action + Display>(&mut self, place: Place<'_>, rules: &[Rule<A>]) {
        for rule in rules {
            self.add_rule(place, CREATE | APPEND, rule);
        }
    }

    fn add_rule<A: Action + Display>(&mut self, place: Place<'_>, flags: u16, rule: &Rule<A>) {
        let what = format!("add the rule `{rule}` to the chain `{place}`");
        let message = request(libc::NFT_MSG_NEWRULE, flags, place.family)
            .text(RULE_TABLE, place.table)
            .text(RULE_CHAIN, place.chain);
        // A set is made before the rule that looks into it, and goes with that.
        let sets: Vec<u32> = rule.matches.iter().map(|matched| self.add_set(place, matched, &what)).collect();
        let message = message.nested(RULE_EXPRESSIONS, |list| {
            let list = rule
                .matches
                .iter()
                .zip(sets)
                .fold(list, |list, (matched, set)| expression::append(list, matched, set));
            rule.action.append(list)
        });
        let message = match rule.comment {
            Some(comment) => message.attribute(RULE_USERDATA, &comment_data(comment)),
            None => message,
        };
        self.push(message, what);
    }

    /// As one datagram, with sequence numbers that begin with `first`; only the last change asks for an acknowledgement.
    /// So the kernel's first answer decides: it tells refusals in order before that, and all of them after the end
    /// (nfnetlink_rcv_batch).
    pub(crate) fn datagram(&self, first: u32) -> Vec<u8> {
        let mut bytes = frame(BEGIN).finish(first, 0);
        let mut sequence = first;
        for (position, change) in self.changes.iter().enumerate() {
            sequence = sequence.wrapping_add(1);
            let flags = if position + 1 == self.changes.len() { libc::NLM_F_ACK as u16 } else { 0 };
            bytes.extend(change.message.clone().finish(sequence, flags));
        }
        bytes.extend(frame(END).finish(sequence.wrapping_add(1), 0));
        bytes
    }
}

/// A chain of any table.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) family: Family,
    pub(super) table: &'a str,
    pub(super) chain: &'a str,
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.chain)
    }
}

/// Type, length, value.
fn comment_data(comment: &str) -> Vec<u8> {
    let end = comment.floor_char_boundary(250);
    let mut data = vec![USERDATA_COMMENT, end as u8 + 1];
    data.extend(&comment.as_bytes()[..end]);
    data.push(0);
    data
}

/// `struct nfgenmsg` of a change.
pub(super) fn request(kind: libc::c_int, flags: u16, family: Family) -> Message {
    Message::new("change the rules", SUBSYSTEM | kind as u16, flags).body(&[
        family.number(),
        libc::NFNETLINK_V0 as u8,
        0,
        0,
    ])
}

/// The batch's begin or end: its `struct nfgenmsg` names the subsystem, in network byte order.
fn frame(kind: u16) -> Message {
    let [high, low] = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
    Message::new("change the rules", kind, 0).body(&[
        libc::AF_UNSPEC as u8,
        libc::NFNETLINK_V0 as u8,
        high,
        low,
    ])
}
