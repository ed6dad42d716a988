//! The filter of a container whose network is made by somebody else: the same forbidden targets as everywhere, decided in
//! the container's own network namespace, by rules that nothing in it has the right to change once its first process has
//! given up CAP_NET_ADMIN. Made on the host, sent from inside.

use std::net::IpAddr;

use rustix::io::Errno;

use super::nftables::{
    AddressSet, Batch, CalledChain, FilterChain, Hook, Interface, InterfaceName, Match, Policy, Rule, Sense,
    Table, TrackedState, Transport, Verdict, Way, batch_verdict,
};
use super::{RouteTarget, forbidden};

/// The one table of the container's namespace.
const TABLE: &str = "agentkernel";
/// Just before other people's filters (NF_IP_PRI_FILTER).
const PRIORITY: i32 = -1;
const DNS: u16 = 53;
const LOOPBACK: Interface = Interface::Named(InterfaceName::constant("lo"));

/// What a container may reach besides the Internet, and what else it may not.
#[derive(Debug, Clone, Copy)]
pub struct ContainerEgress<'a> {
    /// Name servers: asked on port 53 by UDP and TCP whatever is refused below. A server on the container's own loopback
    /// interface (an engine's embedded one) needs no mention; the servers that such a one asks from within the
    /// container's namespace do.
    pub resolvers: &'a [IpAddr],
    /// Refused besides [`forbidden`]: the host's addresses, gateways, the networks of other containers.
    pub refused: &'a [RouteTarget],
}

/// The rules as one datagram for a socket of [`super::Protocol::Netfilter`] in the container's network namespace, which
/// replaces them as a whole or not at all. The first datagram that comes back is the answer; see
/// [`container_egress_verdict`].
///
/// Out: to the container itself, answers, questions to the name servers, and everything that is not refused. What is
/// refused fails at once: by TCP with ECONNREFUSED, else with EHOSTUNREACH or EACCES. In: answers. Packet sockets pass by: no process may have
/// CAP_NET_RAW.
pub fn container_egress(egress: &ContainerEgress<'_>) -> Vec<u8> {
    Batch::new().replace_table(&table(egress)).datagram(1)
}

/// What the first answer to [`container_egress`] says; None where it is none. Ok when all rules are in force, else none
/// is. EPERM: CAP_NET_ADMIN over the namespace is missing. ENOENT, EOPNOTSUPP: the kernel lacks nf_tables, nft_ct or
/// nft_reject_inet.
pub fn container_egress_verdict(answer: &[u8]) -> Option<Result<(), Errno>> {
    batch_verdict(answer)
}

fn table(egress: &ContainerEgress<'_>) -> Table {
    let mut table = Table::new(TABLE);
    let filter = |name, hook, policy, rules| FilterChain { name, hook, priority: PRIORITY, policy, rules };
    // By TCP a reset: an ICMP error that comes while connect(2) sends is kept back until the packet is sent again.
    let refuse = table.called(
        "refuse",
        vec![Rule::new([Match::Transport(Transport::Tcp)], Verdict::Reset), Rule::new([], Verdict::Reject)],
    );
    table.filter(filter("output", Hook::Output, Policy::Accept, output(egress, &refuse)));
    table.filter(filter("input", Hook::Input, Policy::Drop, always(Way::In).collect()));
    table
}

/// Within the container, answers, and what finds neighbours on a link.
fn always(way: Way) -> impl Iterator<Item = Rule<Verdict>> {
    let loopback = Rule::new([Match::Interface(way, Sense::Is, LOOPBACK)], Verdict::Accept);
    let answers = Rule::new([Match::State(TrackedState::EstablishedOrRelated)], Verdict::Accept);
    let neighbours =
        forbidden::NEIGHBOUR_DISCOVERY.map(|kind| Rule::new([Match::Icmpv6(kind)], Verdict::Accept));
    [loopback, answers].into_iter().chain(neighbours)
}

fn output(egress: &ContainerEgress<'_>, refuse: &CalledChain) -> Vec<Rule<Verdict>> {
    let mut rules: Vec<Rule<Verdict>> = always(Way::Out).collect();
    for servers in AddressSet::of(egress.resolvers.iter().copied().map(RouteTarget::single)) {
        rules.extend([Transport::Udp, Transport::Tcp].map(|transport| {
            let servers = Match::DestinationAmong(servers.clone());
            Rule::new([servers, Match::Port(transport, DNS)], Verdict::Accept)
        }));
    }
    let refused = forbidden::targets().chain(egress.refused.iter().copied());
    rules.extend(
        AddressSet::of(refused)
            .into_iter()
            .map(|targets| Rule::new([Match::DestinationAmong(targets)], Verdict::Jump(refuse.clone()))),
    );
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::testing::{in_new_namespace, without_rights};
    use crate::netlink::{Protocol, Socket};

    fn egress() -> (Vec<IpAddr>, Vec<RouteTarget>) {
        let resolvers = ["198.51.100.53", "2001:db8::53"].map(|text| text.parse().unwrap());
        let refused = RouteTarget { address: "172.17.0.0".parse().unwrap(), prefix: 16 };
        (resolvers.into(), vec![refused])
    }

    #[test]
    fn the_forbidden_targets_and_those_of_the_engine_are_refused() {
        let (resolvers, refused) = egress();
        let text = table(&ContainerEgress { resolvers: &resolvers, refused: &refused }).to_string();
        let lines: Vec<&str> = text.lines().collect();
        let at = |start: &str| lines.iter().position(|line| line.starts_with(start));
        let (asked, no) =
            (at("ip daddr { 198.51.100.53 } udp dport 53 accept"), at("ip daddr { 0.0.0.0/8, "));
        assert!(asked.is_some() && asked < no, "{text}");
        let no = lines[no.unwrap()];
        assert!(
            no.contains("172.17.0.0/16") && no.contains("169.254.0.0/16") && no.ends_with("jump refuse"),
            "{text}"
        );
        assert!(text.contains("hook input priority -1; policy drop;"), "{text}");
    }

    #[test]
    fn an_answer_is_told_from_a_refusal_by_its_first_datagram() {
        let (resolvers, refused) = egress();
        let bytes = container_egress(&ContainerEgress { resolvers: &resolvers, refused: &refused });
        let answer = |socket: &mut Socket| {
            socket.send("test", &bytes).unwrap();
            socket.receive("test").unwrap().to_vec()
        };
        let in_force = in_new_namespace(&[], || answer(&mut Socket::open(Protocol::Netfilter).unwrap()));
        if let Some(in_force) = in_force {
            assert_eq!(container_egress_verdict(&in_force), Some(Ok(())));
            // What the agent does without a parser.
            assert_eq!(in_force[4..6], 2_u16.to_ne_bytes());
            assert_eq!(in_force[16..20], [0; 4]);
        }
        let refused = without_rights(|| answer(&mut Socket::open(Protocol::Netfilter).unwrap()));
        assert_eq!(container_egress_verdict(&refused), Some(Err(Errno::PERM)));
        assert_eq!(refused[16..20], (-1_i32).to_ne_bytes());
        assert_eq!(container_egress_verdict(&[]), None);
    }
}
