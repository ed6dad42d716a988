//! Commands that are ended: by signals, time, or by letting them go.

use std::time::{Duration, Instant};

use agentkernel_model::{Outcome, Signal};

use super::super::ask::{
    collect, count_processes, eventually, read_until, request, run, script, shell, unique_sleep, within,
};
use super::super::scene::Scene;

pub(in super::super) async fn signals_arrive(scene: &Scene) {
    let guest = scene.guest().await;
    for number in [1, 2, 3, 9, 10, 15] {
        let signal = Signal::try_from(number).expect("a signal");
        let execution = guest.exec(&request(&["sleep", "1000"])).await.expect("started");
        execution.control.signal(signal).await.expect("sent");
        assert_eq!(collect(execution).await.outcome, Outcome::Signaled(signal));
    }
}

pub(in super::super) async fn signals_can_be_caught(scene: &Scene) {
    let guest = scene.guest().await;
    let text = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut execution = guest.exec(&script(text)).await.expect("started");
    read_until(&mut execution.stdout, "ready\n").await;
    execution.control.signal(Signal::TERM).await.expect("sent");
    let done = collect(execution).await;
    assert_eq!((done.outcome, &*done.stdout), (Outcome::Exited(3), &b"caught\n"[..]));
}

pub(in super::super) async fn signal_by_id(scene: &Scene) {
    let guest = scene.guest().await;
    let execution = guest.exec(&request(&["sleep", "1000"])).await.expect("started");
    // Asked for before the end: an attached command that has ended is forgotten.
    let (outcome, sent) = within("the end", async {
        tokio::join!(guest.wait(&execution.id), guest.kill(&execution.id, Signal::TERM))
    })
    .await;
    sent.expect("sent");
    let outcome = outcome.expect("an outcome");
    assert_eq!(outcome, Outcome::Signaled(Signal::TERM));
    assert_eq!(collect(execution).await.outcome, outcome);
}

pub(in super::super) async fn signal_after_end(scene: &Scene) {
    let guest = scene.guest().await;
    let execution = guest.exec(&request(&["true"])).await.expect("started");
    within("the end", execution.control.wait()).await.expect("an outcome");
    // Too late is no error worth stopping for; both answers are right, hanging or hitting another process is not.
    drop(within("an answer", execution.control.signal(Signal::KILL)).await);
    assert_eq!(within("again", execution.control.wait()).await.expect("an outcome"), Outcome::Exited(0));
    assert_eq!(collect(execution).await.outcome, Outcome::Exited(0));
    assert_eq!(shell(&*guest, "echo fine").await, "fine\n");
}

pub(in super::super) async fn wait_again(scene: &Scene) {
    let guest = scene.guest().await;
    let execution = guest.exec(&script("exit 9")).await.expect("started");
    for _ in 0..3 {
        let outcome = within("the end", execution.control.wait()).await.expect("an outcome");
        assert_eq!(outcome, Outcome::Exited(9));
    }
    collect(execution).await;
}

pub(in super::super) async fn kill_takes_the_tree(scene: &Scene) {
    let guest = scene.guest().await;
    let seconds = unique_sleep();
    // A child, a grandchild whose parent is gone, and one in a session of its own.
    let text = format!("sleep {seconds} & (sleep {seconds} &) ; setsid sleep {seconds} & echo ready; wait");
    let mut execution = guest.exec(&script(&text)).await.expect("started");
    read_until(&mut execution.stdout, "ready\n").await;
    eventually("three sleeping processes", || async {
        count_processes(&*guest, &format!("sleep {seconds}")).await >= 3
    })
    .await;
    execution.control.signal(Signal::KILL).await.expect("sent");
    let outcome = within("the end", execution.control.wait()).await.expect("an outcome");
    assert_eq!(outcome, Outcome::Signaled(Signal::KILL));
    eventually("none of the tree", || async { count_processes(&*guest, &seconds).await == 0 }).await;
}

pub(in super::super) async fn timeout_takes_the_tree(scene: &Scene) {
    let guest = scene.guest().await;
    let seconds = unique_sleep();
    let mut wish = script(&format!("echo before; (sleep {seconds} &) ; sleep {seconds}"));
    wish.timeout = Some(Duration::from_millis(300));
    let started = Instant::now();
    let done = run(&*guest, &wish).await;
    assert_eq!((done.outcome, done.outcome.exit_code()), (Outcome::TimedOut, 124));
    assert_eq!(done.stdout, b"before\n");
    assert!(started.elapsed() >= Duration::from_millis(300), "killed before its time");
    eventually("none of the tree", || async { count_processes(&*guest, &seconds).await == 0 }).await;
}

pub(in super::super) async fn timeout_not_reached(scene: &Scene) {
    let guest = scene.guest().await;
    let mut wish = script("exit 4");
    wish.timeout = Some(Duration::from_secs(600));
    assert_eq!(run(&*guest, &wish).await.outcome, Outcome::Exited(4));
}

pub(in super::super) async fn dropped_is_killed(scene: &Scene) {
    let guest = scene.guest().await;
    let seconds = unique_sleep();
    let execution =
        guest.exec(&script(&format!("sleep {seconds} & sleep {seconds}"))).await.expect("started");
    eventually("both processes", || async {
        count_processes(&*guest, &format!("sleep {seconds}")).await >= 2
    })
    .await;
    drop(execution);
    eventually("none of them", || async { count_processes(&*guest, &seconds).await == 0 }).await;
}

pub(in super::super) async fn zombies_are_reaped(scene: &Scene) {
    let guest = scene.guest().await;
    for _ in 0..20 {
        shell(&*guest, "(sleep 0.01 &) ; true").await;
    }
    eventually("no zombie", || async {
        guest.processes().await.expect("a list").iter().all(|process| process.state != 'Z')
    })
    .await;
}
