//! Where the server is: an address from a URL, or a socket in the file system.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;

use crate::Error;

/// The port of `http:` where none is named (RFC 9110, section 4.2.1).
const HTTP_PORT: u16 = 80;

/// Where connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Door {
    /// A host name or address, without brackets, and a port.
    Tcp(String, u16),
    /// A socket of the same machine.
    Unix(PathBuf),
}

impl fmt::Display for Door {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(out, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(out, "{host}:{port}"),
            Self::Unix(path) => write!(out, "{}", path.display()),
        }
    }
}

/// A door, and what all URLs behind it begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) door: Door,
    /// Scheme, authority and path, without a slash at the end.
    pub(crate) base: String,
}

impl Target {
    /// A socket.
    pub(crate) fn unix(path: PathBuf) -> Self {
        // The name is what the server's guard takes for a request of its own machine.
        Self { door: Door::Unix(path), base: "http://localhost".to_owned() }
    }

    /// `http://HOST[:PORT][/PATH]`.
    pub(crate) fn url(url: &str) -> Result<Self, Error> {
        let wrong = |problem: &str| Error::Setting {
            setting: "base URL",
            value: url.to_owned(),
            problem: problem.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("{error}")))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong(
                    "this client speaks plain http: use the unix socket, or a local proxy for TLS",
                ));
            }
            _ => return Err(wrong("it doesn't begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user or password has no place in it: set the API key"));
        }
        if uri.query().is_some() {
            return Err(wrong("a query has no place in it"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let port = authority.port_u16().unwrap_or(HTTP_PORT);
        let base = format!("http://{authority}{}", uri.path().trim_end_matches('/'));
        Ok(Self { door: Door::Tcp(host.to_owned(), port), base })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, shown, base) in [
            ("http://localhost:18888", "localhost:18888", "http://localhost:18888"),
            ("http://localhost:18888///", "localhost:18888", "http://localhost:18888"),
            ("http://10.0.0.1", "10.0.0.1:80", "http://10.0.0.1"),
            ("http://[::1]:8080/agent/", "[::1]:8080", "http://[::1]:8080/agent"),
        ] {
            let target = Target::url(url).unwrap();
            assert_eq!((target.door.to_string().as_str(), target.base.as_str()), (shown, base), "{url}");
        }
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for url in [
            "",
            "localhost:18888",
            "https://localhost",
            "http://a@b",
            "http://b/?c=d",
            "ftp://a",
            "/x",
            "http://",
        ] {
            assert!(matches!(Target::url(url), Err(Error::Setting { .. })), "{url}");
        }
    }
}
