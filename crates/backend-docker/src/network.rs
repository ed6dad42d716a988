//! The network of boxes that have one: a bridge of ours, and in each box's own namespace a filter that keeps it from the
//! host, from other containers, and from what no box may reach.

use std::collections::HashMap;
use std::net::IpAddr;

use agentkernel_backend::BackendError;
use agentkernel_sys::netlink::{
    ContainerEgress, Protocol, RouteTarget, Socket, container_egress, list_addresses,
};
use bollard::errors::Error;
use bollard::models::{Network, NetworkCreateRequest};

use crate::EngineKind;
use crate::connection::Connected;
use crate::facts::Facts;
use crate::failure::{failed, status, unless_missing, words};

/// The network's name in the engine.
pub(crate) const NAME: &str = "agentkernel";

/// What marks it as ours.
const LABEL: &str = "agentkernel.network";

/// The network that rootless engines put around all of theirs: by its first address the host is reached, the third is a
/// resolver (slirp4netns(1)).
const SLIRP: [u8; 4] = [10, 0, 2, 0];
const SLIRP_RESOLVER: [u8; 4] = [10, 0, 2, 3];

/// Whether `error` says that our network isn't there yet, or is there twice.
pub(crate) fn is_missing(error: &Error) -> bool {
    let words = words(error).to_lowercase();
    let no_one = words.contains("not found") || words.contains("is ambiguous");
    matches!(status(error), Some(400 | 404 | 500)) && words.contains("network") && no_one
}

/// Makes our network; fine if it is there.
pub(crate) async fn create(engine: &Connected) -> Result<(), BackendError> {
    if list(engine).await?.iter().any(|network| is_named(&network)) {
        return remove_twins(engine).await;
    }
    let request = NetworkCreateRequest {
        name: NAME.to_owned(),
        driver: Some("bridge".to_owned()),
        options: Some(options(engine.facts.kind)),
        labels: Some(HashMap::from([(LABEL.to_owned(), "1".to_owned())])),
        ..NetworkCreateRequest::default()
    };
    match engine.docker.create_network(request).await {
        Ok(_) => remove_twins(engine).await,
        // Another process was faster.
        Err(error) if status(&error) == Some(409) || words(&error).contains("already") => Ok(()),
        Err(error) => Err(failed("make the network of sandboxes")(error)),
    }
}

/// Older Dockers let two processes make two networks of one name at the same moment, and then take neither for it. All
/// processes keep the same one.
async fn remove_twins(engine: &Connected) -> Result<(), BackendError> {
    let networks = list(engine).await?;
    let mut twins: Vec<&Network> = networks.iter().filter(is_named).filter(|it| is_ours(it)).collect();
    // The oldest, which a box may be on already.
    twins.sort_unstable_by_key(|network| (network.created.as_ref().map(ToString::to_string), &network.id));
    for id in twins.iter().skip(1).filter_map(|network| network.id.as_deref()) {
        let removed = engine.docker.remove_network(id).await;
        unless_missing(removed).map_err(failed("remove a network that was made twice"))?;
    }
    Ok(())
}

async fn list(engine: &Connected) -> Result<Vec<Network>, BackendError> {
    engine.docker.list_networks(None).await.map_err(failed("list the engine's networks"))
}

fn is_named(network: &&Network) -> bool {
    network.name.as_deref() == Some(NAME)
}

fn is_ours(network: &Network) -> bool {
    network.labels.as_ref().is_some_and(|it| it.contains_key(LABEL))
}

