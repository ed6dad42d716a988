//! Ports of a box that are reachable from the host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A TCP port of the box, reachable on an address of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishedPort {
    /// The host's address that listens; loopback unless the user names another.
    pub address: IpAddr,
    /// The host's port; 0 lets the host choose.
    pub host: u16,
    /// The port inside the box.
    pub inside: u16,
}

/// Why a text is not a published port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "port {text:?} is not of the form PORT, HOST:BOX or ADDRESS:HOST:BOX with ports up to 65535 (TCP only)"
)]
pub struct PortError {
    text: String,
}

impl FromStr for PublishedPort {
    type Err = PortError;
    fn from_str(text: &str) -> Result<Self, PortError> {
        let error = || PortError { text: text.to_owned() };
        let plain = text.strip_suffix("/tcp").unwrap_or(text);
        let (rest, inside) = match plain.rsplit_once(':') {
            Some((rest, inside)) => (Some(rest), inside),
            None => (None, plain),
        };
        let inside = inside.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(error)?;
        let (address, host) = match rest {
            None => (None, inside),
            Some(rest) => match rest.rsplit_once(':') {
                None => (None, rest.parse().map_err(|_| error())?),
                Some((address, host)) => {
                    let address = address.trim_start_matches('[').trim_end_matches(']');
                    (Some(address.parse().map_err(|_| error())?), host.parse().map_err(|_| error())?)
                }
            },
        };
        Ok(Self { address: address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), host, inside })
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", std::net::SocketAddr::new(self.address, self.host), self.inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_listen_on_loopback_unless_told() {
        for (text, shown) in [
            ("8080", "127.0.0.1:8080:8080"),
            ("80:8080/tcp", "127.0.0.1:80:8080"),
            ("0:80", "127.0.0.1:0:80"),
            ("0.0.0.0:80:8080", "0.0.0.0:80:8080"),
            ("[::1]:80:8080", "[::1]:80:8080"),
        ] {
            assert_eq!(text.parse::<PublishedPort>().unwrap().to_string(), shown);
        }
        for bad in ["", "0", "a", "1:2:3", "80:", "70000", "80/udp", "80:0"] {
            assert!(bad.parse::<PublishedPort>().is_err(), "{bad}");
        }
    }
}
