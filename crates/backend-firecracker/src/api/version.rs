//! Firecracker's version. What this crate asks for came with 1.12: overrides of a snapshot's network interfaces.

use std::fmt;

use serde::Deserialize;

use super::error::{ApiError, printable};

/// The oldest that is accepted.
pub const OLDEST_VERSION: Version = Version { major: 1, minor: 12, patch: 0 };

/// A release of Firecracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Changes with what is incompatible.
    pub major: u32,
    /// Changes with what is new.
    pub minor: u32,
    /// Changes with repairs.
    pub patch: u32,
}

#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) firecracker_version: String,
}

impl Version {
    /// Of `1.13.1`, `v1.13.1` and `1.17.0-dev` (which counts as 1.17.0); `None` for other text.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (numbers, _) = text.split_once(['-', '+']).unwrap_or((text, ""));
        let mut parts = numbers.split('.').map(|part| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse().ok(),
            false => None,
        });
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

pub(super) fn check(text: &str) -> Result<Version, ApiError> {
    match Version::parse(text) {
        Some(version) if version >= OLDEST_VERSION => Ok(version),
        _ => Err(ApiError::WrongVersion { found: format!("`{}`", printable(text)) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_and_old_ones_named() {
        for good in ["1.12.0", "1.17.0-dev", "v1.14.2", "2.0.0", "1.100.0"] {
            check(good).unwrap();
        }
        for bad in
            ["1.11.9", "0.25.0", "", "1.12", "1.12.0.1", "one", "1.+12.0", "1.99999999999.0", "\u{1b}[31m"]
        {
            let message = check(bad).unwrap_err().to_string();
            assert!(message.contains("1.12.0 or later"), "{message}");
            assert!(!message.contains('\u{1b}'));
        }
        assert!(Version::parse("1.9.3") < Version::parse("1.12.0"));
    }
}
