//! What a run of the tests left in the bed's engines.

use std::collections::BTreeSet;
use std::process::Command;

use super::place::{DOCKER, PODMAN, PODMAN_ROOTLESS, Place, Variables};
use super::{docker, podman, rootless};
use crate::command;

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
            ("network", ["network", "ls", "--format", "{{.ID}} {{.Name}}"].as_slice()),
            ("volume", ["volume", "ls", "--format", "{{.Name}}"].as_slice()),
        ] {
            // An engine that answers no more is a finding too.
            match command::output(client().args(words)) {
                Ok(listing) => {
                    found.extend(listing.lines().map(|line| format!("{engine} {kind} {line}")));
                }
                Err(error) => {
                    found.insert(format!("{engine} that can't be asked for each {kind}: {error:#}"));
                }
            }
        }
    }
    found
}
