//! What other programs of this kind get wrong: one test each, in a container image, with the native backend and with the
//! engine whose socket `AGENTKERNEL_TEST_DOCKER` or `AGENTKERNEL_TEST_PODMAN` names.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::image_archive::{Archive, Layer};
use crate::lab::{Lab, code, errors, shown, wait_until};

/// On engines the test bed has loaded it; the native store imports the tests' own.
const IMAGE: &str = "agentkernel-test/busybox:1";

/// One backend to try.
struct Stage {
    lab: Lab,
    backend: &'static str,
    host: Option<(&'static str, String)>,
}

impl Stage {
    /// Every one that is here.
    fn all(test: &str) -> Vec<Self> {
        let native = Lab::new(test).and_then(|lab| {
            let archive = Archive::small_system(test)?;
            let path = archive.save(&lab.project(), IMAGE);
            lab.ok(&["image", "import", path.to_str().unwrap()]);
            std::fs::remove_file(path).unwrap();
            Some(Self { lab, backend: "native", host: None })
        });
        let engine = |backend, bed: &str, variable| {
            let Some(socket) = std::env::var(bed).ok().filter(|socket| !socket.is_empty()) else {
                println!("SKIPPED: {test} with {backend}: {bed} is not set");
                return None;
            };
            let host = Some((variable, format!("unix://{socket}")));
            let stage = Self { lab: Lab::without_sandboxes(), backend, host };
            let output = stage.run(&["true"]);
            assert!(output.status.success(), "{test} with {backend}: {}", shown(&output));
            Some(stage)
        };
        let docker = engine("docker", "AGENTKERNEL_TEST_DOCKER", "DOCKER_HOST");
        let podman = engine("podman", "AGENTKERNEL_TEST_PODMAN", "CONTAINER_HOST");
        [native, docker, podman].into_iter().flatten().collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.command(arguments);
        command.env("AGENTKERNEL_BACKEND", self.backend).env("AGENTKERNEL_ALLOW_UNLIMITED", "true");
        command.env("AGENTKERNEL_IMAGE", IMAGE).env("AGENTKERNEL_PULL", "never");
        command.env("AGENTKERNEL_NETWORK", "false");
        if let Some((variable, host)) = &self.host {
            command.env(variable, host);
        }
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.output(&[&["run"], arguments].concat())
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{}: {arguments:?}: {}", self.backend, shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The engine's containers with this label, running or not; none where there is no engine.
    fn containers(&self, label: &str) -> Vec<Value> {
        let Some((_, host)) = &self.host else { return Vec::new() };
        let filter = format!("%7B%22label%22%3A%5B%22{label}%22%5D%7D");
        let request =
            format!("GET /containers/json?all=1&filters={filter} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let mut stream = UnixStream::connect(host.strip_prefix("unix://").unwrap()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let list = &body[body.find('[').unwrap()..=body.rfind(']').unwrap()];
        serde_json::from_str(list).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// The ids of all containers of this test's state folder but that of the sandbox `probe`.
    fn others_than(&self, probe: &str) -> Vec<String> {
        let known = self.containers(&format!("agentkernel.name%3D{probe}"));
        let Some(known) = known.first() else {
            assert!(self.host.is_none(), "{}: the sandbox {probe} has no container", self.backend);
            return Vec::new();
        };
        let owner = known["Labels"]["agentkernel.owner"].as_str().unwrap();
        let all = self.containers(&format!("agentkernel.owner%3D{owner}"));
        assert!(all.iter().any(|one| one["Id"] == known["Id"]), "{}: {all:?}", self.backend);
        all.iter().filter(|one| one["Id"] != known["Id"]).map(|one| one["Id"].to_string()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let names = self.output(&["list", "--quiet"]).stdout;
        for name in String::from_utf8_lossy(&names).lines() {
            let output = self.output(&["remove", "--force", name]);
            if !output.status.success() {
                println!("{name} could not be removed: {}", shown(&output));
            }
        }
    }
}

#[test]
fn exit_codes_are_the_commands_own_and_never_an_error_of_ours() {
    for stage in Stage::all("exit codes") {
        for (script, expected) in
            [("exit 0", 0), ("exit 1", 1), ("exit 7", 7), ("exit 125", 125), ("kill -TERM $$", 143)]
        {
            let output = stage.run(&["sh", "-c", script]);
            assert_eq!(code(&output), expected, "{} {script}: {}", stage.backend, shown(&output));
            assert_eq!(errors(&output), "", "{} {script}", stage.backend);
        }
        assert_eq!(code(&stage.run(&["no-such-program"])), 127, "{}", stage.backend);
        assert_eq!(code(&stage.run(&["/etc/passwd"])), 126, "{}", stage.backend);
        assert_eq!(code(&stage.run(&["--timeout", "300ms", "sleep", "60"])), 124, "{}", stage.backend);
        stage.ok(&["create", "codes"]);
        stage.ok(&["start", "codes"]);
        assert_eq!(code(&stage.output(&["exec", "codes", "sh", "-c", "exit 9"])), 9, "{}", stage.backend);
    }
}

#[test]
fn output_and_errors_are_apart_binary_and_streamed() {
    for stage in Stage::all("streams") {
        let output = stage.run(&["sh", "-c", "printf 'o\\377\\000\\n'; printf 'e\\376\\n' >&2; exit 3"]);
        assert_eq!(output.stdout, b"o\xff\0\n", "{}: {}", stage.backend, shown(&output));
        assert_eq!(output.stderr, b"e\xfe\n", "{}", stage.backend);
        // The first line arrives while the command waits for what depends on it.
        let mut child = stage
            .command(&["run", "sh", "-c", "echo ready; read answer; echo got $answer"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready", "{}", stage.backend);
        child.stdin.take().unwrap().write_all(b"it\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "got it", "{}", stage.backend);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn words_are_passed_on_and_never_joined_for_a_shell() {
    for stage in Stage::all("quoting") {
        let odd =
            ["", " ", "a b", "$(id)", "`id`", "'", "\"", "\\", "*", ";true", "--", "-x", "\n", "___DONE___"];
        let output = stage.run(&[&["--", "printf", "[%s]"], &odd[..]].concat());
        let expected: String = odd.iter().map(|word| format!("[{word}]")).collect();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{}: {}",
            stage.backend,
            shown(&output)
        );
    }
}

#[test]
fn a_stop_keeps_files_and_a_start_brings_them_back() {
    for stage in Stage::all("files over a stop") {
        stage.ok(&["create", "keeper"]);
        stage.ok(&["start", "keeper"]);
        stage.ok(&["exec", "keeper", "sh", "-c", "echo kept > /root/file; mkdir /made; rm /bin/wc"]);
        stage.ok(&["stop", "--grace", "1s", "keeper"]);
        stage.ok(&["start", "keeper"]);
        let script = "cat /root/file; ls -d /made; test -e /bin/wc || echo gone";
        assert_eq!(
            stage.ok(&["exec", "keeper", "sh", "-c", script]),
            "kept\n/made\ngone\n",
            "{}",
            stage.backend
        );
    }
}

#[test]
fn a_name_is_a_whole_name_and_no_part_of_another() {
    for stage in Stage::all("names") {
        for name in ["foo", "foo-2", "2foo"] {
            stage.ok(&["create", name]);
        }
        stage.ok(&["start", "foo-2"]);
        let status = |name: &str| {
            let info: Value = serde_json::from_str(&stage.ok(&["info", name, "--json"])).unwrap();
            info["status"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            ["foo", "foo-2", "2foo"].map(status),
            ["stopped", "running", "stopped"],
            "{}",
            stage.backend
        );
        let output = stage.output(&["exec", "foo", "true"]);
        assert!(errors(&output).contains("start it with"), "{}: {}", stage.backend, shown(&output));
        stage.ok(&["remove", "foo"]);
        assert_eq!(stage.ok(&["exec", "foo-2", "echo", "alive"]), "alive\n", "{}", stage.backend);
    }
}

#[test]
fn each_flag_of_a_profile_does_what_it_says() {
    for stage in Stage::all("profile flags") {
        let script =
            "(touch /root/here && echo root) 2>/dev/null; (touch /tmp/here && echo tmp) 2>/dev/null; id -u";
        let said = |flags: &[&str]| {
            let output = stage.run(&[flags, &["--", "sh", "-c", script]].concat());
            assert!(output.status.success(), "{} {flags:?}: {}", stage.backend, shown(&output));
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(said(&[]), "root\ntmp\n0\n", "{}", stage.backend);
        assert_eq!(said(&["--profile", "restrictive"]), "tmp\n0\n", "{}: read-only root", stage.backend);
        assert_eq!(said(&["--read-only"]), "tmp\n0\n", "{}", stage.backend);
        assert_eq!(
            said(&["--profile", "restrictive", "--no-read-only"]),
            "root\ntmp\n0\n",
            "{}",
            stage.backend
        );
        assert_eq!(said(&["--user", "user"]), "tmp\n1000\n", "{}", stage.backend);
        let status = stage.run(&["cat", "/proc/self/status"]);
        let status = String::from_utf8(status.stdout).unwrap();
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "{}: {line} in {status}", stage.backend);
        }
        let output = stage.run(&["--profile", "strict", "true"]);
        assert_eq!(code(&output), 125, "an unknown profile is no profile");
        let interfaces = stage.run(&["ls", "/sys/class/net"]);
        let interfaces = String::from_utf8_lossy(&interfaces.stdout).into_owned();
        assert!(!interfaces.contains("eth"), "{}: {interfaces}", stage.backend);
    }
}

#[test]
fn a_named_limit_beats_the_profiles() {
    for stage in Stage::all("named limits") {
        let flags = ["run", "--json", "--profile", "restrictive", "--memory", "777m", "--pids", "55", "true"];
        let mut command = stage.command(&flags);
        let output = command.env("AGENTKERNEL_ALLOW_UNLIMITED", "true").output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let isolation = said["isolation"].to_string();
        let let_go = said["isolation"]["not_enforced"].to_string().contains("memory");
        assert!(let_go || isolation.contains("777 MiB"), "{}: {isolation}", stage.backend);
        stage.ok(&["create", "limited", "--memory", "777m", "--profile", "restrictive"]);
        let info: Value = serde_json::from_str(&stage.ok(&["info", "limited", "--json"])).unwrap();
        assert_eq!(info["spec"]["resources"]["memory"], 777, "{}: {info}", stage.backend);
    }
}

#[test]
fn nothing_is_left_of_a_run_however_it_ends() {
    for stage in Stage::all("leftovers") {
        // By this one's labels the engine's other users are told from us.
        let probe = format!("probe-{}", std::process::id());
        stage.ok(&["create", &probe]);
        let nothing = || stage.others_than(&probe).is_empty();
        stage.run(&["true"]);
        stage.run(&["sh", "-c", "exit 3"]);
        stage.run(&["no-such-program"]);
        stage.run(&["--timeout", "200ms", "sleep", "60"]);
        assert!(nothing(), "{}", stage.backend);
        // A killed owner leaves nothing that the next command doesn't clear away.
        let script = "echo up; sleep 600";
        let mut child = stage.command(&["run", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "up", "{}", stage.backend);
        assert_eq!(nothing(), stage.host.is_none(), "{}: it is seen while it lives", stage.backend);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("the killed run's box to go", || {
            stage.ok(&["list"]);
            nothing()
        });
    }
}

#[test]
fn layers_lie_in_order_and_whiteouts_hide() {
    let Some(lab) = Lab::new("layers") else { return };
    let Some(archive) = Archive::small_system("layers") else { return };
    let archive = archive
        .with(
            Layer::new()
                .folder("data", 0o755, 0)
                .file("data/kept", b"lower")
                .file("data/replaced", b"lower")
                .file("data/gone", b"lower")
                .folder("data/opaque", 0o755, 0)
                .file("data/opaque/old", b"lower")
                .folder("data/becomes-file", 0o755, 0)
                .file("data/becomes-file/x", b"lower"),
        )
        .with(
            Layer::new()
                .folder("data", 0o755, 0)
                .file("data/replaced", b"upper")
                .file("data/.wh.gone", b"")
                .folder("data/opaque", 0o755, 0)
                .file("data/opaque/.wh..wh..opq", b"")
                .file("data/opaque/new", b"upper")
                .file("data/becomes-file", b"upper"),
        )
        .with(Layer::new().folder("data", 0o755, 0).file("data/gone", b"back"));
    let path = archive.save(&lab.project(), "layers:1");
    lab.ok(&["image", "import", path.to_str().unwrap()]);
    let script =
        "cd /data; for file in *; do echo $file; done; cat kept replaced gone becomes-file; ls opaque";
    let output = lab.run(&["--image", "layers:1", "sh", "-c", script]);
    let expected = "becomes-file\ngone\nkept\nopaque\nreplaced\nlowerupperbackuppernew\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", shown(&output));
}
