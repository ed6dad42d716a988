//! Addresses of resources: `agentkernel://sandboxes/NAME` and `agentkernel://sandboxes/NAME/files/PATH`.
//!
//! The path is percent-decoded exactly once and is always absolute inside; `.` and `..` are refused in every spelling.

use agentkernel_model::SandboxName;

/// What all of them begin with.
const BEGINNING: &str = "agentkernel://sandboxes/";

/// For who makes addresses by himself (RFC 6570; `+` keeps slashes).
pub(crate) const FILE_TEMPLATE: &str = "agentkernel://sandboxes/{name}/files/{+path}";

/// What an address leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A sandbox.
    Sandbox(SandboxName),
    /// A file of one; absolute.
    File(SandboxName, String),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// Not of our form.
    #[error("{uri:?} is not {BEGINNING}NAME or {BEGINNING}NAME/files/PATH")]
    Form { uri: String },
    /// The name.
    #[error(transparent)]
    Name(#[from] agentkernel_model::NameError),
    /// The path.
    #[error("path {path:?} is refused: {why}")]
    Path { path: String, why: &'static str },
}

impl Address {
    /// Reads one.
    pub(crate) fn parse(uri: &str) -> Result<Self, AddressError> {
        let form = || AddressError::Form { uri: uri.chars().take(200).collect() };
        let rest = uri.strip_prefix(BEGINNING).ok_or_else(form)?;
        let Some((name, rest)) = rest.split_once('/') else {
            return Ok(Self::Sandbox(rest.parse()?));
        };
        let path = rest.strip_prefix("files/").ok_or_else(form)?;
        Ok(Self::File(name.parse()?, decoded_path(path)?))
    }

    /// The address of a file; `path` is absolute.
    pub(crate) fn of_file(name: &str, path: &str) -> String {
        format!("{BEGINNING}{name}/files/{}", encoded(path.trim_start_matches('/')))
    }

    /// The address of a sandbox.
    pub(crate) fn of_sandbox(name: &str) -> String {
        format!("{BEGINNING}{name}")
    }
}

fn decoded_path(text: &str) -> Result<String, AddressError> {
    let refuse = |why| AddressError::Path { path: text.chars().take(200).collect(), why };
    let mut bytes = Vec::with_capacity(text.len() + 1);
    bytes.push(b'/');
    let mut rest = text.trim_start_matches('/').bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
                let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
                    return Err(refuse("a percent sign without two hexadecimal digits"));
                };
                bytes.push((high * 16 + low) as u8);
            }
            b'?' | b'#' => return Err(refuse("write '?' and '#' as %3F and %23")),
            other => bytes.push(other),
        }
    }
    let path = String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8"))?;
    match path.split('/').any(|part| part == ".." || part == ".") {
        _ if path.contains('\0') => Err(refuse("it holds a NUL byte")),
        true => Err(refuse("it holds '.' or '..'")),
        false if path == "/" => Err(refuse("it is empty")),
        false => Ok(path),
    }
}

/// RFC 3986 unreserved characters and slashes as they are, all else by its bytes.
fn encoded(path: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(byte as char)
            }
            other => {
                // Writing into a String can't fail.
                write!(text, "%{other:02X}").ok();
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_of_both_kinds_are_read() {
        let name: SandboxName = "box-1".parse().unwrap();
        assert_eq!(Address::parse("agentkernel://sandboxes/box-1"), Ok(Address::Sandbox(name.clone())));
        let file = |path: &str| Ok(Address::File(name.clone(), path.to_owned()));
        assert_eq!(Address::parse("agentkernel://sandboxes/box-1/files/a/b%20c"), file("/a/b c"));
        assert_eq!(Address::parse("agentkernel://sandboxes/box-1/files//a"), file("/a"));
        // Once only.
        assert_eq!(Address::parse("agentkernel://sandboxes/box-1/files/a%252Fb"), file("/a%2Fb"));
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for path in [
            "..",
            "a/../b",
            "%2e%2e/etc",
            "a/%2E%2E",
            "a%2f..%2fb",
            ".",
            "a%00",
            "%",
            "%2",
            "%zz",
            "",
            "a?b",
            "%ff",
        ] {
            let uri = format!("agentkernel://sandboxes/box-1/files/{path}");
            assert!(matches!(Address::parse(&uri), Err(AddressError::Path { .. })), "{path:?}");
        }
        for uri in [
            "file:///etc/passwd",
            "agentkernel://sandboxes/",
            "agentkernel://sandboxes/../files/a",
            "agentkernel://sandboxes/a/other",
            "agentkernel://sandboxes/a%2Fb/files/c",
            "AGENTKERNEL://sandboxes/a",
        ] {
            assert!(Address::parse(uri).is_err(), "{uri}");
        }
    }

    proptest! {
        #[test]
        fn every_path_comes_back(parts in proptest::collection::vec("[^/\0]{1,12}", 1..5)) {
            prop_assume!(parts.iter().all(|part| part != "." && part != ".."));
            let path = format!("/{}", parts.join("/"));
            let address = Address::parse(&Address::of_file("a", &path));
            prop_assert_eq!(address, Ok(Address::File("a".parse().unwrap(), path)));
        }

        #[test]
        fn nothing_that_is_read_leaves_the_root(text in ".{0,80}") {
            if let Ok(Address::File(_, path)) = Address::parse(&format!("agentkernel://sandboxes/a/files/{text}")) {
                prop_assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."));
            }
        }
    }
}
