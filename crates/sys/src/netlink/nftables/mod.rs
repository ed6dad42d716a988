//! Writing nftables rules (nft(8), `linux/netfilter/nf_tables.h`) without the `nft` program: tables and rules as types,
//! their text for people, and their bytes for the kernel, which takes a [`Batch`] as a whole or not at all.
//!
//! What the kernel holds already is read by `super::netfilter`.

mod address_set;
mod attribute;
mod batch;
mod commit;
mod error;
mod expression;
mod interface;
mod rule;
mod set;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use address_set::AddressSet;
pub use batch::Batch;
pub(super) use commit::verdict as batch_verdict;
pub use error::RulesetError;
pub use interface::{Interface, InterfaceName};
pub use rule::{
    DestinationNat, Family, IpVersion, Masquerade, Match, Rule, Sense, SourceNat, TrackedState, Transport,
    Verdict, Way,
};
pub use table::{CalledChain, FilterChain, ForeignChain, Hook, Policy, Table};
