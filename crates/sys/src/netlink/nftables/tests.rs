//! Rules as bytes, held against what nft(8) makes of their text: both go into a network namespace of their own, and the
//! listings must be the same.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};

use rustix::io::Errno;

use super::*;
use crate::netlink::testing::{in_new_namespace, without_rights};
use crate::netlink::{self, Protocol, RouteTarget, Socket};

fn target(text: &str) -> RouteTarget {
    let (address, prefix) = text.split_once('/').unwrap();
    RouteTarget { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).unwrap()
}

fn filter(name: &'static str, hook: Hook, policy: Policy, rules: Vec<Rule<Verdict>>) -> FilterChain {
    FilterChain { name, hook, priority: -17, policy, rules }
}

/// A table with everything in it.
fn everything() -> Table {
    let mut table = Table::new("everything");
    let called = table.called(
        "called",
        vec![
            Rule::new([Match::Transport(Transport::Tcp)], Verdict::Reset),
            Rule::new([], Verdict::Reject).comment("a word"),
        ],
    );
    let matches = [
        Match::Interface(Way::In, Sense::Is, Interface::Beginning(name("ak-"))),
        Match::Interface(Way::In, Sense::IsNot, Interface::Named(name("eth0"))),
        Match::InterfaceAmong(Way::In, vec![name("eth0"), name("a-very-long-one")]),
        Match::Version(IpVersion::V4),
        Match::Version(IpVersion::V6),
        Match::Source(Sense::Is, target("10.213.0.0/16")),
        Match::Source(Sense::IsNot, target("172.16.0.0/12")),
        Match::Source(Sense::IsNot, target("fd8b:3c61:7e42:ac5e::/64")),
        Match::Destination(Sense::Is, target("192.0.0.53/32")),
        Match::Destination(Sense::Is, target("fe80::/10")),
        Match::Destination(Sense::IsNot, target("2001:db8::1/128")),
        Match::Transport(Transport::Udp),
        Match::Port(Transport::Udp, 53),
        Match::Port(Transport::Tcp, 65_535),
        Match::Icmpv6(200),
        Match::State(TrackedState::EstablishedOrRelated),
        Match::State(TrackedState::Invalid),
        Match::Redirected,
        Match::NoWayBack,
        Match::ForThisMachine,
    ];
    let mut rules: Vec<Rule<Verdict>> =
        matches.into_iter().map(|matched| Rule::new([matched], Verdict::Jump(called.clone()))).collect();
    rules.extend(
        AddressSet::of(
            ["10.0.0.0/8", "240.0.0.0/4", "224.0.0.0/4", "192.0.2.1/32", "ff00::/8", "::/96"].map(target),
        )
        .into_iter()
        .map(|set| Rule::new([Match::DestinationAmong(set)], Verdict::Drop)),
    );
    table.filter(filter("before", Hook::Prerouting, Policy::Accept, rules));
    let out = Match::Interface(Way::Out, Sense::Is, Interface::Named(name("lo")));
    table.filter(filter("sent", Hook::Output, Policy::Drop, vec![Rule::new([out.clone()], Verdict::Accept)]));
    table.filter(filter("passed", Hook::Forward, Policy::Drop, Vec::new()));
    let server = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 53), 53);
    table.translate_destinations(
        "to",
        vec![Rule::new([Match::Port(Transport::Tcp, 53)], DestinationNat(server))],
    );
    table.translate_sources("from", vec![Rule::new([Match::Redirected], SourceNat(Ipv4Addr::LOCALHOST))]);
    table.masquerade("leaving", vec![Rule::new([out], Masquerade)]);
    table
}

fn nft(arguments: &[&str], input: &str) -> String {
    let mut child =
        Command::new("nft").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "nft {arguments:?}: {input}");
    String::from_utf8(output.stdout).unwrap()
}

fn commit(batch: &Batch) -> Result<(), RulesetError> {
    Socket::open(Protocol::Netfilter).unwrap().commit(batch)
}

#[test]
fn the_bytes_say_what_the_text_says() {
    let listings = in_new_namespace(&["nft"], || {
        let table = everything();
        commit(&Batch::new().replace_table(&table)).unwrap_or_else(|error| panic!("{error}: {error:?}"));
        let ours = nft(&["list", "ruleset"], "");
        nft(&["flush", "ruleset"], "");
        nft(&["-f", "-"], &table.to_string());
        (ours, nft(&["list", "ruleset"], ""))
    });
    let Some((ours, theirs)) = listings else { return };
    assert!(ours.contains("fib saddr . iif oif missing jump called"), "{ours}");
    assert_eq!(ours, theirs);
}

#[test]
fn a_table_is_replaced_as_a_whole_or_not_at_all() {
    let listings = in_new_namespace(&["nft"], || {
        let mut table = Table::new("t");
        table.filter(filter("c", Hook::Input, Policy::Accept, vec![Rule::new([], Verdict::Drop)]));
        let batch = Batch::new().replace_table(&table);
        commit(&batch).unwrap();
        commit(&batch).unwrap();
        let before = nft(&["list", "ruleset"], "");
        let nowhere = ForeignChain { family: Family::Ipv4, table: "filter".into(), name: "FORWARD".into() };
        let broken =
            Batch::new().replace_table(&everything()).insert(&nowhere, &Rule::new([], Verdict::Accept));
        let error = commit(&broken).unwrap_err();
        (before, nft(&["list", "ruleset"], ""), error.to_string())
    });
    let Some((before, after, error)) = listings else { return };
    assert_eq!(before.matches("drop").count(), 1, "{before}");
    assert_eq!(before, after);
    assert_eq!(error, "the kernel refused to add the rule `accept` to the chain `ip filter FORWARD`");
}

