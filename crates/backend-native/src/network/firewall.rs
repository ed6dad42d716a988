//! The host's side that all boxes share: rules and forwarding. Verified before every box, installed when missing or
//! changed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkernel_sys::netlink::{self, BaseChain, LinkAnswer, Protocol, RouteAnswer, Socket};

use super::forwarding::{self, Ipv6Forwarding};
use super::install_record::{InstallRecord, RecordPlace};
use super::range::Range;
use super::rules::{HOOK_FORWARD, HOOK_INPUT, INTERFACE_PREFIX, MARK, Rules, TABLE};
use super::{NetworkError, program};

/// How long `nft` may take; it needs milliseconds.
const NFT_LIMIT: Duration = Duration::from_secs(20);
/// An address that stands for the Internet when the kernel is asked for the way there.
const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 0, 0, 1));
/// RT_TABLE_MAIN.
const MAIN_TABLE: u32 = 254;
/// RTN_UNICAST.
const UNICAST: u8 = 1;

/// The rules of this machine.
#[derive(Debug, Clone)]
pub(super) struct Firewall {
    /// The `nft` program.
    pub(super) nft: PathBuf,
    /// Where records are kept.
    pub(super) folder: PathBuf,
    /// The host's resolver, where boxes ask for it.
    pub(super) resolver: Option<Ipv4Addr>,
}

/// What a box can count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready {
    /// The boxes' addresses.
    pub(super) range: Range,
    /// Whether they get IPv6 too.
    pub(super) ipv6: bool,
}

/// What is read of the kernel before each box.
struct Seen {
    router_ipv4: bool,
    ipv6: Ipv6Forwarding,
}

impl Firewall {
    /// Makes sure that everything is in force. Some tenths of a millisecond when it is.
    pub(super) fn ensure(&self, routes: &mut Socket) -> Result<Ready, NetworkError> {
        let place = RecordPlace::of_this_namespace(&self.folder)?;
        let mut filter = Socket::open(Protocol::Netfilter).map_err(NetworkError::kernel("open nftables"))?;
        if let Some(ready) = self.verify(&place, routes, &mut filter)? {
            return Ok(ready);
        }
        let _held_until_the_end = place.lock()?;
        // Somebody else may have installed while this waited.
        match self.verify(&place, routes, &mut filter)? {
            Some(ready) => Ok(ready),
            None => self.install(&place, routes, &mut filter),
        }
    }

    fn see(&self) -> Result<Seen, NetworkError> {
        Ok(Seen { router_ipv4: forwarding::is_router_ipv4()?, ipv6: forwarding::ipv6()? })
    }

    /// None when something is missing, or not as this process would have it.
    fn verify(
        &self,
        place: &RecordPlace,
        routes: &mut Socket,
        filter: &mut Socket,
    ) -> Result<Option<Ready>, NetworkError> {
        let Some(record) = place.read() else { return Ok(None) };
        let seen = self.see()?;
        let ipv6 = match seen.ipv6 {
            Ipv6Forwarding::Absent => false,
            Ipv6Forwarding::OnByUs if record.guarded_ipv6 => true,
            Ipv6Forwarding::OnByOthers if !record.guarded_ipv6 => true,
            _ => return Ok(None),
        };
        let uplink = netlink::route_to(routes, SOMEWHERE).map_err(NetworkError::kernel("look up a route"))?;
        let rules = self.rules(&record, ipv6);
        let expected = record.router_ipv4 == seen.router_ipv4
            && uplink.is_none_or(|uplink| record.uplinks.contains(&uplink.0))
            && record.script == digest(&rules.script());
        if !expected || content(filter)? != record.content {
            return Ok(None);
        }
        for name in &record.guarded_ipv4 {
            if !forwarding::forwards_ipv4(name)? {
                return Ok(None);
            }
        }
        let generation = netlink::ruleset_generation(filter)
            .map_err(NetworkError::kernel("read the rules' generation"))?;
        if generation != record.generation {
            if !self.closed_chains(filter)?.is_empty() {
                return Ok(None);
            }
            place.write(&InstallRecord { generation, ..record.clone() })?;
        }
        Ok(Some(Ready { range: record.range, ipv6 }))
    }

