//! Tables and chains.

use super::rule::{DestinationNat, Family, Masquerade, Rule, SourceNat, Verdict};

/// Where the kernel enters a chain (NF_INET_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// As soon as a packet has come in.
    Prerouting,
    /// A packet for this machine.
    Input,
    /// A packet from one interface to another.
    Forward,
    /// A packet of this machine.
    Output,
    /// Just before a packet leaves.
    Postrouting,
}

impl Hook {
    pub(super) fn number(self) -> u32 {
        self as u32
    }
}

/// What becomes of a packet that no rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It passes.
    Accept,
    /// It is gone.
    Drop,
}

/// A chain that rules of the same table jump to. Made by [`Table::called`] only, so it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledChain(pub(super) &'static str);

/// A filter that the kernel enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterChain {
    /// Its name.
    pub name: &'static str,
    /// Where.
    pub hook: Hook,
    /// In which order among all chains of that hook: lower is earlier. 0 is where other firewalls filter.
    pub priority: i32,
    /// For what no rule decides.
    pub policy: Policy,
    /// In order.
    pub rules: Vec<Rule<Verdict>>,
}

/// A chain of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignChain {
    /// Of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
}

/// The priority at which others translate destinations (NF_IP_PRI_NAT_DST).
pub(super) const DESTINATION_PRIORITY: i32 = -100;
/// The priority at which others translate sources (NF_IP_PRI_NAT_SRC).
pub(super) const SOURCE_PRIORITY: i32 = 100;

/// A chain with its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chain {
    Called { name: &'static str, rules: Vec<Rule<Verdict>> },
    Filter(FilterChain),
    Destination { name: &'static str, rules: Vec<Rule<DestinationNat>> },
    Source { name: &'static str, rules: Vec<Rule<SourceNat>> },
    Masquerading { name: &'static str, rules: Vec<Rule<Masquerade>> },
}

impl Chain {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Filter(FilterChain { name, .. })
            | Self::Called { name, .. }
            | Self::Destination { name, .. }
            | Self::Source { name, .. }
            | Self::Masquerading { name, .. } => name,
        }
    }
}

/// A table of family `inet` as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub(super) name: &'static str,
    pub(super) chains: Vec<Chain>,
}

impl Table {
    /// One without chains.
    pub fn new(name: &'static str) -> Self {
        Self { name, chains: Vec::new() }
    }

    /// Adds a chain that only rules of this table enter. They come later, so no packet runs in circles.
    pub fn called(&mut self, name: &'static str, rules: Vec<Rule<Verdict>>) -> CalledChain {
        self.chains.push(Chain::Called { name, rules });
        CalledChain(name)
    }

    /// Adds a filter.
    pub fn filter(&mut self, chain: FilterChain) {
        self.chains.push(Chain::Filter(chain));
    }

    /// Adds a chain that changes where connections from outside lead (hook prerouting, the usual priority).
    pub fn translate_destinations(&mut self, name: &'static str, rules: Vec<Rule<DestinationNat>>) {
        self.chains.push(Chain::Destination { name, rules });
    }

    /// Adds a chain that changes from where connections to this machine seem to come (hook input, the usual priority).
    pub fn translate_sources(&mut self, name: &'static str, rules: Vec<Rule<SourceNat>>) {
        self.chains.push(Chain::Source { name, rules });
    }

    /// Adds a chain that lets what leaves carry this machine's address (hook postrouting, the usual priority).
    pub fn masquerade(&mut self, name: &'static str, rules: Vec<Rule<Masquerade>>) {
        self.chains.push(Chain::Masquerading { name, rules });
    }
}
