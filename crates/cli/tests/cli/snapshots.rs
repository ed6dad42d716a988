//! Pause, snapshots and forks, as far as a backend without them goes: refused by name, and what is kept is listed and
//! removed all the same. What they do is tested over the fake, and on the machines of the firecracker backend.

use crate::lab::{Lab, code, errors};

/// A snapshot as an earlier command would have left it.
fn put_snapshot(lab: &Lab, name: &str, ports: &str) {
    let folder = lab.state().join("snapshots").join(name);
    std::fs::create_dir_all(folder.join("backend")).unwrap();
    std::fs::write(folder.join("record.lock"), "").unwrap();
    let record = format!(
        r#"{{"version":1,"name":"{name}","source":"work","source_id":"0123456789abcdef",
        "created_at":"2026-01-02T03:04:05Z","bytes":3145728,"spec":{{"backend":"native","image":"host","image_id":null,
        "profile":"moderate","network":"none","read_only_root":false,"mounts":[],"ports":[{ports}],
        "env":[{{"name":"KEY","value":"hunter2"}}],"workdir":"/","user":null,
        "resources":{{"memory":null,"cpus":null,"pids":null,"disk":null,"open_files":null}},
        "allow_unlimited":false,"hostname":"work","agent":null,"labels":{{}}}}}}"#
    );
    std::fs::write(folder.join("record.json"), record).unwrap();
}

#[test]
fn a_backend_without_them_refuses_by_name_and_changes_nothing() {
    let Some(lab) = Lab::new("snapshots on native") else { return };
    lab.sandbox("work");
    for arguments in [
        &["pause", "work"][..],
        &["sandbox", "resume", "work"],
        &["fork", "work", "--count", "2"],
        &["snapshot", "take", "work", "--name", "s"],
    ] {
        let output = lab.output(arguments);
        assert_eq!(code(&output), 125, "{arguments:?}");
        let told = errors(&output);
        for part in ["\"native\"", "pause, snapshots and forks", "--backend firecracker"] {
            assert!(told.contains(part), "{arguments:?}: {told}");
        }
    }
    assert_eq!(lab.ok(&["exec", "work", "echo", "on"]), "on\n");
    assert_eq!(lab.ok(&["list", "--quiet"]), "work\n");
    assert!(!lab.state().join("snapshots").exists());
}

#[test]
fn what_is_kept_is_listed_and_removed() {
    let lab = Lab::without_sandboxes();
    assert_eq!(lab.ok(&["snapshot", "list", "--json"]), "[]\n");
    put_snapshot(&lab, "one", "");
    put_snapshot(&lab, "two", "");
    std::fs::create_dir_all(lab.state().join("snapshots/half/backend")).unwrap();
    assert_eq!(lab.ok(&["snapshot", "ls", "--quiet"]), "one\ntwo\n");
    let table = lab.ok(&["snapshot", "list"]);
    assert!(table.starts_with("NAME") && table.contains("3.0 MiB"), "{table}");
    let text = lab.ok(&["snapshot", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["source"]), (&"one".into(), &"work".into()));
    assert_eq!((&list[0]["bytes"], &list[0]["backend"]), (&3_145_728.into(), &"native".into()));
    assert!(!text.contains("hunter2"));
    std::fs::write(lab.state().join("snapshots/two/record.json"), "{").unwrap();
    let output = lab.output(["snapshot", "list", "--quiet"]);
    assert_eq!(output.stdout, b"one\n");
    assert!(errors(&output).contains("snapshot two"), "{}", errors(&output));
    let output = lab.output(["snapshot", "remove", "one", "none", "two"]);
    assert_eq!((code(&output), &output.stdout[..]), (125, &b"one\ntwo\n"[..]));
    assert!(errors(&output).contains("snapshot \"none\" does not exist"), "{}", errors(&output));
    // The next command that looks after sandboxes clears the half one away.
    lab.ok(&["list"]);
    assert!(!lab.state().join("snapshots/half").exists());
}

#[test]
fn wrong_names_and_numbers_are_refused_before_anything_is_done() {
    let lab = Lab::without_sandboxes();
    for (arguments, part) in [
        (&["fork", "work", "--count", "0"][..], "1..=100"),
        (&["fork", "work", "--count", "101"], "1..=100"),
        (&["snapshot", "take", "work", "--name", "../x"], "snapshot name"),
        (&["snapshot", "restore", "s", "--as", "a/b"], "sandbox name"),
        (&["snapshot"], "Usage"),
        (&["pause"], "<NAME>"),
    ] {
        let output = lab.output(arguments);
        assert_eq!(code(&output), 125, "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).contains(part), "{arguments:?}: {}", errors(&output));
    }
    for arguments in [&["pause", "none"][..], &["fork", "none"], &["snapshot", "take", "none"]] {
        let output = lab.output(arguments);
        assert_eq!(code(&output), 125);
        assert!(errors(&output).contains("sandbox \"none\" does not exist"), "{}", errors(&output));
    }
    let output = lab.output(["snapshot", "restore", "none"]);
    assert!(errors(&output).contains("snapshot \"none\" does not exist"), "{}", errors(&output));
}
