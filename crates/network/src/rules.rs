//! The nftables rules. Pure: what they are made from is gathered by [`super::firewall`].

use std::net::{Ipv4Addr, SocketAddrV4};

use agentkernel_sys::netlink::nftables::{
    AddressSet, Batch, DestinationNat, Family, FilterChain, ForeignChain, Hook, Interface, InterfaceName,
    IpVersion, Masquerade, Match, Policy, Rule, Sense, SourceNat, Table, TrackedState, Transport, Verdict,
    Way,
};
use agentkernel_sys::netlink::{BaseChain, RouteTarget, forbidden};

use super::forbidden::RESOLVER;
use super::range::{IPV6, Range};

/// The one table, of family `inet`.
pub(super) const TABLE: &str = "agentkernel";
/// How the host's ends of all veth pairs begin. A dash makes it unlikely that somebody else's interface does too.
pub(super) const INTERFACE_PREFIX: &str = "ak-";
/// In the comment of each rule put into a foreign chain.
pub(super) const MARK: &str = "agentkernel sandboxes";

/// NF_INET_LOCAL_IN.
pub(super) const HOOK_INPUT: u32 = 1;
/// NF_INET_FORWARD.
pub(super) const HOOK_FORWARD: u32 = 2;

/// NF_IP_PRI_RAW: before connections are tracked.
const BEFORE_TRACKING: i32 = -300;
/// NF_IP_PRI_MANGLE: before destinations are translated.
const BEFORE_TRANSLATION: i32 = -150;
/// Just before other people's filters (NF_IP_PRI_FILTER).
const BEFORE_FILTERS: i32 = -1;
const DNS: u16 = 53;
const BOXES: Interface = Interface::Beginning(InterfaceName::constant(INTERFACE_PREFIX));
const ANSWERS: Match = Match::State(TrackedState::EstablishedOrRelated);

/// What the rules depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// The boxes' addresses.
    pub(super) range: Range,
    /// Whether boxes have IPv6.
    pub(super) ipv6: bool,
    /// The host's resolver, where boxes ask for it.
    pub(super) resolver: Option<Ipv4Addr>,
    /// Interfaces whose IPv4 forwarding was off before us: nothing else than our boxes' packets may profit from it.
    pub(super) guarded_ipv4: Vec<InterfaceName>,
    /// The same for IPv6, where the kernel knows one switch for all.
    pub(super) guarded_ipv6: bool,
}

/// A rule about packets that come from, or go to, boxes (or not) and fit the rest.
fn box_rule<A>(way: Way, sense: Sense, more: impl IntoIterator<Item = Match>, action: A) -> Rule<A> {
    Rule::new([Match::Interface(way, sense, BOXES)].into_iter().chain(more), action)
}

impl Rules {
    /// All of them.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(TABLE);
        let filter =
            |name, hook, priority, rules| FilterChain { name, hook, priority, policy: Policy::Accept, rules };
        table.filter(filter("source", Hook::Prerouting, BEFORE_TRACKING, self.source_rules()));
        table.filter(filter("destination", Hook::Prerouting, BEFORE_TRANSLATION, self.destination_rules()));
        if let Some(resolver) = self.resolver {
            resolver_chains(&mut table, resolver);
        }
        table.masquerade("translation", self.translation_rules());
        table.filter(filter("to_host", Hook::Input, BEFORE_FILTERS, self.host_rules()));
        let rules = self.forward_rules(&mut table);
        table.filter(filter("forward", Hook::Forward, BEFORE_FILTERS, rules));
        table
    }

    /// A box speaks with its own address only, and never to the host's loopback addresses, before any translation.
    fn source_rules(&self) -> Vec<Rule<Verdict>> {
        [
            Match::Source(Sense::IsNot, self.range.target()),
            Match::Source(Sense::IsNot, IPV6),
            Match::NoWayBack,
            Match::Destination(Sense::Is, forbidden::LOOPBACK[1]),
        ]
        .map(|wrong| box_rule(Way::In, Sense::Is, [wrong], Verdict::Drop))
        .into()
    }

    /// Where no box may go, decided before any translation of destinations: a port of the host that somebody else's rules
    /// lead into a container is the host's all the same.
    fn destination_rules(&self) -> Vec<Rule<Verdict>> {
        let mut rules = vec![
            box_rule(Way::In, Sense::IsNot, [], Verdict::Accept),
            Rule::new([ANSWERS], Verdict::Accept),
            Rule::new([Match::ForThisMachine], Verdict::Drop),
        ];
        let targets = forbidden::targets().chain([self.range.target(), IPV6]);
        rules.extend(
            AddressSet::of(targets)
                .into_iter()
                .map(|targets| Rule::new([Match::DestinationAmong(targets)], Verdict::Drop)),
        );
        rules
    }

    /// What leaves the machine carries the machine's address.
    fn translation_rules(&self) -> Vec<Rule<Masquerade>> {
        [Some(self.range.target()), self.ipv6.then_some(IPV6)]
            .into_iter()
            .flatten()
            .map(|boxes| box_rule(Way::Out, Sense::IsNot, [Match::Source(Sense::Is, boxes)], Masquerade))
            .collect()
    }

    /// Nothing from a box reaches the host itself but questions to its resolver and answers to what the host began.
    fn host_rules(&self) -> Vec<Rule<Verdict>> {
        let mut rules = vec![box_rule(Way::In, Sense::IsNot, [], Verdict::Accept)];
        if let Some(resolver) = self.resolver {
            let resolver = Match::Destination(Sense::Is, RouteTarget::single(resolver.into()));
            rules.extend([Transport::Udp, Transport::Tcp].map(|transport| {
                let question = [Match::Redirected, resolver.clone(), Match::Port(transport, DNS)];
                Rule::new(question, Verdict::Accept)
            }));
        }
        rules.push(Rule::new([ANSWERS], Verdict::Accept));
        rules.push(Rule::new([], Verdict::Reject));
        rules
    }

    /// From a box: out, but not to another box. To a box: answers. Everything else: as before us.
    fn forward_rules(&self, table: &mut Table) -> Vec<Rule<Verdict>> {
        let guard = table.called(
            "guard",
            vec![
                Rule::new([ANSWERS], Verdict::Accept),
                Rule::new([Match::Redirected], Verdict::Accept),
                Rule::new([], Verdict::Drop),
            ],
        );
        let from_box = table.called(
            "from_box",
            vec![
                box_rule(Way::Out, Sense::Is, [], Verdict::Reject),
                Rule::new([Match::State(TrackedState::Invalid)], Verdict::Drop),
                Rule::new([], Verdict::Accept),
            ],
        );
        let mut rules = vec![
            box_rule(Way::In, Sense::Is, [], Verdict::Jump(from_box)),
            box_rule(Way::Out, Sense::Is, [ANSWERS], Verdict::Accept),
            box_rule(Way::Out, Sense::Is, [], Verdict::Drop),
        ];
        if !self.guarded_ipv4.is_empty() {
            let guarded = Match::InterfaceAmong(Way::In, self.guarded_ipv4.clone());
            rules.push(Rule::new([Match::Version(IpVersion::V4), guarded], Verdict::Jump(guard.clone())));
        }
        if self.guarded_ipv6 {
            rules.push(Rule::new([Match::Version(IpVersion::V6)], Verdict::Jump(guard)));
        }
        rules
    }
}

