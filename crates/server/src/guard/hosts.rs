//! Which names the server answers to, and which web pages may call it.
//!
//! A web page can make its reader's browser send requests to the reader's own machine, and after a change of its DNS
//! record ("rebinding") even read the answers: for the browser they then come from the page's own host. What it can't do
//! is choose the headers `Host`, `Origin` and `Sec-Fetch-Site`, so these are held against the names that are ours.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, Uri, Version, header};

use super::Door;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A name or origin in the configuration that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}")]
pub struct InvalidHost {
    text: String,
    what: &'static str,
}

/// The names and origins beyond those of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRules {
    hosts: BTreeSet<String>,
    origins: BTreeSet<String>,
}

/// What is wrong with a request's headers.
pub(crate) type Foreign = String;

impl HostRules {
    /// From the configuration: host names or addresses without a port, and origins such as `https://app.example`.
    pub fn new<'a>(
        hosts: impl IntoIterator<Item = &'a str>,
        origins: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidHost> {
        let invalid = |text: &str, what| InvalidHost { text: text.to_owned(), what };
        let host = |text: &'a str| {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            if let Ok(address) = bare.parse::<IpAddr>() {
                return Ok(address.to_canonical().to_string());
            }
            let fine = |letter: u8| letter.is_ascii_alphanumeric() || b"-._".contains(&letter);
            if text.is_empty() || text.len() > 253 || !text.bytes().all(fine) {
                return Err(invalid(text, "host name or address (without a port)"));
            }
            Ok(plain(text))
        };
        let origin = |text: &'a str| {
            let origin = Origin::parse(text.trim_end_matches('/'));
            origin.map(|origin| origin.to_string()).ok_or_else(|| {
                invalid(
                    text,
                    "origin: write scheme and host, such as https://app.example or http://localhost:3000",
                )
            })
        };
        Ok(Self {
            hosts: hosts.into_iter().map(host).collect::<Result<_, _>>()?,
            origins: origins.into_iter().map(origin).collect::<Result<_, _>>()?,
        })
    }

    /// Whether the request may come in. The page that may call us from elsewhere, where it is one.
    pub(crate) fn check(
        &self,
        door: &Door,
        version: Version,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<String>, Foreign> {
        let from_page = headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE);
        // No browser speaks to a unix socket, and its clients name whatever host they like. Behind a forwarder, though, a
        // browser could be.
        let named = matches!(door, Door::Tcp { .. }) || from_page;
        let host = self.host(door, version, uri, headers, named)?;
        if !from_page {
            return Ok(None);
        }
        self.page(door, host.as_ref(), headers)
    }

    fn host(
        &self,
        door: &Door,
        version: Version,
        uri: &Uri,
        headers: &HeaderMap,
        must_be_ours: bool,
    ) -> Result<Option<Authority>, Foreign> {
        let mut values = headers.get_all(header::HOST).iter();
        let value = values.next();
        if values.next().is_some() {
            return Err("the request has two Host headers".to_owned());
        }
        let parsed = match value {
            Some(value) => {
                let text = value.to_str().ok();
                let parsed =
                    text.filter(|text| !text.contains('@')).and_then(|text| text.parse::<Authority>().ok());
                // `localhost:80.evil.example`: what stands behind the colon is no port.
                let parsed = parsed.filter(|parsed| {
                    parsed.as_str().len() == parsed.host().len() || parsed.port_u16().is_some()
                });
                Some(parsed.ok_or_else(|| "the Host header is no host".to_owned())?)
            }
            None => None,
        };
        if !must_be_ours {
            return Ok(parsed);
        }
        // The absolute form names a host as well, and is what counts then (RFC 9112, section 3.2.2).
        for authority in uri.authority().into_iter().chain(&parsed) {
            if !self.is_ours(authority.host(), door) {
                return Err(format!(
                    "host {:?} is not a name of this server; name it with --allowed-host if it is",
                    authority.host()
                ));
            }
        }
        if parsed.is_none() && version >= Version::HTTP_11 {
            return Err("the request has no Host header".to_owned());
        }
        Ok(parsed)
    }

    /// Whether a host's name is this machine's, the address that the client reached, or one that was named to us.
    fn is_ours(&self, host: &str, door: &Door) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            let address = address.to_canonical();
            let reached = match door {
                Door::Tcp { local, .. } => Some(local.ip().to_canonical()),
                Door::Unix { .. } => None,
            };
            return address.is_loopback()
                || Some(address) == reached
                || self.hosts.contains(&address.to_string());
        }
        let name = plain(host);
        name == "localhost" || self.hosts.contains(&name)
    }

    /// The request is a browser's.
    fn page(
        &self,
        door: &Door,
        host: Option<&Authority>,
        headers: &HeaderMap,
    ) -> Result<Option<String>, Foreign> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next();
        if origins.next().is_some() {
            return Err("the request has two Origin headers".to_owned());
        }
        if let Some(origin) = origin {
            let text = origin.to_str().unwrap_or_default();
            let parsed = Origin::parse(text);
            let shown = parsed.as_ref().map(Origin::to_string).unwrap_or_default();
            if self.origins.contains(&shown) {
                return Ok(Some(shown));
            }
            let secure = matches!(door, Door::Tcp { tls: true, .. });
            let own = host.and_then(|host| Origin::of(host, secure));
            if parsed.is_none() || parsed != own {
                return Err(format!(
                    "origin {:?} is foreign; name it with --allowed-origin if its pages may call this server",
                    text.chars().take(100).collect::<String>()
                ));
            }
        }
        let site = headers.get(SEC_FETCH_SITE).map(|site| site.to_str().unwrap_or("?"));
        match site {
            None | Some("same-origin" | "none") => Ok(None),
            Some(_) => Err("a web page of another origin caused this request".to_owned()),
        }
    }
}

/// Whether a browser asks, for a page of another origin, what it may send.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Names are compared without case and without the root's dot.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Scheme, host and port (RFC 6454).
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = authority.parse::<Authority>().ok()?;
        if authority.as_str().contains('@') {
            return None;
        }
        Self::of(&authority, secure)
    }

    fn of(authority: &Authority, secure: bool) -> Option<Self> {
        // A port that is none (`host:`, `host:99999`) is no origin of a browser.
        let written = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if written => return None,
            None => {
                if secure {
                    443
                } else {
                    80
                }
            }
        };
        Some(Self { secure, host: plain(authority.host()), port })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, usual) = if self.secure { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}
