//! Names of network interfaces, as rules know them.

use std::fmt;

/// IFNAMSIZ: a name with its NUL.
pub(super) const NAME_BYTES: usize = 16;

/// An interface's name: 1 to 15 bytes without NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName([u8; NAME_BYTES]);

impl InterfaceName {
    /// None where no interface could have that name.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..NAME_BYTES).contains(&name.len()) && !name.contains('\0');
        fits.then(|| {
            let mut bytes = [0; NAME_BYTES];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            Self(bytes)
        })
    }

    /// One that is known when the program is built, where a wrong one is an error: for constants only.
    pub const fn constant(name: &'static str) -> Self {
        let name = name.as_bytes();
        assert!(!name.is_empty() && name.len() < NAME_BYTES, "no interface's name");
        let mut bytes = [0; NAME_BYTES];
        let mut position = 0;
        while position < name.len() {
            assert!(name[position] != 0, "no interface's name");
            bytes[position] = name[position];
            position += 1;
        }
        Self(bytes)
    }

    /// As the kernel compares it: filled up with NULs.
    pub(super) fn padded(&self) -> [u8; NAME_BYTES] {
        self.0
    }

    fn plain(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// Which interfaces a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// The one of this name.
    Named(InterfaceName),
    /// All whose names begin so.
    Beginning(InterfaceName),
}

impl Interface {
    /// What the beginning of a packet's interface name, filled up with NULs, is compared with.
    pub(super) fn pattern(&self) -> &[u8] {
        match self {
            Self::Named(name) => &name.0,
            Self::Beginning(name) => name.plain(),
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", String::from_utf8_lossy(self.plain()))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::Beginning(name) => write!(f, "\"{}*\"", String::from_utf8_lossy(name.plain())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_or_is_none() {
        for wrong in ["", "sixteen-bytes-xx", "a\0b"] {
            assert_eq!(InterfaceName::new(wrong), None, "{wrong:?}");
        }
        assert_eq!(InterfaceName::new("eth0"), Some(InterfaceName::constant("eth0")));
        let name = InterfaceName::constant("ak-");
        assert_eq!(Interface::Named(name).pattern(), b"ak-\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(Interface::Beginning(name).pattern(), b"ak-");
        assert_eq!(Interface::Beginning(name).to_string(), "\"ak-*\"");
    }
}
