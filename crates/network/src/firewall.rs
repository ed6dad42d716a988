//! The host's side that all boxes share: rules and forwarding. Verified before every box, installed when missing or
//! changed.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use agentkernel_sys::netlink::nftables::{Batch, Family, InterfaceName};
use agentkernel_sys::netlink::{
    self, BaseChain, LinkAnswer, NetlinkError, Protocol, Refusal, RouteAnswer, Socket,
};
use rustix::io::Errno;

use super::NetworkError;
use super::forwarding::{self, Ipv6Forwarding};
use super::install_record::{InstallRecord, RecordPlace};
use super::range::Range;
use super::rules::{self, HOOK_FORWARD, HOOK_INPUT, INTERFACE_PREFIX, MARK, Rules, TABLE};

/// An address that stands for the Internet when the kernel is asked for the way there.
const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 0, 0, 1));
/// RT_TABLE_MAIN.
const MAIN_TABLE: u32 = 254;
/// RTN_UNICAST.
const UNICAST: u8 = 1;

/// The rules of this machine.
#[derive(Debug, Clone)]
pub(super) struct Firewall {
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
        let held = place.lock()?;
        // Somebody else may have installed while this waited.
        match self.verify(&place, routes, &mut filter)? {
            Some(ready) => Ok(ready),
            None => self.install(&place, &held, routes, &mut filter),
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
            && record.script == digest(&rules.table().to_string());
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
            // It spares the next who looks; whoever holds the lock writes it all the same.
            if let Some(held) = place.try_lock()? {
                place.write(&held, &InstallRecord { generation, ..record.clone() })?;
            }
        }
        Ok(Some(Ready { range: record.range, ipv6 }))
    }

    /// Installs all of it. What we are about to change is on record before it is changed, and the guarding rules are in
    /// force before anything is forwarded: a process killed in between leaves no open router.
    fn install(
        &self,
        place: &RecordPlace,
        held: &File,
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
        place.write(held, &record)?;
        let rules = self.rules(&record, ipv6).table();
        commit(filter, &Batch::new().replace_table(&rules))?;
        self.open_closed_chains(filter)?;
        for name in &record.guarded_ipv4 {
            forwarding::forward_ipv4(name)?;
        }
        if seen.ipv6 == Ipv6Forwarding::Off {
            forwarding::forward_ipv6()?;
        }
        record.script = digest(&rules.to_string());
        record.content = content(filter)?;
        if record.content == 0 {
            return Err(NetworkError::RulesVanished { table: TABLE });
        }
        record.generation = netlink::ruleset_generation(filter)
            .map_err(NetworkError::kernel("read the rules' generation"))?;
        place.write(held, &record)?;
        tracing::debug!(range = %record.range, ipv6, guarded = ?record.guarded_ipv4, "network rules installed");
        Ok(Ready { range: record.range, ipv6 })
    }

    fn rules(&self, record: &InstallRecord, ipv6: bool) -> Rules {
        Rules {
            range: record.range,
            ipv6,
            resolver: self.resolver.or(record.resolver),
            guarded_ipv4: record.guarded_ipv4.iter().filter_map(|name| InterfaceName::new(name)).collect(),
            guarded_ipv6: record.guarded_ipv6,
        }
    }

    /// Foreign chains that would drop our packets and don't know us yet.
    fn closed_chains(&self, filter: &mut Socket) -> Result<Vec<BaseChain>, NetworkError> {
        let fail = "read the firewall's chains";
        let mut closed = netlink::base_chains(filter).map_err(NetworkError::kernel(fail))?;
        closed.retain(|chain| {
            let hook = chain.hook == HOOK_FORWARD || (chain.hook == HOOK_INPUT && self.resolver.is_some());
            chain.drops && hook && Family::from_number(chain.family).is_some()
        });
        let mut unknown = Vec::new();
        for chain in closed {
            if !netlink::chain_mentions(filter, &chain, MARK).map_err(NetworkError::kernel(fail))? {
                unknown.push(chain);
            }
        }
        Ok(unknown)
    }

    fn open_closed_chains(&self, filter: &mut Socket) -> Result<(), NetworkError> {
        let closed = self.closed_chains(filter)?;
        commit(filter, &rules::openings(&closed))
    }
}

fn commit(filter: &mut Socket, batch: &Batch) -> Result<(), NetworkError> {
    filter.commit(batch).map_err(|source| NetworkError::Rules { source })
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
        // What no rule could name would not be guarded, so nothing from there is forwarded.
        .filter(|link| InterfaceName::new(&link.name).is_some())
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

/// Asks nftables for its state, whereupon the kernel loads it where it is a module; else why not and what mends it.
pub(super) fn problem() -> Option<String> {
    let asked =
        Socket::open(Protocol::Netfilter).and_then(|mut filter| netlink::ruleset_generation(&mut filter));
    let why = match asked.err()? {
        NetlinkError::Refused(Refusal { source: Errno::PERM, .. }) => {
            return Some("root may not change this machine's nftables rules here, as in a container: give it CAP_NET_ADMIN, \
                         or use `--no-network`"
                .to_owned());
        }
        NetlinkError::Open { source, .. }
        | NetlinkError::Refused(Refusal { source, .. })
        | NetlinkError::Transport { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    Some(format!(
        "the kernel's nftables, which keep a sandbox away from the host, don't answer ({why}): load the module \
         (`modprobe nf_tables`), use a kernel that has it (CONFIG_NF_TABLES), or use `--no-network`"
    ))
}

/// Where root's records are.
pub(super) fn default_folder() -> &'static Path {
    Path::new("/run/agentkernel")
}

#[cfg(test)]
mod tests {
    use rustix::thread::{CapabilitySet, CapabilitySets};

    use super::*;

    #[test]
    fn without_the_right_the_fix_is_named() {
        let problem = std::thread::spawn(|| {
            let none = CapabilitySet::empty();
            let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
            rustix::thread::set_capabilities(None, none).unwrap();
            problem()
        });
        let problem = problem.join().unwrap().unwrap();
        assert!(problem.contains("CAP_NET_ADMIN") && problem.contains("--no-network"), "{problem}");
    }
}
