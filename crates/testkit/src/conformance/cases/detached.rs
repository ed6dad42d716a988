//! Commands that outlive their client, and their logs.

use std::time::Duration;

use agentkernel_backend::{BackendError, ExecutionState, Guest};
use agentkernel_model::{ExecId, ExecRequest, Outcome, Signal};
use tokio::io::AsyncReadExt;

use super::super::ask::{
    content, count_processes, eventually, path, read_all, read_until, request, script, sequence,
    unique_sleep, within,
};
use super::super::scene::Scene;

const LIMIT: u64 = 1 << 20;

fn detached(text: &str) -> ExecRequest {
    let mut wish = script(text);
    wish.detached_log_limit = Some(LIMIT);
    wish
}

/// Starts a detached command and lets go of it at once.
async fn start(guest: &dyn Guest, wish: &ExecRequest) -> ExecId {
    let execution = within("the start of a command", guest.exec(wish)).await.expect("started");
    execution.id.clone()
}

pub(in super::super) async fn has_a_log(scene: &Scene) {
    let guest = scene.guest().await;
    let id = start(&*guest, &detached("printf out; printf err >&2; exit 3")).await;
    assert_eq!(within("the end", guest.wait(&id)).await.expect("an outcome"), Outcome::Exited(3));
    let log = guest.logs(&id, 0, false).await.expect("a log");
    assert_eq!((log.start, log.state), (0, ExecutionState::Ended(Outcome::Exited(3))));
    assert_eq!(read_all(log.stdout).await, b"out");
    assert_eq!(read_all(log.stderr).await, b"err");
}

pub(in super::super) async fn outlives_its_client(scene: &Scene) {
    let guest = scene.guest().await;
    let text = "until test -e /tmp/go; do sleep 0.02; done; echo alive";
    let id = start(&*guest, &detached(text)).await;
    let list = guest.executions().await.expect("a list");
    let info = list.iter().find(|info| info.id == id).expect("listed");
    assert!(info.detached && info.state == ExecutionState::Running, "{info:?}");
    guest.write_file(&path("/tmp/go"), None, content("")).await.expect("written");
    assert_eq!(within("the end", guest.wait(&id)).await.expect("an outcome"), Outcome::Exited(0));
    let log = guest.logs(&id, 0, false).await.expect("a log");
    assert_eq!(read_all(log.stdout).await, b"alive\n");
    let list = guest.executions().await.expect("a list");
    let info = list.iter().find(|info| info.id == id).expect("listed after its end");
    assert_eq!(info.state, ExecutionState::Ended(Outcome::Exited(0)));
}

pub(in super::super) async fn log_from_offset(scene: &Scene) {
    let guest = scene.guest().await;
    let id = start(&*guest, &detached("printf 0123456789")).await;
    within("the end", guest.wait(&id)).await.expect("an outcome");
    for (offset, rest) in [(0, "0123456789"), (4, "456789"), (10, "")] {
        let log = guest.logs(&id, offset, false).await.expect("a log");
        assert_eq!(log.start, offset);
        assert_eq!(read_all(log.stdout).await, rest.as_bytes(), "from {offset}");
        assert!(read_all(log.stderr).await.is_empty());
    }
    let beyond = guest.logs(&id, 11, false).await.map(drop);
    assert!(matches!(beyond, Err(BackendError::Invalid { .. })), "beyond its end: {beyond:?}");
}

pub(in super::super) async fn log_is_followed(scene: &Scene) {
    let guest = scene.guest().await;
    let text = "echo first; until test -e /tmp/go; do sleep 0.02; done; echo last; echo err >&2";
    let id = start(&*guest, &detached(text)).await;
    let mut log = guest.logs(&id, 0, true).await.expect("a log");
    assert_eq!(read_until(&mut log.stdout, "first\n").await, b"first\n");
    let early = tokio::time::timeout(Duration::from_millis(100), log.stdout.read_u8()).await;
    assert!(early.is_err(), "more output than was written: {early:?}");
    guest.write_file(&path("/tmp/go"), None, content("")).await.expect("written");
    assert_eq!(read_all(log.stdout).await, b"last\n");
    assert_eq!(read_all(log.stderr).await, b"err\n");
    assert_eq!(within("the end", guest.wait(&id)).await.expect("an outcome"), Outcome::Exited(0));
}

