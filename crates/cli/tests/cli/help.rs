//! The whole help of each verb, as it is checked in: a changed flag shows in review. UPDATE_SNAPSHOTS=1 writes them anew.

use std::path::Path;

use crate::lab::Lab;

const VERBS: [&str; 58] = [
    "run",
    "create",
    "start",
    "stop",
    "remove",
    "pause",
    "resume",
    "fork",
    "snapshot",
    "snapshot take",
    "snapshot list",
    "snapshot restore",
    "snapshot remove",
    "list",
    "info",
    "exec",
    "attach",
    "logs",
    "ps",
    "kill",
    "cp",
    "image",
    "image pull",
    "image list",
    "image inspect",
    "image import",
    "image export",
    "image remove",
    "image prune",
    "image usage",
    "images",
    "init",
    "agents",
    "serve",
    "daemon",
    "daemon start",
    "daemon stop",
    "daemon status",
    "daemon restart",
    "key",
    "key create",
    "key list",
    "key remove",
    "audit",
    "audit verify",
    "pool",
    "pool status",
    "pool warm",
    "pool drain",
    "mcp-server",
    "stats",
    "setup",
    "setup firecracker",
    "doctor",
    "completions",
    "man",
    "help",
    "version",
];

/// A verb as words, with others around it.
fn said<'a>(before: &[&'a str], verb: &'a str, after: &[&'a str]) -> Vec<&'a str> {
    before.iter().copied().chain(verb.split_whitespace()).chain(after.iter().copied()).collect()
}

#[test]
fn the_help_of_each_verb_is_as_reviewed() {
    let lab = Lab::without_sandboxes();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/help");
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut stale = Vec::new();
    for verb in std::iter::once("").chain(VERBS) {
        // The renderer leaves spaces on some empty lines.
        let help: String = lab
            .ok(&said(&[], verb, &["--help"]))
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect();
        let name = if verb.is_empty() { "agentkernel".to_owned() } else { verb.replace(' ', "-") };
        let file = folder.join(format!("{name}.txt"));
        if update {
            std::fs::write(&file, &help).unwrap();
        } else if std::fs::read_to_string(&file).ok().as_deref() != Some(&help) {
            stale.push(verb);
        }
    }
    assert!(stale.is_empty(), "changed help of {stale:?}: look at it, then run with UPDATE_SNAPSHOTS=1");
}

#[test]
fn every_verb_is_listed_and_its_help_has_an_example() {
    let lab = Lab::without_sandboxes();
    let overview = lab.ok(&["--help"]);
    for verb in VERBS {
        let name = verb.split(' ').next_back().unwrap();
        let listed = match verb.split_once(' ') {
            Some((group, _)) => lab.ok(&[group, "--help"]),
            None => overview.clone(),
        };
        assert!(listed.contains(&format!("\n  {name} ")), "{verb}");
        let help = lab.ok(&said(&[], verb, &["--help"]));
        assert!(verb == "version" || help.contains(&format!("agentkernel {verb}")), "{verb}");
        assert!(verb == "version" || help.contains("Examples:"), "{verb}");
    }
    assert!(!overview.contains("internal-"));
}

#[test]
fn the_sandbox_verbs_are_the_same_grouped() {
    let lab = Lab::without_sandboxes();
    let last = VERBS.iter().position(|verb| *verb == "cp").unwrap();
    for verb in &VERBS[..=last] {
        let flat = lab.ok(&said(&[], verb, &["--help"]));
        for group in ["sandbox", "sb"] {
            let grouped = lab.ok(&said(&[group], verb, &["--help"]));
            let options = |text: &str| text.split_once("\n\nOptions:").map(|(_, rest)| rest.to_owned());
            assert_eq!(options(&flat), options(&grouped), "{group} {verb}");
        }
    }
}

#[test]
fn help_can_be_said_first() {
    let lab = Lab::without_sandboxes();
    for (said, same) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "run"], &["run", "--help"]),
        (&["help", "sandbox", "create"], &["create", "--help"]),
        (&["help", "image", "pull"], &["image", "pull", "--help"]),
        (&["sandbox", "help", "create"], &["create", "--help"]),
    ] {
        assert_eq!(lab.ok(said), lab.ok(same), "{said:?}");
    }
    assert!(lab.ok(&["help", "sandbox"]).contains("create"));
}

#[test]
fn completions_and_manual_pages_are_made_for_every_verb() {
    let lab = Lab::without_sandboxes();
    for shell in ["bash", "zsh", "fish"] {
        let script = lab.ok(&["completions", shell]);
        assert!(script.contains("mount-cwd") && script.contains("doctor"), "{shell}");
        assert!(!script.contains("internal-"), "{shell}");
    }
    assert!(lab.ok(&["man"]).contains(".TH agentkernel"));
    for verb in VERBS {
        assert!(lab.ok(&said(&["man"], verb, &[])).contains(".SH NAME"), "{verb}");
    }
}