#[test]
fn a_rule_is_put_at_the_head_of_somebody_else_s_chain() {
    let listing = in_new_namespace(&["nft"], || {
        nft(
            &["-f", "-"],
            "table ip filter {\nchain FORWARD {\ntype filter hook forward priority 0; policy drop;\ncounter\n}\n}\n",
        );
        let chain = ForeignChain { family: Family::Ipv4, table: "filter".into(), name: "FORWARD".into() };
        let [first, second] = [Way::Out, Way::In].map(|way| {
            let loopback = Match::Interface(way, Sense::Is, Interface::Named(name("lo")));
            Rule::new([loopback], Verdict::Accept).comment("ours")
        });
        commit(&Batch::new().insert(&chain, &first).insert(&chain, &second)).unwrap();
        nft(&["list", "chain", "ip", "filter", "FORWARD"], "")
    });
    let Some(listing) = listing else { return };
    let lines: Vec<&str> = listing.lines().map(str::trim).skip(3).collect();
    assert_eq!(
        lines[..3],
        [
            "iifname \"lo\" accept comment \"ours\"",
            "oifname \"lo\" accept comment \"ours\"",
            "counter packets 0 bytes 0"
        ],
        "{listing}"
    );
}

#[test]
fn many_addresses_take_several_messages() {
    let count = in_new_namespace(&["nft"], || {
        let many = (0..2000_u32)
            .map(|number| RouteTarget::single(IpAddr::from(Ipv4Addr::from_bits(number * 16 + 1))));
        let sets = AddressSet::of(many);
        let rules =
            sets.into_iter().map(|set| Rule::new([Match::DestinationAmong(set)], Verdict::Drop)).collect();
        let mut table = Table::new("t");
        table.filter(filter("c", Hook::Output, Policy::Accept, rules));
        commit(&Batch::new().replace_table(&table)).unwrap();
        nft(&["-n", "list", "ruleset"], "").matches("0.").count()
    });
    assert!(count.is_none_or(|count| count >= 2000), "{count:?}");
}

#[test]
fn what_the_kernel_lacks_is_named() {
    let table = request_bytes(libc::NFT_MSG_NEWTABLE, |message| message);
    let error = RulesetError::refused(Errno::OPNOTSUPP, Some((&table, "make the table `inet t`")), None);
    assert!(error.to_string().starts_with("the kernel lacks tables of the family inet"), "{error}");
    let mut offset = 0;
    let rule = request_bytes(libc::NFT_MSG_NEWRULE, |message| {
        message.text(1, "t").nested(4, |list| {
            let list = super::expression::append(list, &Match::State(TrackedState::Invalid), 0);
            super::expression::append(list, &Match::NoWayBack, 0)
        })
    });
    for (element, _) in rule.windows(4).enumerate().filter(|(_, bytes)| bytes == b"fib\0") {
        // Before the name its header, before that the element's.
        offset = element - 8;
    }
    let error = RulesetError::refused(Errno::NOENT, Some((&rule, "add the rule `x`")), Some(offset));
    assert!(
        error.to_string().contains("the expression `fib`") && error.to_string().contains("nft_fib_inet"),
        "{error}"
    );
    let error = RulesetError::refused(Errno::NOENT, Some((&rule, "add the rule `x`")), None);
    assert!(matches!(error, RulesetError::Refused { .. }), "{error}");
    for (errno, word) in
        [(Errno::OPNOTSUPP, "modprobe nf_tables"), (Errno::PERM, "refused to change its rules")]
    {
        let error = RulesetError::refused(errno, None, None);
        assert!(error.to_string().contains(word), "{error}");
    }
}

fn request_bytes(kind: libc::c_int, build: impl FnOnce(netlink::Message) -> netlink::Message) -> Vec<u8> {
    let kind = ((libc::NFNL_SUBSYS_NFTABLES as u16) << 8) | kind as u16;
    build(netlink::Message::new("test", kind, 0).body(&[1, 0, 0, 0])).finish(1, 0)
}

#[test]
fn without_the_right_nothing_is_changed() {
    let refused = without_rights(|| commit(&Batch::new().replace_table(&Table::new("never"))));
    assert!(matches!(refused, Err(RulesetError::Refused { source: Errno::PERM, .. })), "{refused:?}");
}

#[test]
fn the_kernel_points_to_the_expression_that_it_refused() {
    let error = in_new_namespace(&[], || {
        let mut table = Table::new("t");
        let tracked = Match::State(TrackedState::Invalid);
        // As no table can be built outside of this module.
        let nowhere = Verdict::Jump(CalledChain("nowhere"));
        table.filter(filter("c", Hook::Input, Policy::Accept, vec![Rule::new([tracked], nowhere)]));
        commit(&Batch::new().replace_table(&table)).unwrap_err()
    });
    match error {
        None => {}
        Some(RulesetError::Missing { part, change, source: Errno::NOENT, .. }) => {
            assert_eq!(part, "the expression `immediate`");
            assert_eq!(change, "add the rule `ct state invalid jump nowhere` to the chain `inet t c`");
        }
        other => panic!("{other:?}"),
    }
}