pub(in super::super) async fn log_without_follow_ends(scene: &Scene) {
    let guest = scene.guest().await;
    let id = start(&*guest, &detached("echo first; exec sleep 1000")).await;
    eventually("the first line", || async {
        let log = guest.logs(&id, 0, false).await.expect("a log");
        assert_eq!(log.state, ExecutionState::Running);
        read_all(log.stdout).await == b"first\n"
    })
    .await;
    guest.kill(&id, Signal::KILL).await.expect("killed");
    within("the end", guest.wait(&id)).await.expect("an outcome");
}

pub(in super::super) async fn log_is_bounded(scene: &Scene) {
    let guest = scene.guest().await;
    let mut wish = request(&["seq", "1", "1000000"]);
    wish.detached_log_limit = Some(LIMIT);
    let id = start(&*guest, &wish).await;
    assert_eq!(within("the end", guest.wait(&id)).await.expect("an outcome"), Outcome::Exited(0));
    let log = guest.logs(&id, 0, false).await.expect("a log");
    let start = log.start;
    let kept = read_all(log.stdout).await;
    let all = sequence(1_000_000);
    assert!(
        start > 0 && kept.len() as u64 <= LIMIT && kept.len() as u64 >= LIMIT / 4,
        "{start} {}",
        kept.len()
    );
    assert!(kept == all[start as usize..], "the newest bytes, at the offset that is stated");
}

pub(in super::super) async fn can_be_killed(scene: &Scene) {
    let guest = scene.guest().await;
    let seconds = unique_sleep();
    let id = start(&*guest, &detached(&format!("(sleep {seconds} &) ; sleep {seconds}"))).await;
    eventually("its processes", || async {
        count_processes(&*guest, &format!("sleep {seconds}")).await >= 2
    })
    .await;
    guest.kill(&id, Signal::KILL).await.expect("killed");
    let outcome = within("the end", guest.wait(&id)).await.expect("an outcome");
    assert_eq!(outcome, Outcome::Signaled(Signal::KILL));
    eventually("none of the tree", || async { count_processes(&*guest, &seconds).await == 0 }).await;
}

pub(in super::super) async fn keeps_its_timeout(scene: &Scene) {
    let guest = scene.guest().await;
    let mut wish = detached("exec sleep 1000");
    wish.timeout = Some(Duration::from_millis(200));
    let id = start(&*guest, &wish).await;
    assert_eq!(within("the end", guest.wait(&id)).await.expect("an outcome"), Outcome::TimedOut);
}

pub(in super::super) async fn attached_has_no_log(scene: &Scene) {
    let guest = scene.guest().await;
    let execution = guest.exec(&request(&["sleep", "1000"])).await.expect("started");
    let log = guest.logs(&execution.id, 0, false).await.map(drop);
    assert!(log.is_err(), "a log of a command that has none");
}

pub(in super::super) async fn seen_by_another_process(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let text = "echo first; until test -e /tmp/go; do sleep 0.02; done; echo last; exit 6";
    let id = start(&*guest, &detached(text)).await;
    drop(guest);
    let other = scene.another_process().connect(&record).await.expect("connected");
    let mut log = other.logs(&id, 0, true).await.expect("a log");
    read_until(&mut log.stdout, "first\n").await;
    other.write_file(&path("/tmp/go"), None, content("")).await.expect("written");
    assert_eq!(read_all(log.stdout).await, b"last\n");
    assert_eq!(within("the end", other.wait(&id)).await.expect("an outcome"), Outcome::Exited(6));
}
