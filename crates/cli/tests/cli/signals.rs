//! Signals reach the command; its death is ours; nothing outlives a killed caller.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{EASY, Lab, wait_until};

/// `run` of a shell script that says "ready" when signals may come.
fn ready(lab: &Lab, script: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = lab
        .command([&["run"], &EASY[..], &["sh", "-c", script]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, lines)
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
}

const WAITING: &str = "echo ready; while :; do sleep 0.02; done";

#[test]
fn each_signal_is_passed_on() {
    let Some(lab) = Lab::new("signals") else { return };
    for (signal, name, number) in [
        (Signal::INT, "INT", 2),
        (Signal::TERM, "TERM", 15),
        (Signal::HUP, "HUP", 1),
        (Signal::QUIT, "QUIT", 3),
        (Signal::USR1, "USR1", 10),
        (Signal::USR2, "USR2", 12),
    ] {
        let (mut child, _) = ready(&lab, &format!("trap 'exit 40' {name}; {WAITING}"));
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(40), "caught SIG{name}");
        if name != "QUIT" {
            let (mut child, _) = ready(&lab, WAITING);
            send(&child, signal);
            assert_eq!(child.wait().unwrap().code(), Some(128 + number), "uncaught SIG{name}");
        }
    }
}

#[test]
fn a_second_interrupt_kills_what_ignores_the_first() {
    let Some(lab) = Lab::new("two interrupts") else { return };
    let (mut child, mut lines) =
        ready(&lab, "trap 'echo caught' INT; echo ready; while :; do sleep 0.02; done");
    send(&child, Signal::INT);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "caught\n");
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

#[test]
fn what_was_ignored_at_the_start_stays_ignored() {
    let Some(lab) = Lab::new("nohup") else { return };
    // As `nohup` and the `&` of a script start their commands.
    let shell = ["-c", "trap '' INT; exec \"$0\" \"$@\"", crate::lab::PROGRAM, "run"];
    let script = "trap 'exit 40' INT; echo ready; read line; exit 0";
    let mut wrapped = std::process::Command::new("/bin/sh");
    wrapped.args(shell).args(EASY).args(["sh", "-c", script]).env_clear();
    for (name, value) in lab.command([""; 0]).get_envs() {
        wrapped.env(name, value.unwrap());
    }
    let mut child = wrapped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    send(&child, Signal::INT);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_killed_caller_takes_its_box_with_it() {
    let Some(lab) = Lab::new("kill -9 of the caller") else { return };
    // Unique among all processes of the machine, and visible from outside of the box.
    let mark = format!("{}.7", 100_000 + std::process::id());
    let (mut child, _) = ready(&lab, &format!("echo ready; exec sleep {mark}"));
    wait_until("the sleep to start", || running(&mark));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the sleep to end", || !running(&mark));
    lab.ok(&["list"]);
}

fn running(mark: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).eq([b"sleep", mark.as_bytes(), b""])
    })
}
