//! What the user asked `cargo xtask bench run` for.

use anyhow::{Context, Result, bail};

/// How much to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How often each contender of a group runs, one after the other.
    pub(crate) rounds: usize,
    /// How many runs the concurrency measurement has.
    pub(crate) concurrent_runs: usize,
    /// How many sandboxes are idle at once in the memory measurement.
    pub(crate) idle_sandboxes: usize,
}

impl Settings {
    pub(crate) fn parse(flags: &[&str]) -> Result<Self> {
        let mut settings = Self { rounds: 40, concurrent_runs: 100, idle_sandboxes: 20 };
        match flags {
            [] => {}
            ["--rounds", rounds] => {
                settings.rounds =
                    rounds.parse().with_context(|| format!("--rounds {rounds:?} is no number"))?;
            }
            _ => bail!("unknown flags {:?}: there is --rounds N", flags.join(" ")),
        }
        if settings.rounds < 2 {
            bail!("--rounds must be at least 2, or there is no median");
        }
        Ok(settings)
    }
}