/// Docker can keep the containers of a network apart by itself; everywhere the filter does.
fn options(kind: EngineKind) -> HashMap<String, String> {
    match kind {
        EngineKind::Docker => {
            HashMap::from([("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned())])
        }
        EngineKind::Podman => HashMap::new(),
    }
}

/// The filter for a box, by what the engine and this machine have at this moment; `None` while our network isn't there:
/// without its addresses the gateway, which is the host, would stay open.
pub(crate) async fn filter(engine: &Connected) -> Result<Option<Vec<u8>>, BackendError> {
    let networks = list(engine).await?;
    let Some(ours) = networks.iter().find(is_named) else { return Ok(None) };
    if !is_ours(ours) {
        return Err(BackendError::Unavailable {
            backend: engine.facts.kind.name().to_owned(),
            why: format!("the engine has a network {NAME:?} that agentkernel didn't make"),
            fix: format!("remove it with `{} network rm {NAME}`", engine.facts.kind.name()),
        });
    }
    let host =
        host_addresses().map_err(|source| BackendError::runtime("list this machine's addresses", source))?;
    let refused = refused(&networks, &host, &engine.facts);
    let resolvers = resolvers(Some(ours), &engine.facts);
    Ok(Some(container_egress(&ContainerEgress { resolvers: &resolvers, refused: &refused })))
}

fn host_addresses() -> Result<Vec<IpAddr>, agentkernel_sys::netlink::NetlinkError> {
    let mut socket = Socket::open(Protocol::Route)?;
    let all = list_addresses(&mut socket)?.into_iter().map(|answer| answer.address);
    Ok(all.filter(|address| !address.is_loopback()).collect())
}

/// Every address of the host, and every network of the engine's: other containers and the host's gateways are there.
fn refused(networks: &[Network], host: &[IpAddr], facts: &Facts) -> Vec<RouteTarget> {
    let configurations =
        networks.iter().filter_map(|network| network.ipam.as_ref()?.config.as_ref()).flatten();
    let mut targets: Vec<RouteTarget> =
        configurations.filter_map(|config| parse_subnet(config.subnet.as_deref()?)).collect();
    if facts.rootless {
        targets.push(RouteTarget { address: IpAddr::from(SLIRP), prefix: 24 });
    }
    for address in host {
        let single = RouteTarget::single(*address);
        if !targets.iter().any(|target| target.prefix <= single.prefix && target.overlaps(&single)) {
            targets.push(single);
        }
    }
    targets
}

fn parse_subnet(text: &str) -> Option<RouteTarget> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= most)?;
    Some(RouteTarget { address, prefix })
}

/// Who may be asked for names: the host's own servers, which Docker's resolver asks from inside the box, and Podman's
/// resolver, which listens on the gateway.
fn resolvers(ours: Option<&Network>, facts: &Facts) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| nameservers(&text))
        .collect();
    if facts.kind == EngineKind::Podman {
        let configurations =
            ours.and_then(|network| network.ipam.as_ref()?.config.clone()).unwrap_or_default();
        found.extend(
            configurations.iter().filter_map(|config| config.gateway.as_deref()?.parse::<IpAddr>().ok()),
        );
    }
    if facts.rootless {
        found.push(IpAddr::from(SLIRP_RESOLVER));
    }
    found.retain(|address| !address.is_loopback() && !address.is_unspecified());
    found.sort_unstable();
    found.dedup();
    found
}

/// The servers of a resolv.conf(5), without zones.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.filter_map(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use bollard::models::{Ipam, IpamConfig};

    use super::*;

    fn network(name: &str, subnet: &str, gateway: &str) -> Network {
        let config = IpamConfig {
            subnet: Some(subnet.to_owned()),
            gateway: Some(gateway.to_owned()),
            ..IpamConfig::default()
        };
        let ipam = Ipam { config: Some(vec![config]), ..Ipam::default() };
        Network { name: Some(name.to_owned()), ipam: Some(ipam), ..Network::default() }
    }

    fn covers(targets: &[RouteTarget], address: &str) -> bool {
        let single = RouteTarget::single(address.parse().unwrap());
        targets.iter().any(|target| target.overlaps(&single))
    }

    #[test]
    fn the_host_and_other_containers_are_refused() {
        let networks =
            [network("bridge", "172.17.0.0/16", "172.17.0.1"), network(NAME, "172.18.0.0/16", "172.18.0.1")];
        let host: Vec<IpAddr> = ["192.168.1.5", "172.17.0.1", "fd00::5"].map(|it| it.parse().unwrap()).into();
        let found = refused(&networks, &host, &Facts::for_tests(EngineKind::Docker));
        for address in ["172.17.0.1", "172.17.3.4", "172.18.0.1", "192.168.1.5", "fd00::5"] {
            assert!(covers(&found, address), "{address}");
        }
        for address in ["192.168.1.1", "1.1.1.1", "10.0.2.2", "fd00::6"] {
            assert!(!covers(&found, address), "{address}");
        }
        assert_eq!(found.len(), 4, "what a network covers isn't listed once more: {found:?}");
        let rootless = Facts { rootless: true, ..Facts::for_tests(EngineKind::Docker) };
        assert!(covers(&refused(&networks, &host, &rootless), "10.0.2.2"));
    }

    #[test]
    fn subnets_that_are_none_are_left_out() {
        for bad in ["", "x", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "::/129"] {
            assert!(parse_subnet(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn podmans_resolver_is_its_gateway() {
        let ours = network(NAME, "10.89.0.0/24", "10.89.0.1");
        let found = resolvers(Some(&ours), &Facts::for_tests(EngineKind::Podman));
        assert!(found.contains(&"10.89.0.1".parse().unwrap()), "{found:?}");
        assert_eq!(
            nameservers("# x\nnameserver 1.1.1.1\n nameserver fe80::1%eth0\nnameserver ::1 \nsearch x\n"),
            ["1.1.1.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]
        );
    }

    #[test]
    fn a_missing_network_is_told_from_other_failures() {
        let answer = |status_code, message: &str| Error::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        };
        assert!(is_missing(&answer(404, "network agentkernel not found")));
        assert!(is_missing(&answer(
            500,
            "unable to find network with name or ID agentkernel: network not found"
        )));
        assert!(is_missing(&answer(400, "network agentkernel is ambiguous (2 matches found on name)")));
        assert!(!is_missing(&answer(404, "no such image: network")));
        assert!(!is_missing(&answer(409, "network not found")));
    }
}
