//! Crash suite: the command line is killed (SIGKILL) at every system call of every verb, and at random moments; the next
//! command must find and remove all that was left. strace(1) does the killing: it needs no help from the program.

#![cfg(test)]

mod census;
mod victim;

use census::Census;
use victim::Machine;

/// Kills one invocation at each of its system calls in turn.
fn sweep(machine: &Machine, prepare: &dyn Fn(), arguments: &[&str]) {
    prepare();
    let calls = machine.calls(arguments);
    remove(machine);
    for call in calls.iter().step_by(machine.stride()) {
        prepare();
        machine.killed_at(call, arguments);
        let recovered = machine.run(&["list", "--json"]);
        assert!(recovered.status.success(), "{arguments:?} killed at {call:?}: {recovered:?}");
        remove(machine);
    }
    println!("{arguments:?}: {} system calls, killed at every {}.", calls.len(), machine.stride());
}

/// Brings the sandbox of a sweep back to nothing, whatever state a kill has left it in.
fn remove(machine: &Machine) {
    let removed = machine.run(&["remove", "--force", "box"]);
    let text = String::from_utf8_lossy(&removed.stderr).into_owned();
    assert!(removed.status.success() || text.contains("does not exist"), "{removed:?}");
}

fn each_step(name: &str, prepare: &[&[&str]], arguments: &[&str]) {
    let Some(machine) = Machine::new(name) else { return };
    let before = Census::take(&machine.state);
    let prepare_all = || {
        for step in prepare {
            let output = machine.run(step);
            assert!(output.status.success(), "{step:?}: {output:?}");
        }
    };
    sweep(&machine, &prepare_all, arguments);
    before.assert_same(&machine.state);
}

const CREATE: &[&str] = &["create", "box", "--no-network"];
const START: &[&str] = &["start", "box"];

#[test]
fn run_killed_at_every_step() {
    each_step("run", &[], &["run", "--no-network", "--", "true"]);
}

#[test]
fn run_with_a_name_killed_at_every_step() {
    each_step("run-name", &[], &["run", "--no-network", "--name", "box", "--", "true"]);
}

#[test]
fn create_killed_at_every_step() {
    each_step("create", &[], CREATE);
}

#[test]
fn start_killed_at_every_step() {
    each_step("start", &[CREATE], START);
}

#[test]
fn exec_killed_at_every_step() {
    each_step("exec", &[CREATE, START], &["exec", "box", "--", "sleep", "0.01"]);
}

#[test]
fn stop_killed_at_every_step() {
    each_step("stop", &[CREATE, START], &["stop", "box"]);
}

#[test]
fn remove_killed_at_every_step() {
    each_step("remove", &[CREATE, START], &["remove", "--force", "box"]);
}

#[test]
fn random_kills_leave_nothing() {
    let Some(machine) = Machine::new("random") else { return };
    let before = Census::take(&machine.state);
    let network = if machine.has_network() { "--network" } else { "--no-network" };
    let verbs: [&[&str]; 6] = [
        &["run", network, "--", "sleep", "0.005"],
        &["run", network, "--name", "box", "--", "true"],
        &["create", "box", network],
        START,
        &["exec", "box", "--", "sleep", "0.005"],
        &["remove", "--force", "box"],
    ];
    let kills = machine.random_kills();
    let mut random = victim::Random::seeded(kills);
    for round in 0..kills {
        let verb = verbs[round as usize % verbs.len()];
        machine.killed_after(random.below(25_000), verb);
    }
    remove(&machine);
    assert!(machine.run(&["list"]).status.success());
    before.assert_same(&machine.state);
    println!("{kills} random kills left nothing");
}
