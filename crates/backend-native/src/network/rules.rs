//! The text of the nftables rules. Pure: what they are made from is gathered by [`super::firewall`].

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use agentkernel_sys::netlink::{BaseChain, RouteTarget};

use super::forbidden;
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
    pub(super) guarded_ipv4: Vec<String>,
    /// The same for IPv6, where the kernel knows one switch for all.
    pub(super) guarded_ipv6: bool,
}

impl Rules {
    /// A script for `nft -f` that replaces the whole table in one step.
    pub(super) fn script(&self) -> String {
        let boxes = format!("\"{INTERFACE_PREFIX}*\"");
        let mut script = format!("table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
        let chains = [
            self.source_chain(&boxes),
            self.destination_chain(&boxes),
            self.resolver_chains(&boxes),
            self.translation_chain(&boxes),
            self.host_chain(&boxes),
            self.forward_chains(&boxes),
        ];
        script.extend(chains);
        script.push_str("}\n");
        script
    }

    /// A box speaks with its own address only, and never to the host's loopback addresses, before any translation.
    fn source_chain(&self, boxes: &str) -> String {
        format!(
            "chain source {{\n\
             type filter hook prerouting priority raw; policy accept;\n\
             iifname {boxes} ip saddr != {} drop\n\
             iifname {boxes} ip6 saddr != {} drop\n\
             iifname {boxes} fib saddr . iif oif missing drop\n\
             iifname {boxes} ip daddr 127.0.0.0/8 drop\n\
             }}\n",
            self.range,
            network(&IPV6),
        )
    }

    /// Where no box may go, decided before any translation of destinations: a port of the host that somebody else's rules
    /// lead into a container is the host's all the same.
    fn destination_chain(&self, boxes: &str) -> String {
        format!(
            "chain destination {{\n\
             type filter hook prerouting priority mangle; policy accept;\n\
             iifname != {boxes} accept\n\
             ct state established,related accept\n\
             fib daddr type local drop\n\
             ip daddr {{ {}, {} }} drop\n\
             ip6 daddr {{ {}, {} }} drop\n\
             }}\n",
            list(&forbidden::IPV4),
            self.range,
            list(&forbidden::IPV6),
            network(&IPV6),
        )
    }

    /// Questions to the resolver's stand-in go to the host's resolver and look as if they came from the host.
    fn resolver_chains(&self, boxes: &str) -> String {
        let Some(resolver) = self.resolver else { return String::new() };
        let stand_in = forbidden::RESOLVER;
        let from = if resolver.is_loopback() { Ipv4Addr::LOCALHOST } else { resolver };
        format!(
            "chain resolver {{\n\
             type nat hook prerouting priority dstnat; policy accept;\n\
             iifname {boxes} ip daddr {stand_in} udp dport 53 dnat ip to {resolver}:53\n\
             iifname {boxes} ip daddr {stand_in} tcp dport 53 dnat ip to {resolver}:53\n\
             }}\n\
             chain resolver_source {{\n\
             type nat hook input priority 100; policy accept;\n\
             iifname {boxes} ip daddr {resolver} ct status dnat snat ip to {from}\n\
             }}\n"
        )
    }

    /// What leaves the machine carries the machine's address.
    fn translation_chain(&self, boxes: &str) -> String {
        let ipv6 = match self.ipv6 {
            true => format!("oifname != {boxes} ip6 saddr {} masquerade\n", network(&IPV6)),
            false => String::new(),
        };
        format!(
            "chain translation {{\n\
             type nat hook postrouting priority srcnat; policy accept;\n\
             oifname != {boxes} ip saddr {} masquerade\n\
             {ipv6}}}\n",
            self.range,
        )
    }

    /// Nothing from a box reaches the host itself but questions to its resolver and answers to what the host began.
    fn host_chain(&self, boxes: &str) -> String {
        let resolver = match self.resolver {
            None => String::new(),
            Some(address) => format!(
                "ct status dnat ip daddr {address} udp dport 53 accept\n\
                 ct status dnat ip daddr {address} tcp dport 53 accept\n"
            ),
        };
        format!(
            "chain to_host {{\n\
             type filter hook input priority filter - 1; policy accept;\n\
             iifname != {boxes} accept\n\
             {resolver}\
             ct state established,related accept\n\
             reject with icmpx type admin-prohibited\n\
             }}\n"
        )
    }

    /// From a box: out, but not to another box. To a box: answers. Everything else: as before
    /// us.
    fn forward_chains(&self, boxes: &str) -> String {
        let mut guard = String::new();
        if !self.guarded_ipv4.is_empty() {
            let names: Vec<String> = self.guarded_ipv4.iter().map(|name| format!("\"{name}\"")).collect();
            // Writing to a String can't fail.
            writeln!(guard, "meta nfproto ipv4 iifname {{ {} }} jump guard", names.join(", ")).ok();
        }
        if self.guarded_ipv6 {
            guard.push_str("meta nfproto ipv6 jump guard\n");
        }
        format!(
            "chain guard {{\n\
             ct state established,related accept\n\
             ct status dnat accept\n\
             drop\n\
             }}\n\
             chain from_box {{\n\
             oifname {boxes} reject with icmpx type admin-prohibited\n\
             ct state invalid drop\n\
             accept\n\
             }}\n\
             chain forward {{\n\
             type filter hook forward priority filter - 1; policy accept;\n\
             iifname {boxes} jump from_box\n\
             oifname {boxes} ct state established,related accept\n\
             oifname {boxes} drop\n\
             {guard}}}\n"
        )
    }

    /// A script that lets our packets pass foreign chains which drop what they don't know (Docker's and ufw's, for
    /// example). An "accept" there is the end of that chain only: our own chains still decide.
    pub(super) fn openings(&self, chains: &[BaseChain]) -> String {
        let boxes = format!("\"{INTERFACE_PREFIX}*\"");
        let mut script = String::new();
        for chain in chains {
            let family = match chain.family {
                2 => "ip",
                10 => "ip6",
                _ => "inet",
            };
            let place = format!("insert rule {family} {} {}", chain.table, chain.name);
            let rules = match chain.hook {
                HOOK_FORWARD => {
                    vec![format!("oifname {boxes} ct state established,related"), format!("iifname {boxes}")]
                }
                _ => vec![
                    format!("iifname {boxes} ct status dnat udp dport 53"),
                    format!("iifname {boxes} ct status dnat tcp dport 53"),
                ],
            };
            for rule in rules {
                // Writing to a String can't fail.
                writeln!(script, "{place} {rule} accept comment \"{MARK}\"").ok();
            }
        }
        script
    }
}

fn list(targets: &[RouteTarget]) -> String {
    targets.iter().map(network).collect::<Vec<_>>().join(", ")
}

fn network(target: &RouteTarget) -> String {
    format!("{}/{}", target.address, target.prefix)
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
        let script = rules().script();
        assert!(script.starts_with("table inet agentkernel\ndelete table inet agentkernel\n"), "{script}");
        for absent in ["jump guard", "dnat ip", "snat", "192.0.0.53"] {
            assert!(!script.contains(absent), "{absent}: {script}");
        }
        for present in
            ["169.254.0.0/16", "100.100.100.200/32", "fe80::/10", "fd00:ec2::254/128", "masquerade"]
        {
            assert!(script.contains(present), "{present}: {script}");
        }
    }

    #[test]
    fn what_was_no_router_is_guarded() {
        let guarded =
            Rules { guarded_ipv4: vec!["eth0".into(), "wlan0".into()], guarded_ipv6: true, ..rules() };
        let script = guarded.script();
        assert!(
            script.contains("iifname { \"eth0\", \"wlan0\" } jump guard\nmeta nfproto ipv6 jump guard\n"),
            "{script}"
        );
    }

    #[test]
    fn a_dropping_chain_is_opened_at_its_head() {
        let docker = BaseChain {
            family: 2,
            table: "filter".into(),
            name: "FORWARD".into(),
            hook: HOOK_FORWARD,
            drops: true,
        };
        assert_eq!(
            rules().openings(&[docker]),
            "insert rule ip filter FORWARD oifname \"ak-*\" ct state established,related accept comment \"agentkernel sandboxes\"\n\
             insert rule ip filter FORWARD iifname \"ak-*\" accept comment \"agentkernel sandboxes\"\n"
        );
    }
}
