//! The HTTP client of one pull, and one request with all that belongs to it: credentials, redirects, the status.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy, Response, StatusCode};
use tokio::sync::Mutex;

use crate::registry::answer::said;
use crate::registry::authorization::Authorization;
use crate::registry::credential::Credentials;
use crate::registry::dns::SystemResolver;
use crate::registry::endpoint::Endpoint;
use crate::registry::failure::Failure;
use crate::registry::{redirect, tls};
use crate::{ImageError, RegistrySettings};

const USER_AGENT: &str = concat!("agentkernel/", env!("CARGO_PKG_VERSION"));
/// Never reached through a proxy, whatever is set: a proxy's loopback is another one.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// One server of a pull and what is known of it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    authorization: Mutex<Authorization>,
    is_known: AtomicBool,
}

impl Server {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, authorization: Mutex::default(), is_known: AtomicBool::new(false) }
    }

    /// Whether it ever answered.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Gets `rest` of the repository. An answer with success, or why there is none.
    pub(crate) async fn get(
        &self,
        http: &Client,
        credentials: &Credentials,
        rest: &str,
        mut headers: HeaderMap,
    ) -> Result<Response, Failure> {
        let endpoint = &self.endpoint;
        let url = endpoint.url(rest)?;
        // What is compressed on the way would not be what its digest says.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let shown = self.authorization.lock().await.header(http, endpoint).await?;
        let mut response = redirect::get(http, endpoint, url.clone(), &headers, shown.clone()).await?;
        self.is_known.store(true, Ordering::Relaxed);
        if response.status() == StatusCode::UNAUTHORIZED {
            let mut authorization = self.authorization.lock().await;
            let again =
                authorization.answer(http, endpoint, credentials, response.headers(), shown.as_ref()).await?;
            drop(authorization);
            response = redirect::get(http, endpoint, url, &headers, Some(again)).await?;
        }
        if response.status().is_success() {
            return Ok(response);
        }
        match said(response, endpoint, rest).await {
            Failure::Denied { why, .. } => Err(self.authorization.lock().await.denied(why)),
            other => Err(other),
        }
    }
}

/// A client as `settings` say.
pub(crate) fn client(settings: &RegistrySettings) -> Result<Client, ImageError> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls::client_config(settings)?)
        .dns_resolver(SystemResolver::default())
        .redirect(Policy::none())
        .connect_timeout(settings.patience.connect)
        .read_timeout(settings.patience.idle)
        .user_agent(USER_AGENT)
        // Forgets those of the environment, which this crate must not read.
        .no_proxy();
    let proxies = &settings.proxies;
    for (setting, value, make) in [
        ("http_proxy", &proxies.http, Proxy::http as fn(String) -> reqwest::Result<Proxy>),
        ("https_proxy", &proxies.https, Proxy::https),
    ] {
        let Some(value) = value.as_ref().filter(|value| !value.is_empty()) else { continue };
        let refused = |why: String| ImageError::Setting { setting, value: without_login(value), why };
        let proxy = make(value.clone()).map_err(|_| refused("it is no address of a proxy".to_owned()))?;
        if !is_http(value) {
            return Err(refused("only proxies of kind http:// and https:// are known".to_owned()));
        }
        builder =
            builder.proxy(proxy.no_proxy(NoProxy::from_string(&direct_hosts(proxies.no_proxy.as_deref()))));
    }
    builder.build().map_err(|error| ImageError::Setting {
        setting: "proxy, platform or TLS",
        value: String::new(),
        why: error.without_url().to_string(),
    })
}

/// As curl has it, a proxy without a scheme is an HTTP one.
fn is_http(proxy: &str) -> bool {
    proxy
        .split_once("://")
        .is_none_or(|(scheme, _)| matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https"))
}

fn without_login(proxy: &str) -> String {
    match proxy.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => proxy.to_owned(),
    }
}

/// `no_proxy` in the library's form, which knows no `*.` and no ports: a host with a port is direct on all of them.
fn direct_hosts(no_proxy: Option<&str>) -> String {
    let entries =
        no_proxy.unwrap_or_default().split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
    let entries = entries.map(|entry| {
        let entry = entry.strip_prefix("*.").unwrap_or(entry);
        match entry.split_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => entry,
        }
    });
    entries.chain([LOOPBACK]).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Proxies;

    #[test]
    fn hosts_that_need_no_proxy_are_given_as_the_library_reads_them() {
        assert_eq!(direct_hosts(None), LOOPBACK);
        let given = "*.corp.example, reg.io:5000 10.0.0.0/8,::2,*";
        assert_eq!(direct_hosts(Some(given)), format!("corp.example,reg.io,10.0.0.0/8,::2,*,{LOOPBACK}"));
    }

    #[test]
    fn a_proxy_that_can_not_be_used_is_refused_without_its_password() {
        for bad in ["socks5://u:geheim@p:1080", "http://u:geheim@", "ftp://u:geheim@p"] {
            let proxies = Proxies { https: Some(bad.to_owned()), ..Proxies::default() };
            let error =
                client(&RegistrySettings { proxies, ..RegistrySettings::default() }).unwrap_err().to_string();
            assert!(error.contains("https_proxy") && !error.contains("geheim"), "{error}");
        }
        let proxies = Proxies { http: Some("proxy:3128".to_owned()), ..Proxies::default() };
        assert!(client(&RegistrySettings { proxies, ..RegistrySettings::default() }).is_ok());
    }
}
