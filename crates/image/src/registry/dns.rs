//! Addresses of names, without the C library: this program is static, and glibc would load the system's resolver modules
//! into it. `/etc/hosts` and `/etc/resolv.conf` are obeyed; `/etc/nsswitch.conf` is not.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use reqwest::dns::{Addrs, Name as Asked, Resolve, Resolving};
use resolv_conf::Config;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLV_CONF_BYTES_MAX: u64 = 64 << 10;

/// A name without an address. Its cause is part of its text: whoever shows errors shows the innermost.
#[derive(Debug, thiserror::Error)]
#[error("the name {name} can't be resolved: {why}")]
struct Unknown {
    name: String,
    why: String,
}

/// Made at the first question.
#[derive(Default)]
pub(crate) struct SystemResolver {
    resolver: Arc<OnceLock<TokioResolver>>,
}

impl Resolve for SystemResolver {
    fn resolve(&self, asked: Asked) -> Resolving {
        let shared = Arc::clone(&self.resolver);
        Box::pin(async move {
            let resolver = match shared.get() {
                Some(resolver) => resolver,
                None => {
                    let made = make(&read(Path::new(RESOLV_CONF)))?;
                    shared.get_or_init(|| made)
                }
            };
            let found = resolver.lookup_ip(asked.as_str()).await.map_err(|error| {
                let is_unknown = error.is_no_records_found();
                let why = if is_unknown { "there is no such name".to_owned() } else { error.to_string() };
                Unknown { name: asked.as_str().to_owned(), why }
            })?;
            let addresses: Vec<SocketAddr> =
                found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// What can't be read or understood says nothing: then the defaults hold.
fn read(path: &Path) -> Config {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(RESOLV_CONF_BYTES_MAX).read_to_end(&mut text));
    if let Err(error) = read {
        tracing::debug!(%error, path = %path.display(), "no resolver configuration");
    }
    Config::parse_with_errors(&text).0
}

/// As resolv.conf(5) has it: without a name server there, the one of this machine is asked, and nobody else's.
fn make(config: &Config) -> Result<TokioResolver, NetError> {
    let (servers, options) = (servers(config), options(config));
    let search = config.get_last_search_or_domain().filter_map(|domain| Name::from_str_relaxed(domain).ok());
    let servers = servers.into_iter().map(NameServerConfig::udp_and_tcp).collect();
    let config = ResolverConfig::from_parts(None, search.collect(), servers);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}

fn servers(config: &Config) -> Vec<IpAddr> {
    let named: Vec<IpAddr> = config.nameservers.iter().map(IpAddr::from).collect();
    if named.is_empty() { vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] } else { named }
}

fn options(config: &Config) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.ndots = config.ndots as usize;
    options.timeout = Duration::from_secs(u64::from(config.timeout));
    options.attempts = config.attempts as usize;
    options.edns0 = config.edns0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_s_configuration_is_obeyed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let nothing = read(&path);
        assert_eq!(servers(&nothing), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let text = "# comment\nnameserver 192.0.2.1\nnameserver fe80::1%1\nnonsense\nsearch corp.example -- lan\n\
            options ndots:3 timeout:1 attempts:4\n";
        std::fs::write(&path, text).unwrap();
        let config = read(&path);
        assert_eq!(servers(&config), ["192.0.2.1".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
        let options = options(&config);
        assert_eq!((options.ndots, options.timeout, options.attempts), (3, Duration::from_secs(1), 4));
        assert!(make(&config).is_ok() && make(&nothing).is_ok());
    }
}
