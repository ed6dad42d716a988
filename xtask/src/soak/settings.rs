//! What the user asked `cargo xtask soak` for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long, on what, and how often the server is killed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) duration: Duration,
    pub(crate) backends: Vec<String>,
    pub(crate) kills: u32,
    /// Instead of what is built now.
    pub(crate) program: Option<PathBuf>,
}

impl Settings {
    /// The part of `cargo xtask test`.
    pub(crate) fn short() -> Self {
        Self {
            duration: Duration::from_secs(20),
            backends: vec!["native".to_owned()],
            kills: 0,
            program: None,
        }
    }

    pub(crate) fn parse(flags: &[&str]) -> Result<Self> {
        let mut settings = Self { duration: Duration::from_secs(600), ..Self::short() };
        let mut rest = flags;
        while let [flag, value, more @ ..] = rest {
            let number = || value.parse().with_context(|| format!("{flag} {value:?} is no number"));
            match *flag {
                "--minutes" => settings.duration = Duration::from_secs(60 * u64::from(number()?)),
                "--seconds" => settings.duration = Duration::from_secs(u64::from(number()?)),
                "--kills" => settings.kills = number()?,
                "--program" => settings.program = Some(PathBuf::from(value)),
                "--backend" => settings.backends = value.split(',').map(str::to_owned).collect(),
                _ => bail!(
                    "unknown flag {flag:?}: there are --minutes, --seconds, --backend, --kills and --program"
                ),
            }
            rest = more;
        }
        if let [flag] = rest {
            bail!("{flag} needs a value");
        }
        if let Some(other) =
            settings.backends.iter().find(|name| !["native", "docker"].contains(&name.as_str()))
        {
            bail!("--backend {other}: there are native and docker");
        }
        if settings.duration.is_zero() {
            bail!("the time must be more than nothing");
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_others_refused() {
        let parsed =
            Settings::parse(&["--minutes", "2", "--backend", "native,docker", "--kills", "10"]).unwrap();
        assert_eq!((parsed.duration, parsed.backends.len(), parsed.kills), (Duration::from_secs(120), 2, 10));
        assert_eq!(Settings::parse(&[]).unwrap().duration, Duration::from_secs(600));
        for wrong in
            [&["--minutes"][..], &["--minutes", "x"], &["--minutes", "0"], &["--backend", "xen"], &["x", "y"]]
        {
            assert!(Settings::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
