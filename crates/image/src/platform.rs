//! Which of an image's platforms is taken.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ImageError;

/// An operating system, a processor and, for some processors, a variant, in Go's names (OCI image-spec,
/// `image-index.md`): `linux/amd64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// What boxes of this machine run: Linux, whatever the machine itself has, on its processor.
    pub fn of_this_machine() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            same => (same, None),
        };
        Self::new("linux", architecture, variant)
    }

    /// From its parts, as an image has them; variants that every processor of a kind has are left out.
    pub(crate) fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let own = |text: &str| text.chars().take(32).collect::<String>();
        let variant = variant.filter(|variant| {
            !matches!((architecture, *variant), (_, "") | ("arm64", "v8" | "8") | ("amd64", "v1"))
        });
        Self { os: own(os), architecture: own(architecture), variant: variant.map(own) }
    }

    /// How well an image for `offered` runs where this is wanted; `None`: not at all, lower is better.
    fn distance(&self, offered: &Self) -> Option<usize> {
        if (&self.os, &self.architecture) != (&offered.os, &offered.architecture) {
            return None;
        }
        if self.variant == offered.variant {
            return Some(0);
        }
        // 32-bit Arm processors run the code of all earlier versions. Without a variant v7 is meant, as with Docker.
        let version = |platform: &Self| match platform.variant.as_deref() {
            None => Some(7),
            Some(variant) => variant.trim_start_matches('v').parse::<usize>().ok(),
        };
        match self.architecture.as_str() {
            "arm" => version(self)?.checked_sub(version(offered)?).map(|steps| steps + 1),
            // What is made for any processor of the kind runs on the better ones too.
            _ => offered.variant.is_none().then_some(1),
        }
    }

    /// Whether an image whose configuration says `offered` runs where this is wanted. Variants don't count here: indexes
    /// have them right, configurations often have none.
    pub(crate) fn runs(&self, offered: &Self) -> bool {
        (&self.os, &self.architecture) == (&offered.os, &offered.architecture)
    }

    /// The first of the best among `offered`.
    pub(crate) fn best<'a, T>(&self, offered: &'a [(Self, T)]) -> Option<&'a T> {
        let rated = offered.iter().filter_map(|(platform, item)| Some((self.distance(platform)?, item)));
        rated.min_by_key(|(distance, _)| *distance).map(|(_, item)| item)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = self.variant.as_ref().map_or(String::new(), |variant| format!("/{variant}"));
        f.pad(&format!("{}/{}{variant}", self.os, self.architecture))
    }
}

impl FromStr for Platform {
    type Err = ImageError;
    fn from_str(text: &str) -> Result<Self, ImageError> {
        let is_part = |part: &&str| {
            !part.is_empty()
                && part.len() <= 32
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match (parts.as_slice(), parts.iter().all(is_part)) {
            ([os, architecture], true) => Ok(Self::new(os, architecture, None)),
            ([os, architecture, variant], true) => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(ImageError::Setting {
                setting: "platform",
                value: text.chars().take(80).collect(),
                why: "it must be like linux/amd64 or linux/arm/v7".to_owned(),
            }),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = ImageError;
    fn try_from(text: String) -> Result<Self, ImageError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> String {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(wanted: &str, offered: &[&str]) -> Option<String> {
        let offered: Vec<_> =
            offered.iter().map(|text| (text.parse().unwrap(), (*text).to_owned())).collect();
        wanted.parse::<Platform>().unwrap().best(&offered).cloned()
    }

    #[test]
    fn the_best_platform_that_runs_is_taken() {
        for (wanted, offered, expected) in [
            ("linux/amd64", &["linux/arm64", "linux/amd64"][..], Some("linux/amd64")),
            ("linux/amd64", &["windows/amd64", "linux/386"], None),
            ("linux/amd64", &["linux/amd64/v3", "linux/amd64"], Some("linux/amd64")),
            ("linux/amd64", &["linux/amd64/v3"], None),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v3"], Some("linux/amd64/v3")),
            ("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"], Some("linux/arm64/v8")),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm64"], Some("linux/arm/v6")),
            ("linux/arm/v6", &["linux/arm/v7"], None),
            ("linux/arm", &["linux/arm/v6", "linux/arm/v7"], Some("linux/arm/v7")),
        ] {
            assert_eq!(chosen(wanted, offered).as_deref(), expected, "{wanted} of {offered:?}");
        }
    }

    #[test]
    fn platforms_are_written_as_docker_writes_them() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for bad in ["", "linux", "linux/", "linux/a/b/c", "linux/a b", "/amd64"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
