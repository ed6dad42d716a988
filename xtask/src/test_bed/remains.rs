//! What a run of the tests left in the bed's engines.

use std::collections::BTreeSet;
use std::process::Command;

use super::place::{DOCKER, PODMAN, PODMAN_ROOTLESS, Place, Variables};
use super::{docker, podman, rootless};
use crate::command;

/// The mark of the network that boxes share. It stays in an engine once it was made (docs/docker.md), but only once.
const OUR_NETWORK: &str = "agentkernel.network";

/// A bed's engines have no other users: every container, network and volume in them is some test's.
pub(crate) fn in_engines(place: &Place, variables: &Variables) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let engines: [(&str, &str, &dyn Fn() -> Command); 3] = [
        (DOCKER, "docker", &|| docker::client(place)),
        (PODMAN, "podman", &|| podman::client(place)),
        (PODMAN_ROOTLESS, "rootless podman", &|| rootless::client(place)),
    ];
    for (_, engine, client) in
        engines.iter().filter(|(variable, ..)| variables.iter().any(|(name, _)| name == variable))
    {
        for (kind, words) in [
            ("container", ["ps", "--all", "--format", "{{.ID}} {{.Names}} {{.Labels}}"].as_slice()),
            ("network", ["network", "ls", "--format", "{{.ID}} {{.Name}} {{.Labels}}"].as_slice()),
            ("volume", ["volume", "ls", "--format", "{{.Name}}"].as_slice()),
        ] {
            // An engine that answers no more is a finding too.
            match command::output(client().args(words)) {
                Ok(listing) => {
                    found.extend(left(kind, &listing).map(|line| format!("{engine} {kind} {line}")));
                }
                Err(error) => {
                    found.insert(format!("{engine} that can't be asked for each {kind}: {error:#}"));
                }
            }
        }
    }
    found
}

/// What of a listing some test should have removed.
fn left<'a>(kind: &str, listing: &'a str) -> impl Iterator<Item = &'a str> {
    let mut kept = kind == "network";
    listing.lines().filter(move |line| !(line.contains(OUR_NETWORK) && std::mem::take(&mut kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_network_may_stay_and_nothing_else() {
        let listing = "1 bridge \n2 agentkernel agentkernel.network=1\n3 agentkernel agentkernel.network=1\n";
        assert_eq!(
            left("network", listing).collect::<Vec<_>>(),
            ["1 bridge ", "3 agentkernel agentkernel.network=1"]
        );
        assert_eq!(left("container", listing).count(), 3);
    }
}
