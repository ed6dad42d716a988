//! The documents that scripts read.

use serde_json::Value;

use crate::lab::{EASY, Lab, code, shown};

fn document(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(output)))
}

#[test]
fn run_says_everything_in_one_document() {
    let Some(lab) = Lab::new("run --json") else { return };
    let output = lab.run(&["--json", "sh", "-c", "echo out; printf 'err\\377' >&2; exit 3"]);
    assert_eq!(code(&output), 3, "{}", shown(&output));
    let said = document(&output);
    assert_eq!(said["exit_code"], 3);
    assert_eq!(said["outcome"]["exited"], 3);
    assert_eq!(said["stdout"], "out\n");
    assert_eq!(said["stderr"]["base64"], "ZXJy/w==");
    assert_eq!(
        (&said["truncated"], &said["backend"], &said["sandbox"]),
        (&false.into(), &"native".into(), &Value::Null)
    );
    assert_eq!(said["isolation"]["boundary"], "shared-kernel");
    assert!(said["duration_ms"].is_u64());
    let output = lab.run(&["--json", "no-such-program"]);
    assert_eq!((code(&output), &document(&output)["error"]["kind"]), (127, &"cannot-exec".into()));
}

#[test]
fn memory_for_the_document_is_bounded() {
    let Some(lab) = Lab::new("run --json of much output") else { return };
    let said = document(&lab.run(&["--json", "head", "-c", "20000000", "/dev/zero"]));
    assert_eq!(said["truncated"], true);
    assert_eq!(said["stdout"].as_str().unwrap().len(), 16 << 20);
}

#[test]
fn list_info_and_ps_have_stable_shapes() {
    let Some(lab) = Lab::new("list --json") else { return };
    lab.ok(&[&["create", "box", "-e", "SECRET=hunter2", "-l", "a=b"], &EASY[..]].concat());
    lab.ok(&["start", "box"]);
    let list: Value = serde_json::from_str(&lab.ok(&["list", "--json", "--label", "a=b"])).unwrap();
    let entry = &list[0];
    assert_eq!(
        (&entry["name"], &entry["status"], &entry["backend"]),
        (&"box".into(), &"running".into(), &"native".into())
    );
    assert_eq!(
        (&entry["image"], &entry["profile"], &entry["labels"]["a"]),
        (&"host".into(), &"moderate".into(), &"b".into())
    );
    assert_eq!(lab.ok(&["list", "--json", "--label", "a=c"]).trim(), "[]");
    for arguments in [&["info", "box", "--json"][..], &["info", "box"], &["list", "--json"]] {
        let text = lab.ok(arguments);
        assert!(text.contains("box") && !text.contains("hunter2"), "{arguments:?}: {text}");
    }
    let id = lab.ok(&["exec", "--detach", "box", "sleep", "60"]);
    let ps: Value = serde_json::from_str(&lab.ok(&["ps", "box", "--json"])).unwrap();
    let command =
        ps["commands"].as_array().unwrap().iter().find(|command| command["id"] == id.trim()).unwrap();
    assert_eq!(
        (&command["detached"], &command["state"], &command["argv"][0]),
        (&true.into(), &"running".into(), &"sleep".into())
    );
    assert!(
        ps["processes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|process| process["command"].as_str().unwrap().contains("sleep"))
    );
}

#[test]
fn setup_check_and_doctor_agree() {
    let Some(lab) = Lab::new("setup --check") else { return };
    let setup: Value = serde_json::from_str(&lab.ok(&["setup", "--check", "--json"])).unwrap();
    assert_eq!((&setup["ready"], &setup["selected"]), (&true.into(), &"native".into()));
    let names: Vec<_> =
        setup["backends"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hyperlight", "firecracker", "apple", "docker", "podman", "native"]);
    let doctor = document(&lab.output(["doctor", "--json"]));
    let checks = doctor["checks"].as_array().unwrap();
    let status =
        |id: &str| checks.iter().find(|check| check["id"] == id).map(|check| check["status"].clone());
    assert_eq!(status("backend.native"), Some("ok".into()));
    assert_eq!(status("settings"), Some("ok".into()));
    for check in checks {
        assert_eq!(check["status"] == "ok", check["fix"].is_null(), "{check}");
    }
    let settings = doctor["settings"].as_array().unwrap();
    assert!(
        settings.iter().any(|one| one["key"] == "security.profile" && one["origin"] == "default"),
        "{settings:?}"
    );
}

#[test]
fn the_costs_of_a_box_name_each_kind_of_step_once() {
    let Some(lab) = Lab::new("the_costs_of_a_box_name_each_kind_of_step_once") else { return };
    let mut command = lab.command(["internal-steps"]);
    command.env("AGENTKERNEL_ALLOW_UNLIMITED", "true").env("AGENTKERNEL_PROFILE", "restrictive");
    let output = command.output().unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["step"].as_str().unwrap()).collect();
    for step in ["seccomp", "capabilities", "mounts"] {
        assert_eq!(names.iter().filter(|name| **name == step).count(), 1, "{names:?}");
    }
    assert!(rows.iter().all(|row| row["microseconds"].as_f64().unwrap() > 0.0), "{rows:?}");
}
