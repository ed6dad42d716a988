//! Holds `cargo metadata`, deny.toml and Cargo.lock against the table.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::table::{CRATES, ENTRY_POINTS, PACKAGE_CEILING, Place};
use crate::workspace::{Metadata, Workspace};

const PREFIX: &str = "agentkernel-";

/// The part of deny.toml that is read here.
#[derive(Deserialize)]
struct DenyFile {
    bans: Bans,
}

#[derive(Deserialize)]
struct Bans {
    #[serde(default)]
    deny: Vec<Ban>,
}

/// A package that nobody, or only `wrappers`, may depend on directly.
#[derive(Deserialize)]
struct Ban {
    name: String,
    #[serde(default)]
    wrappers: Vec<String>,
}

/// Prints each wrong arrow; whether there was none.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let deny = std::fs::read_to_string(workspace.root.join("deny.toml")).context("read deny.toml")?;
    let deny: DenyFile = toml::from_str(&deny).context("parse deny.toml")?;
    let lock = std::fs::read_to_string(workspace.root.join("Cargo.lock")).context("read Cargo.lock")?;
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();

    let metadata = workspace.metadata()?;
    let mut wrong = wrong_arrows(&metadata);
    wrong.extend(wrong_entries(&metadata, &deny.bans.deny));
    if packages > PACKAGE_CEILING {
        wrong.push(format!(
            "Cargo.lock holds {packages} packages, more than the ceiling of {PACKAGE_CEILING}"
        ));
    }
    for line in &wrong {
        println!("layers: {line}");
    }
    println!(
        "layers: {} crates, {packages} packages in Cargo.lock (ceiling {PACKAGE_CEILING}), {} wrong",
        metadata.workspace_members.len(),
        wrong.len()
    );
    Ok(wrong.is_empty())
}

/// Our own packages with their dependencies, by short name: (crate, dependency, whether for tests only).
fn own_arrows(metadata: &Metadata) -> BTreeMap<&str, Vec<(&str, bool)>> {
    let own = metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id));
    own.map(|package| {
        let arrows = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
        let arrows =
            arrows.map(|dependency| (short(&dependency.name), dependency.kind.as_deref() == Some("dev")));
        (short(&package.name), arrows.collect())
    })
    .collect()
}

fn wrong_arrows(metadata: &Metadata) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, arrows) in own_arrows(metadata) {
        let Some(place) = place(name) else {
            wrong.push(format!("{name} has no line in xtask/src/layers/table.rs"));
            continue;
        };
        // Tests may use any crate: they are no part of what is built.
        for (target, _) in arrows.into_iter().filter(|(_, for_tests)| !for_tests) {
            if !allowed(place, target) {
                wrong.push(format!("{name} must not depend on {target}"));
            }
        }
    }
    wrong
}

fn allowed(from: Place, target: &str) -> bool {
    match (from, place(target)) {
        (Place::Apart(only), _) => only.contains(&target),
        (Place::Layer(from), Some(Place::Layer(to))) => to < from,
        (Place::Layer(_), Some(Place::Apart(_)) | None) => false,
    }
}

fn wrong_entries(metadata: &Metadata, bans: &[Ban]) -> Vec<String> {
    let mut wrong = Vec::new();
    let own = metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id));
    for package in own {
        let ordinary =
            package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        for dependency in ordinary {
            let by_deny_file = bans
                .iter()
                .find(|ban| ban.name == dependency.name)
                .is_some_and(|ban| !ban.wrappers.contains(&package.name));
            let by_table = ENTRY_POINTS
                .iter()
                .find(|(name, _)| *name == dependency.name)
                .is_some_and(|(_, entries)| !entries.contains(&short(&package.name)));
            if by_deny_file || by_table {
                wrong.push(format!("{} must not depend on {} itself", short(&package.name), dependency.name));
            }
        }
    }
    wrong
}

fn place(name: &str) -> Option<Place> {
    CRATES.iter().find(|(known, _)| *known == name).map(|(_, place)| *place)
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(packages: &str) -> Metadata {
        let json =
            format!(r#"{{"packages":[{packages}],"workspace_members":["1","2"],"target_directory":"/t"}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn arrows_point_downwards() {
        assert!(allowed(Place::Layer(3), "model"));
        assert!(!allowed(Place::Layer(2), "sys-of-another-name"));
        assert!(!allowed(Place::Layer(4), "backends"), "the same layer");
        assert!(!allowed(Place::Layer(2), "engine"), "upwards");
        assert!(!allowed(Place::Apart(&["protocol"]), "model"));
        assert!(!allowed(Place::Layer(6), "testkit"), "what is apart is for tests");
    }

    #[test]
    fn an_upward_arrow_is_found_unless_it_is_for_tests() {
        let package = |kind: &str| {
            format!(
                r#"{{"id":"1","name":"agentkernel-model","dependencies":[
                {{"name":"agentkernel-engine","kind":{kind},"path":"/w/engine"}}]}}"#
            )
        };
        assert_eq!(wrong_arrows(&metadata(&package("null"))), ["model must not depend on engine"]);
        assert_eq!(wrong_arrows(&metadata(&package("\"build\""))).len(), 1);
        assert!(wrong_arrows(&metadata(&package("\"dev\""))).is_empty());
    }

    #[test]
    fn a_heavy_dependency_enters_at_one_place() {
        let found = metadata(
            r#"{"id":"1","name":"agentkernel-engine","dependencies":[
                {"name":"clap","kind":null,"path":null},{"name":"libc","kind":null,"path":null}]},
               {"id":"2","name":"agentkernel-cli","dependencies":[{"name":"clap","kind":null,"path":null}]}"#,
        );
        let bans = [Ban { name: "clap".to_owned(), wrappers: vec!["agentkernel-cli".to_owned()] }];
        assert_eq!(
            wrong_entries(&found, &bans),
            ["engine must not depend on clap itself", "engine must not depend on libc itself"]
        );
    }

    #[test]
    fn a_crate_without_a_place_is_an_error() {
        let found = metadata(r#"{"id":"1","name":"agentkernel-new","dependencies":[]}"#);
        assert_eq!(wrong_arrows(&found), ["new has no line in xtask/src/layers/table.rs"]);
    }
}
