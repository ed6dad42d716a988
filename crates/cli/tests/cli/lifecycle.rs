//! Sandboxes that last: create, start, exec, cp, logs, stop, start, remove, by several processes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use crate::lab::{EASY, Lab, code, errors, put, shown, wait_until};

fn create(lab: &Lab, name: &str, more: &[&str]) {
    lab.ok(&[&["create", name], &EASY[..], more].concat());
}

#[test]
fn files_survive_a_stop_and_commands_do_not() {
    let Some(lab) = Lab::new("stop and start") else { return };
    create(&lab, "box", &[]);
    assert!(lab.ok(&["list"]).contains("stopped"));
    let output = lab.output(["exec", "box", "true"]);
    assert_eq!(code(&output), 125);
    assert!(errors(&output).contains("agentkernel start box"), "{}", errors(&output));
    assert_eq!(lab.ok(&["start", "box"]), "box\n");
    lab.ok(&["start", "box"]);
    assert!(lab.ok(&["list"]).contains("running"));
    lab.ok(&["exec", "box", "sh", "-c", "echo kept > /root/file; echo kept > /workspace/file"]);
    let id = lab.ok(&["exec", "--detach", "box", "sleep", "300"]);
    lab.ok(&["stop", "--grace", "100ms", "box"]);
    lab.ok(&["stop", "box"]);
    lab.ok(&["start", "box"]);
    assert_eq!(lab.ok(&["exec", "box", "cat", "/root/file", "/workspace/file"]), "kept\nkept\n");
    // It is still known, and its log is, but it doesn't run.
    let listed = lab.ok(&["ps", "box"]);
    let line = listed.lines().find(|line| line.contains(id.trim())).unwrap();
    assert!(!line.contains("running") && line.contains("SIGTERM"), "{listed}");
    let output = lab.output(["remove", "box"]);
    assert_eq!(code(&output), 125, "a running one needs --force");
    lab.ok(&["stop", "box"]);
    lab.ok(&["rm", "box"]);
    assert_eq!(lab.ok(&["list", "--quiet"]), "");
    assert_eq!(code(&lab.output(["remove", "box"])), 125);
}