/// Questions to the resolver's stand-in go to the host's resolver and look as if they came from the host.
fn resolver_chains(table: &mut Table, resolver: Ipv4Addr) {
    let to = |address: Ipv4Addr| Match::Destination(Sense::Is, RouteTarget::single(address.into()));
    let questions = [Transport::Udp, Transport::Tcp].map(|transport| {
        let question = [to(RESOLVER), Match::Port(transport, DNS)];
        box_rule(Way::In, Sense::Is, question, DestinationNat(SocketAddrV4::new(resolver, DNS)))
    });
    table.translate_destinations("resolver", questions.into());
    let from = if resolver.is_loopback() { Ipv4Addr::LOCALHOST } else { resolver };
    let redirected = [to(resolver), Match::Redirected];
    table.translate_sources(
        "resolver_source",
        vec![box_rule(Way::In, Sense::Is, redirected, SourceNat(from))],
    );
}

/// Lets our packets pass foreign chains which drop what they don't know (Docker's and ufw's, for example). An "accept"
/// there is the end of that chain only: our own chains still decide.
pub(super) fn openings(chains: &[BaseChain]) -> Batch {
    let mut batch = Batch::new();
    for chain in chains {
        let Some(family) = Family::from_number(chain.family) else { continue };
        let place = ForeignChain { family, table: chain.table.clone(), name: chain.name.clone() };
        for rule in opening(chain.hook) {
            batch = batch.insert(&place, &rule.comment(MARK));
        }
    }
    batch
}

/// Nothing more exact: iptables-nft(8) must go on understanding its own chains, and it knows no `ct` but its own. What
/// our own chains say of answers and redirected questions holds all the same.
fn opening(hook: u32) -> [Rule<Verdict>; 2] {
    match hook {
        HOOK_FORWARD => [Way::Out, Way::In].map(|way| box_rule(way, Sense::Is, [], Verdict::Accept)),
        _ => [Transport::Udp, Transport::Tcp]
            .map(|transport| box_rule(Way::In, Sense::Is, [Match::Port(transport, DNS)], Verdict::Accept)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            range: Range::choose(&[], None, false).unwrap(),
            ipv6: true,
            resolver: None,
            guarded_ipv4: Vec::new(),
            guarded_ipv6: false,
        }
    }

    #[test]
    fn nothing_is_guarded_or_translated_that_need_not_be() {
        let text = rules().table().to_string();
        assert!(text.starts_with("table inet agentkernel {\n"), "{text}");
        for absent in ["jump guard", "dnat ip", "snat", "192.0.0.53"] {
            assert!(!text.contains(absent), "{absent}: {text}");
        }
        for present in ["169.254.0.0/16", "100.100.100.200", "fe80::/10", "fd00:ec2::254", "masquerade"] {
            assert!(text.contains(present), "{present}: {text}");
        }
    }

    #[test]
    fn what_was_no_router_is_guarded() {
        let guarded_ipv4 = ["eth0", "wlan0"].map(|name| InterfaceName::new(name).unwrap()).into();
        let text = Rules { guarded_ipv4, guarded_ipv6: true, ..rules() }.table().to_string();
        assert!(
            text.contains("iifname { \"eth0\", \"wlan0\" } jump guard\nmeta nfproto ipv6 jump guard\n"),
            "{text}"
        );
    }

    #[test]
    fn a_dropping_chain_is_opened_for_boxes_alone() {
        let texts = |hook| opening(hook).map(|rule| rule.comment(MARK).to_string());
        assert_eq!(
            texts(HOOK_FORWARD),
            [
                "oifname \"ak-*\" accept comment \"agentkernel sandboxes\"",
                "iifname \"ak-*\" accept comment \"agentkernel sandboxes\""
            ]
        );
        assert_eq!(
            texts(HOOK_INPUT),
            ["udp", "tcp"].map(|transport| format!(
                "iifname \"ak-*\" {transport} dport 53 accept comment \"agentkernel sandboxes\""
            ))
        );
    }
}
