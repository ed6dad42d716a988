//! Rules and tables as nft(8) writes them: for messages, for comparing, and for tests that let `nft` read them.

use std::fmt::{self, Display, Formatter};

use super::rule::{
    DestinationNat, Family, IpVersion, Masquerade, Match, Rule, Sense, SourceNat, TrackedState, Transport,
    Verdict, Way,
};
use super::table::{
    Chain, DESTINATION_PRIORITY, FilterChain, ForeignChain, Hook, Policy, SOURCE_PRIORITY, Table,
};
use crate::netlink::RouteTarget;

impl Display for Family {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
        })
    }
}

impl Display for Transport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

impl Display for Way {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "iifname",
            Self::Out => "oifname",
        })
    }
}

/// As `ip saddr` begins.
fn header(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ip",
        IpVersion::V6 => "ip6",
    }
}

fn sense(sense: Sense) -> &'static str {
    match sense {
        Sense::Is => "",
        Sense::IsNot => "!= ",
    }
}

fn network(f: &mut Formatter<'_>, field: &str, is: Sense, target: &RouteTarget) -> fmt::Result {
    let RouteTarget { address, prefix } = target;
    write!(f, "{} {field} {}{address}/{prefix}", header(IpVersion::of(*address)), sense(is))
}

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(way, is, interface) => write!(f, "{way} {}{interface}", sense(*is)),
            Self::InterfaceAmong(way, names) => {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                write!(f, "{way} {{ {} }}", names.join(", "))
            }
            Self::Version(IpVersion::V4) => f.write_str("meta nfproto ipv4"),
            Self::Version(IpVersion::V6) => f.write_str("meta nfproto ipv6"),
            Self::Source(is, target) => network(f, "saddr", *is, target),
            Self::Destination(is, target) => network(f, "daddr", *is, target),
            Self::DestinationAmong(set) => write!(f, "{} daddr {set}", header(set.version())),
            Self::Transport(transport) => write!(f, "meta l4proto {transport}"),
            Self::Port(transport, port) => write!(f, "{transport} dport {port}"),
            Self::Icmpv6(kind) => write!(f, "icmpv6 type {kind}"),
            Self::State(TrackedState::EstablishedOrRelated) => f.write_str("ct state established,related"),
            Self::State(TrackedState::Invalid) => f.write_str("ct state invalid"),
            Self::Redirected => f.write_str("ct status dnat"),
            Self::NoWayBack => f.write_str("fib saddr . iif oif missing"),
            Self::ForThisMachine => f.write_str("fib daddr type local"),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Reject => f.write_str("reject with icmpx type admin-prohibited"),
            Self::Reset => f.write_str("reject with tcp reset"),
            Self::Jump(chain) => write!(f, "jump {}", chain.0),
        }
    }
}

impl Display for DestinationNat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "dnat ip to {}", self.0)
    }
}

impl Display for SourceNat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "snat ip to {}", self.0)
    }
}

impl Display for Masquerade {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("masquerade")
    }
}

impl<A: Display> Display for Rule<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for matched in &self.matches {
            write!(f, "{matched} ")?;
        }
        self.action.fmt(f)?;
        match self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

impl Display for ForeignChain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.name)
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "chain {} {{", self.name())?;
        match self {
            Self::Called { rules, .. } => lines(f, rules)?,
            Self::Filter(FilterChain { hook, priority, policy, rules, .. }) => {
                let policy = match policy {
                    Policy::Accept => "accept",
                    Policy::Drop => "drop",
                };
                writeln!(f, "type filter hook {hook} priority {priority}; policy {policy};")?;
                lines(f, rules)?;
            }
            Self::Destination { rules, .. } => {
                nat(f, Hook::Prerouting, DESTINATION_PRIORITY)?;
                lines(f, rules)?;
            }
            Self::Source { rules, .. } => {
                nat(f, Hook::Input, SOURCE_PRIORITY)?;
                lines(f, rules)?;
            }
            Self::Masquerading { rules, .. } => {
                nat(f, Hook::Postrouting, SOURCE_PRIORITY)?;
                lines(f, rules)?;
            }
        }
        f.write_str("}\n")
    }
}

fn nat(f: &mut Formatter<'_>, hook: Hook, priority: i32) -> fmt::Result {
    writeln!(f, "type nat hook {hook} priority {priority}; policy accept;")
}

fn lines<A: Display>(f: &mut Formatter<'_>, rules: &[Rule<A>]) -> fmt::Result {
    rules.iter().try_for_each(|rule| writeln!(f, "{rule}"))
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {} {{", self.name)?;
        self.chains.iter().try_for_each(|chain| chain.fmt(f))?;
        f.write_str("}\n")
    }
}