#[test]
fn of_two_that_create_one_name_one_wins() {
    let Some(lab) = Lab::new("two creates") else { return };
    let arguments = [&["create", "box"], &EASY[..]].concat();
    let mut both =
        [(); 2].map(|()| lab.command(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap());
    let codes = both.each_mut().map(|child| child.wait().unwrap().code().unwrap());
    assert!(codes == [0, 125] || codes == [125, 0], "{codes:?}");
    assert_eq!(lab.ok(&["list", "--quiet"]), "box\n");
}

#[test]
fn exec_takes_folder_user_and_variables() {
    let Some(lab) = Lab::new("exec flags") else { return };
    create(&lab, "box", &["-e", "A=1"]);
    lab.ok(&["start", "box"]);
    assert_eq!(
        lab.ok(&["exec", "-w", "/tmp", "-e", "B=2", "box", "sh", "-c", "pwd; echo $A$B"]),
        "/tmp\n12\n"
    );
    assert_eq!(code(&lab.output(["exec", "box", "--", "sh", "-c", "exit 9"])), 9);
    assert_eq!(code(&lab.output(["exec", "-w", "/nowhere", "box", "true"])), 126);
    assert_eq!(code(&lab.output(["exec", "--timeout", "200ms", "box", "sleep", "60"])), 124);
    assert_eq!(lab.with_input(&["exec", "box", "cat"], b"piped").stdout, b"piped");
    assert_eq!(lab.with_input(&["attach", "box"], b"echo shell; exit 5\n").stdout, b"shell\n");
}

#[test]
fn a_detached_command_can_be_read_followed_and_killed() {
    let Some(lab) = Lab::new("detached commands") else { return };
    lab.sandbox("box");
    let id = lab.ok(&["exec", "--detach", "box", "sh", "-c", "echo one; echo two >&2; exit 6"]);
    let id = id.trim();
    let output = lab.output(["attach", "box", id]);
    assert_eq!((code(&output), &output.stdout[..], &output.stderr[..]), (6, &b"one\n"[..], &b"two\n"[..]));
    assert_eq!(lab.output(["logs", "box", id]).stdout, b"one\n");
    let log: serde_json::Value = serde_json::from_str(&lab.ok(&["logs", "box", "--json"])).unwrap();
    assert_eq!((&log["id"], &log["next_offset"], &log["stdout"]), (&id.into(), &8.into(), &"one\n".into()));
    let id = lab.ok(&["exec", "--detach", "box", "sleep", "300"]);
    let id = id.trim();
    lab.ok(&["kill", "-s", "KILL", "box", id]);
    let output = lab.output(["attach", "box", id]);
    assert_eq!(code(&output), 137, "{}", shown(&output));
}

#[test]
fn a_command_that_is_not_there_is_named_with_where_to_look() {
    let Some(lab) = Lab::new("unknown commands") else { return };
    lab.sandbox("box");
    for verb in
        [&["kill", "box", "nosuchid"][..], &["logs", "box", "nosuchid"], &["attach", "box", "nosuchid"]]
    {
        let output = lab.output(verb);
        assert_eq!(code(&output), 125, "{verb:?}: {}", shown(&output));
        let message = errors(&output);
        assert!(
            message.contains("has no command \"nosuchid\"") && message.contains("agentkernel ps box"),
            "{verb:?}: {message}"
        );
    }
    let id = lab.ok(&["exec", "--detach", "box", "sh", "-c", "exit 6"]);
    let id = id.trim();
    lab.output(["attach", "box", id]);
    let output = lab.output(["kill", "box", id]);
    assert!(errors(&output).contains("has ended already (exited 6)"), "{}", errors(&output));
    let mut joined = lab.command(["exec", "box", "sleep", "300"]).spawn().unwrap();
    let listed = || serde_json::from_str::<serde_json::Value>(&lab.ok(&["ps", "box", "--json"])).unwrap();
    let find = |all: &serde_json::Value| {
        let commands = all["commands"].as_array().unwrap().clone();
        commands
            .into_iter()
            .find(|one| one["detached"] == false)
            .map(|one| one["id"].as_str().unwrap().to_owned())
    };
    wait_until("the sleep to be listed", || find(&listed()).is_some());
    let id = find(&listed()).unwrap();
    let output = lab.output(["logs", "box", &id]);
    assert!(errors(&output).contains("--detach"), "{}", errors(&output));
    lab.ok(&["kill", "-s", "KILL", "box", &id]);
    assert_eq!(joined.wait().unwrap().code(), Some(137));
}

#[test]
fn files_are_copied_in_out_and_across() {
    let Some(lab) = Lab::new("cp") else { return };
    lab.sandbox("one");
    lab.sandbox("two");
    std::fs::create_dir(lab.project().join("src")).unwrap();
    put(&lab.project().join("src"), "a", "text");
    lab.ok(&["cp", "src", "one:/workspace"]);
    assert_eq!(lab.ok(&["exec", "one", "cat", "/workspace/src/a"]), "text");
    lab.ok(&["cp", "one:/workspace/src/.", "two:/workspace"]);
    assert_eq!(lab.ok(&["exec", "two", "cat", "/workspace/a"]), "text");
    lab.ok(&["cp", "two:/workspace/a", "back"]);
    assert_eq!(std::fs::read_to_string(lab.project().join("back")).unwrap(), "text");
    let output = lab.output(["cp", "two:/nowhere", "x"]);
    assert_eq!(code(&output), 125);
    assert!(errors(&output).contains("/nowhere") && !lab.project().join("x").exists(), "{}", errors(&output));
}

#[test]
fn files_that_the_kernel_makes_up_are_copied_with_what_they_hold() {
    let Some(lab) = Lab::new("cp of procfs") else { return };
    lab.sandbox("one");
    lab.sandbox("two");
    let read = lab.ok(&["exec", "one", "cat", "/proc/filesystems"]);
    assert!(read.contains("proc"), "{read}");
    lab.ok(&["cp", "one:/proc/filesystems", "out"]);
    assert_eq!(std::fs::read_to_string(lab.project().join("out")).unwrap(), read);
    lab.ok(&["cp", "one:/proc/filesystems", "two:/workspace/"]);
    assert_eq!(lab.ok(&["exec", "two", "cat", "/workspace/filesystems"]), read);
    lab.ok(&["exec", "one", "touch", "/workspace/empty"]);
    lab.ok(&["cp", "one:/workspace/empty", "empty"]);
    assert_eq!(std::fs::metadata(lab.project().join("empty")).unwrap().len(), 0);
    let output = lab.output(["cp", "one:/proc/sys", "folder"]);
    assert_eq!(code(&output), 125, "{}", shown(&output));
    assert!(errors(&output).contains("single files"), "{}", errors(&output));
    assert!(!lab.project().join("folder").exists());
}

#[test]
fn a_project_folder_is_shown_and_its_configuration_used() {
    let Some(lab) = Lab::new("create --dir") else { return };
    let app = lab.project().join("app");
    std::fs::create_dir(&app).unwrap();
    put(&app, "agentkernel.toml", "[sandbox]\nname = \"from-file\"\n[security]\nnetwork = false\n");
    lab.ok(&["create", "--dir", "app", "--allow-unlimited"]);
    lab.ok(&["start", "from-file"]);
    lab.ok(&["exec", "from-file", "touch", "made"]);
    assert!(app.join("made").exists());
    assert!(lab.ok(&["info", "from-file"]).contains("network       none"));
}

#[test]
fn removing_while_a_command_runs_ends_the_command() {
    let Some(lab) = Lab::new("remove under exec") else { return };
    lab.sandbox("box");
    let mut child =
        lab.command(["exec", "box", "sleep", "300"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_until("the sleep to start", || lab.ok(&["ps", "box"]).contains("sleep 300"));
    lab.ok(&["remove", "--force", "box"]);
    let status = child.wait().unwrap();
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
}

/// Asks a web server for its status line; `None` where nobody answers yet.
fn status_line(port: u16) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).ok()?;
    (!line.is_empty()).then_some(line)
}

#[test]
fn a_published_port_is_open_while_the_sandbox_runs() {
    let Some(lab) = Lab::new("published ports") else { return };
    if lab.run(&["python3", "--version"]).status.code() != Some(0) {
        println!("SKIPPED: published ports: there is no python3 to serve with");
        return;
    }
    create(&lab, "web", &["-P", "0:8000"]);
    lab.ok(&["start", "web"]);
    lab.ok(&["exec", "--detach", "web", "python3", "-m", "http.server", "8000", "--bind", "127.0.0.1"]);
    let info: serde_json::Value = serde_json::from_str(&lab.ok(&["info", "web", "--json"])).unwrap();
    let port = u16::try_from(info["published"][0]["host"].as_u64().unwrap()).unwrap();
    wait_until("the server to answer", || status_line(port).is_some());
    assert!(status_line(port).unwrap().contains("200"));
    lab.ok(&["stop", "--grace", "100ms", "web"]);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is closed with the sandbox");
}
