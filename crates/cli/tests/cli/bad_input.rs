//! What can't be done is said with the name, the reason and the next step, and exits with 125.

use std::os::unix::fs::PermissionsExt;

use crate::lab::{Lab, code, errors, put};

/// Arguments, and what the message must say.
const REFUSED: [(&[&str], &str); 23] = [
    (&["run", "-1"], "comes after '--'"),
    (&["run", "--rm", "true"], "agentkernel's own flags come before the command"),
    (&["run", "--pids", "2", "true"], "from 3"),
    (&["run", "--open-files", "16", "true"], "from 32"),
    (&["help", "nope"], "nope"),
    (&["help", "run", "echo"], "one verb"),
    (&["run"], "COMMAND"),
    (&["run", "--memry", "1g", "true"], "--memory"),
    (&["run", "--profile", "strict", "true"], "permissive, moderate or restrictive"),
    (
        &["run", "--backend", "hyperlight", "true"],
        "this build has no backend \"hyperlight\": it has firecracker, docker, podman, native",
    ),
    (&["run", "--memory", "lots", "true"], "512m or 2g"),
    (&["run", "--cpus", "0", "true"], "0.01"),
    (&["run", "--timeout", "soon", "true"], "30s"),
    (&["run", "--name", "../x", "true"], "sandbox name"),
    (&["run", "-v", "/only-one", "true"], "HOST:BOX"),
    (&["run", "-e", "SURELY_NOT_SET_HERE", "true"], "SURELY_NOT_SET_HERE"),
    (&["run", "-t", "true"], "-t needs a terminal"),
    (&["create", "a/b"], "sandbox name"),
    (&["create"], "agentkernel create NAME"),
    (&["start", "nobody"], "nobody"),
    (&["exec", "nobody", "true"], "nobody"),
    (&["kill", "nobody", "id", "-s", "NOPE"], "signal"),
    (&["cp", "one", "two"], "NAME:PATH"),
];

#[test]
fn each_wrong_command_line_says_what_would_do() {
    let lab = Lab::without_sandboxes();
    for (arguments, word) in REFUSED {
        let output = lab.output(arguments);
        assert_eq!(code(&output), 125, "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).contains(word), "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).starts_with("agentkernel: error: "), "{arguments:?}: {}", errors(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_wrong_configuration_is_named_with_its_place_and_does_not_stop_list() {
    let lab = Lab::without_sandboxes();
    put(&lab.project(), "agentkernel.toml", "[sandbox]\nname = \"x\"\n[resources]\nmemory_mbb = 5\n");
    let output = lab.output(["run", "true"]);
    assert_eq!(code(&output), 125);
    assert!(
        errors(&output).contains("agentkernel.toml:4") && errors(&output).contains("memory_mb"),
        "{}",
        errors(&output)
    );
    assert_eq!(lab.ok(&["list", "--json"]).trim(), "[]");
}

#[test]
fn json_verbs_fail_in_json() {
    let lab = Lab::without_sandboxes();
    let output = lab.output(["info", "nobody", "--json"]);
    assert_eq!(code(&output), 125);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "not-found");
    assert!(document["error"]["message"].as_str().unwrap().contains("nobody"));
    assert!(output.stderr.is_empty());
}

#[test]
fn an_unusable_state_folder_is_named() {
    let lab = Lab::without_sandboxes();
    put(&lab.project(), "file", "");
    let output = lab.output(["list", "--state-dir", "file"]);
    assert_eq!(code(&output), 125);
    assert!(errors(&output).contains("file"), "{}", errors(&output));
    if rustix::process::geteuid().is_root() {
        println!("SKIPPED: a read-only state folder: root may write everywhere");
        return;
    }
    let folder = lab.project().join("locked");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).unwrap();
    let output = lab.output(["list", "--state-dir", "locked/state"]);
    assert_eq!(code(&output), 125);
    assert!(errors(&output).contains("locked"), "{}", errors(&output));
}

#[test]
fn an_empty_list_hints_on_stderr_only() {
    let lab = Lab::without_sandboxes();
    let output = lab.output(["list"]);
    assert_eq!((code(&output), output.stdout.len()), (0, 0));
    assert!(errors(&output).contains("agentkernel create"));
}

#[test]
fn init_writes_a_file_once() {
    let lab = Lab::without_sandboxes();
    lab.ok(&["init", "--agent", "codex"]);
    let text = std::fs::read_to_string(lab.project().join("agentkernel.toml")).unwrap();
    assert!(text.contains("name = \"project\"") && text.contains("preferred = \"codex\""), "{text}");
    let output = lab.output(["init"]);
    assert_eq!(code(&output), 125);
    assert!(errors(&output).contains("already exists"));
    assert_eq!(std::fs::read_to_string(lab.project().join("agentkernel.toml")).unwrap(), text);
}
