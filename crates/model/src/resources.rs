//! Limits. `None` means "no limit asked for"; a limit that is asked for is enforced or refused.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Mebibytes (2^20 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Mib(pub u32);

impl Mib {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 20
    }
}

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

/// Processor time in thousandths of one core: 1500 is one and a half cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpus(u32);

impl Cpus {
    /// From thousandths of a core; `None` outside 0.01 to 1024 cores.
    pub fn from_millis(millis: u32) -> Option<Self> {
        (10..=1_024_000).contains(&millis).then_some(Self(millis))
    }

    /// In thousandths of a core.
    pub fn millis(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1000.0)
    }
}

/// A limit that is a number of things, and at least `LEAST` of them: fewer would leave no room for any command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct AtLeast<const LEAST: u32>(u32);

/// Processes and threads together: the command, the one that looks after it, and the box's first.
pub type Pids = AtLeast<3>;

/// Open files of each process: the box's first needs some for every command that runs.
pub type OpenFiles = AtLeast<32>;

impl<const LEAST: u32> AtLeast<LEAST> {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<const LEAST: u32> fmt::Display for AtLeast<LEAST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const LEAST: u32> From<AtLeast<LEAST>> for u32 {
    fn from(number: AtLeast<LEAST>) -> Self {
        number.0
    }
}

/// Why a text or number is not such a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} leaves no room for any command: give a whole number from {least}")]
pub struct TooFew {
    text: String,
    least: u32,
}

impl<const LEAST: u32> TryFrom<u32> for AtLeast<LEAST> {
    type Error = TooFew;
    fn try_from(number: u32) -> Result<Self, TooFew> {
        if number >= LEAST {
            Ok(Self(number))
        } else {
            Err(TooFew { text: number.to_string(), least: LEAST })
        }
    }
}

impl<const LEAST: u32> FromStr for AtLeast<LEAST> {
    type Err = TooFew;
    fn from_str(text: &str) -> Result<Self, TooFew> {
        let number: u32 = text.parse().map_err(|_| TooFew { text: text.to_owned(), least: LEAST })?;
        number.try_into()
    }
}

impl<const LEAST: u32> JsonSchema for AtLeast<LEAST> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("AtLeast{LEAST}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "integer", "minimum": LEAST, "maximum": u32::MAX})
    }
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {expected}")]
pub struct QuantityError {
    kind: &'static str,
    text: String,
    expected: &'static str,
}

impl FromStr for Cpus {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        text.parse::<f64>().ok().and_then(|cpus| Self::try_from(cpus).ok()).ok_or_else(|| QuantityError {
            kind: "number of CPUs",
            text: text.to_owned(),
            expected: "a number from 0.01 to 1024, such as 0.5 or 2",
        })
    }
}

impl TryFrom<f64> for Cpus {
    type Error = QuantityError;
    fn try_from(cpus: f64) -> Result<Self, QuantityError> {
        let millis = (cpus * 1000.0).round();
        // NaN and the infinities fail the comparison; the cast is then exact.
        if (10.0..=1_024_000.0).contains(&millis) {
            return Ok(Self(millis as u32));
        }
        Err(QuantityError {
            kind: "number of CPUs",
            text: cpus.to_string(),
            expected: "a number from 0.01 to 1024, such as 0.5 or 2",
        })
    }
}

impl Serialize for Cpus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Cpus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cpus".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "number", "minimum": 0.01, "maximum": 1024})
    }
}

impl FromStr for Mib {
    type Err = QuantityError;
    /// `512`, `512m`, `512M`, `512MiB`, `2g`, `2G`, `2GiB`; at least 1 MiB.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let error = || QuantityError {
            kind: "size",
            text: text.to_owned(),
            expected: "a number of MiB with an optional unit, such as 512, 512m or 2g",
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u32 = text[..digits].parse().map_err(|_| error())?;
        let factor = match text[digits..].to_ascii_lowercase().as_str() {
            "" | "m" | "mb" | "mib" => 1,
            "g" | "gb" | "gib" => 1024,
            _ => return Err(error()),
        };
        number.checked_mul(factor).filter(|mib| *mib > 0).map(Self).ok_or_else(error)
    }
}

/// The limits of one sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Memory of all processes together, page cache and tmpfs included.
    pub memory: Option<Mib>,
    /// Processor time.
    pub cpus: Option<Cpus>,
    /// Processes and threads together.
    pub pids: Option<u32>,
    /// What the sandbox may write into its own root filesystem.
    pub disk: Option<Mib>,
    /// Open files of each process (RLIMIT_NOFILE).
    pub open_files: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_with_their_units() {
        assert_eq!("512".parse(), Ok(Mib(512)));
        assert_eq!("512MiB".parse(), Ok(Mib(512)));
        assert_eq!("2g".parse(), Ok(Mib(2048)));
        for bad in ["", "0", "-1", "1.5g", "10k", "99999999999", "4194304g"] {
            assert!(bad.parse::<Mib>().is_err(), "{bad}");
        }
    }

    #[test]
    fn fewer_than_one_command_takes_are_refused() {
        assert_eq!("3".parse::<Pids>().unwrap().get(), 3);
        for bad in ["", "0", "2", "-1", "3.5", "4294967296"] {
            let error = bad.parse::<Pids>().unwrap_err().to_string();
            assert!(error.contains("from 3"), "{error}");
        }
        assert!(OpenFiles::try_from(31).is_err() && OpenFiles::try_from(32).is_ok());
    }

    #[test]
    fn cpus_are_thousandths_of_a_core() {
        assert_eq!("1.5".parse::<Cpus>().unwrap().millis(), 1500);
        for bad in ["", "0", "-1", "nan", "inf", "1e9", "two"] {
            assert!(bad.parse::<Cpus>().is_err(), "{bad}");
        }
    }
}
