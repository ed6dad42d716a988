//! `run` beside a daemon that keeps boxes ready: sooner, and otherwise the same.

use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::lab::{EASY, Lab, code, errors, shown, wait_until};

/// A daemon in the foreground, killed at the end if it still lives.
struct Daemon(Child);

impl Daemon {
    fn start(lab: &Lab) -> Self {
        let child = lab
            .command(["daemon", "start", "--foreground"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the daemon", || lab.output(["pool", "status"]).status.success());
        Self(child)
    }

    /// As `kill -9` does.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

const WARM: &str = "sandbox: taken from the daemon's pool";
const COLD: &str = "sandbox: started for this run";

fn verbose(lab: &Lab, arguments: &[&str]) -> std::process::Output {
    lab.output([&["--verbose", "run"], &EASY[..], arguments].concat())
}

/// How many boxes wait, as `pool status --json` says.
fn ready(lab: &Lab) -> u64 {
    let status: serde_json::Value = serde_json::from_str(&lab.ok(&["pool", "status", "--json"])).unwrap();
    let kinds = status["templates"].as_array().unwrap();
    kinds.iter().map(|kind| kind["ready"].as_u64().unwrap()).sum()
}

fn leases(lab: &Lab) -> usize {
    let entries = std::fs::read_dir(lab.state().join("leases"));
    entries.map_or(0, |entries| entries.count())
}

/// Folders of control groups that carry one of these names.
fn groups(names: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        for parent in
            [hierarchy.path().join("agentkernel"), Path::new("/sys/fs/cgroup/agentkernel").to_owned()]
        {
            found.extend(names.iter().filter(|name| parent.join(name).exists()).cloned());
        }
    }
    found
}

#[test]
fn a_run_takes_a_box_that_waits_and_is_the_same_but_for_that() {
    let Some(lab) = Lab::new("a_run_takes_a_box_that_waits") else { return };
    let script = "echo out; echo err >&2; echo $GREETING; pwd; hostname; cat; exit 7";
    let arguments = ["-e", "GREETING=hello", "--", "sh", "-c", script];
    let cold = verbose(&lab, &arguments);
    assert!(errors(&cold).contains(COLD), "{}", shown(&cold));
    let _daemon = Daemon::start(&lab);
    let learnt = verbose(&lab, &arguments);
    assert!(errors(&learnt).contains(COLD), "{}", shown(&learnt));
    wait_until("boxes that wait", || ready(&lab) >= 2);
    let warm = verbose(&lab, &arguments);
    assert!(errors(&warm).contains(WARM), "{}", shown(&warm));
    assert_eq!((warm.status, &warm.stdout), (cold.status, &cold.stdout));
    assert_eq!(errors(&warm).replace(WARM, COLD), errors(&cold), "the isolation too");
    // Each once: the next one sees nothing of this one.
    for _ in 0..4 {
        wait_until("boxes that wait", || ready(&lab) >= 1);
        let fresh = verbose(&lab, &["--", "sh", "-c", "test ! -e /tmp/used && touch /tmp/used"]);
        assert_eq!(fresh.status.code(), Some(0), "{}", shown(&fresh));
        assert!(errors(&fresh).contains(WARM), "{}", shown(&fresh));
    }
    wait_until("nothing but what waits", || leases(&lab) as u64 == ready(&lab));
    // Another kind is never served with this one.
    let other = verbose(&lab, &["--profile", "restrictive", "true"]);
    assert!(errors(&other).contains(COLD), "{}", shown(&other));
    let drained = lab.ok(&["pool", "drain"]);
    assert!(drained.ends_with(" ended\n"), "{drained}");
    assert_eq!((ready(&lab), leases(&lab)), (0, 0));
    let warmed = lab.output(["pool", "warm", "3"]);
    if errors(&warmed).contains("can't enforce or provide") {
        // Limits of the profile, for a user who may not make control groups: refused as a run would be.
        assert_eq!((code(&warmed), ready(&lab)), (125, 0), "{}", shown(&warmed));
        return;
    }
    assert_eq!((code(&warmed), ready(&lab)), (0, 3), "{}", shown(&warmed));
}

#[test]
fn a_killed_daemon_leaves_nothing_and_takes_nobody_along() {
    let Some(lab) = Lab::new("a_killed_daemon_leaves_nothing") else { return };
    let daemon = Daemon::start(&lab);
    lab.run(&["true"]);
    wait_until("boxes that wait", || ready(&lab) >= 2);
    let mut running = lab
        .command(
            [&["--verbose", "run"], &EASY[..], &["--", "sh", "-c", "echo begun; cat; echo done"]].concat(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = [0; 6];
    std::io::Read::read_exact(running.stdout.as_mut().unwrap(), &mut begun).unwrap();
    let names: Vec<String> = std::fs::read_dir(lab.state().join("leases"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    daemon.kill();
    drop(running.stdin.take());
    let output = running.wait_with_output().unwrap();
    assert!(errors(&output).contains(WARM), "{}", shown(&output));
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"done\n"[..]));
    // The next command clears away what waited, and needs no daemon.
    let next = verbose(&lab, &["true"]);
    assert!(errors(&next).contains(COLD), "{}", shown(&next));
    assert_eq!((leases(&lab), groups(&names)), (0, Vec::new()));
    let refused = lab.output(["pool", "status"]);
    assert!(errors(&refused).contains("no daemon answers"), "{}", shown(&refused));
}

#[test]
fn a_killed_run_takes_its_box_along() {
    let Some(lab) = Lab::new("a_killed_run_takes_its_box_along") else { return };
    let _daemon = Daemon::start(&lab);
    lab.run(&["true"]);
    wait_until("boxes that wait", || ready(&lab) >= 2);
    let seconds = format!("7{:05}.25", std::process::id() % 100_000);
    let mut running = lab
        .command([&["--verbose", "run"], &EASY[..], &["sleep", &seconds]].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let alive = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.any(|line| line == format!("sleep\0{seconds}\0").into_bytes())
    };
    let mut said = std::io::BufReader::new(running.stderr.take().unwrap()).lines().map(Result::unwrap);
    let sandbox = said.find(|line| line.contains("sandbox: ")).unwrap();
    assert!(sandbox.contains(WARM), "{sandbox}");
    wait_until("the command", alive);
    running.kill().unwrap();
    running.wait().unwrap();
    wait_until("the end of the command", || !alive());
    lab.ok(&["list"]);
    wait_until("nothing but what waits", || leases(&lab) as u64 == ready(&lab));
}