    /// Installs all of it. What we are about to change is on record before it is changed, and the guarding rules are in
    /// force before anything is forwarded: a process killed in between leaves no open router.
    fn install(
        &self,
        place: &RecordPlace,
        routes: &mut Socket,
        filter: &mut Socket,
    ) -> Result<Ready, NetworkError> {
        let before = place.read();
        let seen = self.see()?;
        let table = netlink::list_routes(routes).map_err(NetworkError::kernel("list routes"))?;
        let links = netlink::list_links(routes).map_err(NetworkError::kernel("list interfaces"))?;
        let live = links.iter().any(|link| link.name.starts_with(INTERFACE_PREFIX));
        let uplinks = uplinks(links, &table);
        let mut guarded_ipv4 = Vec::new();
        for (_, name) in &uplinks {
            let ours = before
                .as_ref()
                .is_some_and(|b| b.guarded_ipv4.contains(name) && b.router_ipv4 == seen.router_ipv4);
            if ours || !forwarding::forwards_ipv4(name)? {
                guarded_ipv4.push(name.clone());
            }
        }
        let mut record = InstallRecord {
            range: Range::choose(&table, before.as_ref().map(|before| before.range), live)?,
            resolver: self.resolver.or(before.and_then(|before| before.resolver)),
            script: 0,
            content: 0,
            generation: 0,
            uplinks: uplinks.iter().map(|(index, _)| *index).collect(),
            guarded_ipv4,
            router_ipv4: seen.router_ipv4,
            guarded_ipv6: matches!(seen.ipv6, Ipv6Forwarding::Off | Ipv6Forwarding::OnByUs),
        };
        let ipv6 = seen.ipv6 != Ipv6Forwarding::Absent;
        place.write(&record)?;
        let script = self.rules(&record, ipv6).script();
        self.run_nft(&script)?;
        self.open_closed_chains(&record, ipv6, filter)?;
        for name in &record.guarded_ipv4 {
            forwarding::forward_ipv4(name)?;
        }
        if seen.ipv6 == Ipv6Forwarding::Off {
            forwarding::forward_ipv6()?;
        }
        record.script = digest(&script);
        record.content = content(filter)?;
        if record.content == 0 {
            return Err(NetworkError::RulesVanished { table: TABLE });
        }
        record.generation = netlink::ruleset_generation(filter)
            .map_err(NetworkError::kernel("read the rules' generation"))?;
        place.write(&record)?;
        tracing::debug!(range = %record.range, ipv6, guarded = ?record.guarded_ipv4, "network rules installed");
        Ok(Ready { range: record.range, ipv6 })
    }

    fn rules(&self, record: &InstallRecord, ipv6: bool) -> Rules {
        Rules {
            range: record.range,
            ipv6,
            resolver: self.resolver.or(record.resolver),
            guarded_ipv4: record.guarded_ipv4.clone(),
            guarded_ipv6: record.guarded_ipv6,
        }
    }

    fn run_nft(&self, script: &str) -> Result<(), NetworkError> {
        program::run(&self.nft, &["-f", "-"], script.as_bytes(), "install the sandboxes' rules", NFT_LIMIT)
    }

    /// Foreign chains that would drop our packets and don't know us yet.
    fn closed_chains(&self, filter: &mut Socket) -> Result<Vec<BaseChain>, NetworkError> {
        let fail = "read the firewall's chains";
        let mut closed = netlink::base_chains(filter).map_err(NetworkError::kernel(fail))?;
        closed.retain(|chain| {
            let hook = chain.hook == HOOK_FORWARD || (chain.hook == HOOK_INPUT && self.resolver.is_some());
            // Names go into a script: one that is no plain word is left alone.
            chain.drops
                && hook
                && [1, 2, 10].contains(&chain.family)
                && is_word(&chain.table)
                && is_word(&chain.name)
        });
        let mut unknown = Vec::new();
        for chain in closed {
            if !netlink::chain_mentions(filter, &chain, MARK).map_err(NetworkError::kernel(fail))? {
                unknown.push(chain);
            }
        }
        Ok(unknown)
    }

    fn open_closed_chains(
        &self,
        record: &InstallRecord,
        ipv6: bool,
        filter: &mut Socket,
    ) -> Result<(), NetworkError> {
        let closed = self.closed_chains(filter)?;
        match closed.is_empty() {
            true => Ok(()),
            false => self.run_nft(&self.rules(record, ipv6).openings(&closed)),
        }
    }
}

/// Whether `nft` can read it as a name without quotes.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Number and name of each interface through which the main table leads to other machines, boxes excepted.
fn uplinks(links: Vec<LinkAnswer>, routes: &[RouteAnswer]) -> Vec<(u32, String)> {
    let leads_out = |index| {
        routes.iter().any(|route| {
            route.table == MAIN_TABLE
                && route.kind == UNICAST
                && route.target.address.is_ipv4()
                && route.interfaces.contains(&index)
        })
    };
    links
        .into_iter()
        .filter(|link| !link.name.starts_with(INTERFACE_PREFIX) && link.name != "lo" && leads_out(link.index))
        // The kernel allows quotes and stars in names: what could mean something to `nft` is left out, and so not
        // forwarded.
        .filter(|link| link.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c)))
        .map(|link| (link.index.0, link.name))
        .collect()
}

/// Digest of what the kernel holds of our table; 0 when it holds none.
fn content(filter: &mut Socket) -> Result<u64, NetworkError> {
    let content =
        netlink::table_content(filter, TABLE).map_err(NetworkError::kernel("read the sandboxes' rules"))?;
    Ok(content.map_or(0, |content| digest(&content).max(1)))
}

/// Not against forgery: whoever can change the rules can change the record.
fn digest(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Whether `nft` is here.
pub(super) fn find_nft() -> Option<PathBuf> {
    program::find("nft")
}

/// Where root's records are.
pub(super) fn default_folder() -> &'static Path {
    Path::new("/run/agentkernel")
}
