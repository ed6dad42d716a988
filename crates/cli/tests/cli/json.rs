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
    assert!(command["age_ms"].is_u64(), "{command}");
    let processes = ps["processes"].as_array().unwrap();
    let sleeping =
        processes.iter().find(|process| process["command"].as_str().unwrap().contains("sleep")).unwrap();
    assert!(sleeping["cpu_time_ms"].is_u64() && sleeping["resident_bytes"].is_u64(), "{sleeping}");
    let info: Value = serde_json::from_str(&lab.ok(&["info", "box", "--json"])).unwrap();
    assert_eq!((&info["status"], &info["phase"]), (&"running".into(), &Value::Null));
}

#[test]
fn setup_check_and_doctor_agree() {
    let Some(lab) = Lab::new("setup --check") else { return };
    let output = easy(&lab, &["setup", "--check", "--json"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", shown(&output));
    let setup = document(&output);
    assert_eq!((&setup["ready"], &setup["selected"]), (&true.into(), &"native".into()));
    assert_eq!(setup["because"], "named by environment AGENTKERNEL_BACKEND");
    let native = setup["backends"].as_array().unwrap().last().unwrap();
    assert_eq!((&native["status"], &native["default_run"]), (&"ready".into(), &"works".into()));
    let names: Vec<_> =
        setup["backends"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hyperlight", "firecracker", "apple", "docker", "podman", "native"]);
    let doctor = document(&easy(&lab, &["doctor", "--json"]).output().unwrap());
    let checks = doctor["checks"].as_array().unwrap();
    let status =
        |id: &str| checks.iter().find(|check| check["id"] == id).map(|check| check["status"].clone());
    assert_eq!(status("backend.native"), Some("ok".into()));
    assert_eq!(status("settings"), Some("ok".into()));
    assert_eq!(status("default-run"), Some("ok".into()));
    for check in checks {
        assert_eq!(check["status"] == "ok", check["fix"].is_null(), "{check}");
    }
    let settings = doctor["settings"].as_array().unwrap();
    assert!(
        settings.iter().any(|one| one["key"] == "security.profile" && one["origin"] == "default"),
        "{settings:?}"
    );
}

/// With settings that every machine can honour.
fn easy(lab: &Lab, arguments: &[&str]) -> std::process::Command {
    let mut command = lab.command(arguments);
    command.env("AGENTKERNEL_ALLOW_UNLIMITED", "true").env("AGENTKERNEL_NETWORK", "false");
    command
}

#[test]
fn doctor_and_setup_fail_exactly_where_a_default_run_is_refused() {
    let Some(lab) = Lab::new("doctor and the default run") else { return };
    let unlimited = ("AGENTKERNEL_ALLOW_UNLIMITED", "true");
    for settings in [
        &[][..],
        &[unlimited],
        &[unlimited, ("AGENTKERNEL_NETWORK", "false")],
        &[("AGENTKERNEL_PROFILE", "restrictive")],
        &[("AGENTKERNEL_BACKEND", "hyperlight")],
    ] {
        let [run, setup, doctor] =
            [&["run", "true"][..], &["setup", "--check", "--json"], &["doctor", "--json"]]
                .map(|arguments| lab.command(arguments).envs(settings.iter().copied()).output().unwrap());
        let works = run.status.success();
        assert_eq!(code(&setup), i32::from(!works), "{settings:?}: {}{}", shown(&run), shown(&setup));
        assert_eq!(code(&doctor), i32::from(!works), "{settings:?}: {}{}", shown(&run), shown(&doctor));
        let said = document(&setup);
        assert_eq!((said["ready"] == true, said["fix"].is_null()), (works, works), "{said}");
        let doctor = document(&doctor);
        let checks = doctor["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["id"] == "default-run").unwrap();
        assert_eq!((check["status"] == "ok", check["fix"].is_null()), (works, works), "{check}");
    }
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
