//! What engines do to the machine's packet filter outlives them: what was there before is noted, and what is theirs is
//! taken out at the end.

use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::command;

/// Beginnings of the names of the engines' chains.
const OF_ENGINES: [&str; 2] = ["DOCKER", "NETAVARK"];
const TABLES: [&str; 2] = ["filter", "nat"];
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// How the packet filter was.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Before {
    /// Those of [`OF_ENGINES`] that were there: somebody else's.
    others: Vec<String>,
    /// What became of forwarded packets: `ACCEPT` or `DROP`.
    forward_policy: String,
    /// Whether the machine forwarded at all.
    forwarding: String,
}

impl Before {
    /// Looks at it now.
    pub(crate) fn look() -> Result<Self> {
        let mut all = String::new();
        for table in TABLES {
            all.push_str(&rules(table)?);
        }
        let there = |prefix: &&str| all.lines().any(|line| line.starts_with(&format!("-N {prefix}")));
        let others: Vec<String> =
            OF_ENGINES.iter().filter(|prefix| there(prefix)).map(|prefix| (*prefix).to_owned()).collect();
        let policy = all.lines().find_map(|line| line.strip_prefix("-P FORWARD "));
        Ok(Self {
            others,
            forward_policy: policy.unwrap_or("ACCEPT").to_owned(),
            forwarding: std::fs::read_to_string(FORWARDING).context("read ip_forward")?.trim().to_owned(),
        })
    }

    /// Takes out the chains that were not there, and sets policies back unless another daemon may rely on them.
    pub(crate) fn restore(&self) -> Result<()> {
        for prefix in OF_ENGINES.iter().filter(|prefix| !self.others.iter().any(|other| other == *prefix)) {
            for table in TABLES {
                remove_chains(table, prefix)?;
            }
        }
        if self.others.is_empty() {
            command::output(Command::new("iptables").args(["-P", "FORWARD", &self.forward_policy]))?;
            std::fs::write(FORWARDING, &self.forwarding).context("write ip_forward")?;
        }
        Ok(())
    }
}

fn rules(table: &str) -> Result<String> {
    command::output(Command::new("iptables").args(["-t", table, "-S"]))
}

fn remove_chains(table: &str, prefix: &str) -> Result<()> {
    for step in removal(&rules(table)?, prefix) {
        // As `iptables -S` quotes it, so sh reads it.
        command::output(Command::new("sh").args(["-c", &format!("iptables -t {table} {step}")]))?;
    }
    Ok(())
}

/// The arguments that take out all chains with this beginning: first the jumps to them, then their rules, then
/// themselves.
fn removal(listing: &str, prefix: &str) -> Vec<String> {
    let own_rule = format!("-A {prefix}");
    let jumps = [format!("-j {prefix}"), format!("-g {prefix}")];
    let is_jump = |line: &&str| {
        line.starts_with("-A ")
            && !line.starts_with(&own_rule)
            && jumps.iter().any(|jump| line.contains(jump))
    };
    let jumps_out =
        listing.lines().filter(is_jump).map(|line| line.replacen("-A ", "-D ", 1)).collect::<Vec<_>>();
    let chains: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.strip_prefix("-N "))
        .filter(|chain| chain.starts_with(prefix))
        .collect();
    let flush = chains.iter().map(|chain| format!("-F {chain}"));
    let delete = chains.iter().map(|chain| format!("-X {chain}"));
    jumps_out.into_iter().chain(flush).chain(delete).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_engines_chains_are_taken_out() {
        let listing = "-P FORWARD DROP\n-N DOCKER\n-N DOCKER-USER\n-N MINE\n-A FORWARD -j DOCKER-USER\n\
                       -A FORWARD -j MINE\n-A DOCKER-USER -j RETURN\n-A DOCKER -j DOCKER-USER\n";
        assert_eq!(
            removal(listing, "DOCKER"),
            ["-D FORWARD -j DOCKER-USER", "-F DOCKER", "-F DOCKER-USER", "-X DOCKER", "-X DOCKER-USER"]
        );
        assert!(removal(listing, "NETAVARK").is_empty());
    }
}
