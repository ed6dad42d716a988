//! The whole help of each verb, as it is checked in: a changed flag shows in review. UPDATE_SNAPSHOTS=1 writes them anew.

use std::path::Path;

use crate::lab::Lab;

const VERBS: [&str; 20] = [
    "run",
    "create",
    "start",
    "stop",
    "remove",
    "list",
    "info",
    "exec",
    "attach",
    "logs",
    "ps",
    "kill",
    "cp",
    "init",
    "agents",
    "setup",
    "doctor",
    "completions",
    "man",
    "version",
];

#[test]
fn the_help_of_each_verb_is_as_reviewed() {
    let lab = Lab::without_sandboxes();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/help");
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut stale = Vec::new();
    for verb in std::iter::once("").chain(VERBS) {
        let mut arguments = vec![verb, "--help"];
        arguments.retain(|argument| !argument.is_empty());
        let help = lab.ok(&arguments);
        let file =
            folder.join(if verb.is_empty() { "agentkernel.txt".to_owned() } else { format!("{verb}.txt") });
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
        assert!(overview.contains(&format!("\n  {verb} ")), "{verb}");
        let help = lab.ok(&[verb, "--help"]);
        assert!(verb == "version" || help.contains(&format!("agentkernel {verb}")), "{verb}");
        assert!(verb == "version" || help.contains("Examples:"), "{verb}");
    }
    assert!(!overview.contains("internal-"));
}

#[test]
fn the_sandbox_verbs_are_the_same_grouped() {
    let lab = Lab::without_sandboxes();
    for verb in &VERBS[..13] {
        let flat = lab.ok(&[verb, "--help"]);
        for group in ["sandbox", "sb"] {
            let grouped = lab.ok(&[group, verb, "--help"]);
            let options = |text: &str| text.split_once("\n\nOptions:").map(|(_, rest)| rest.to_owned());
            assert_eq!(options(&flat), options(&grouped), "{group} {verb}");
        }
    }
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
        assert!(lab.ok(&["man", verb]).contains(".SH NAME"), "{verb}");
    }
}
