//! Pseudo-terminals.

use agentkernel_backend::Execution;
use agentkernel_model::{ExecRequest, Outcome, Signal, TtySize};
use tokio::io::AsyncWriteExt;

use super::super::ask::{collect, read_until, script};
use super::super::scene::Scene;

fn on_terminal(text: &str) -> ExecRequest {
    let mut wish = script(text);
    wish.tty = Some(TtySize { rows: 33, columns: 101 });
    wish.stdin = true;
    wish
}

async fn start(scene: &Scene, text: &str) -> Execution {
    let guest = scene.guest().await;
    let execution = guest.exec(&on_terminal(text)).await.expect("started");
    assert!(execution.stderr.is_none(), "a terminal has one stream");
    execution
}

pub(in super::super) async fn is_one(scene: &Scene) {
    let text = "test -t 0 && test -t 1 && test -t 2 && echo yes > /dev/tty; printf 'a\\nb' >&2";
    let mut execution = start(scene, text).await;
    let stdin = execution.stdin.take();
    let done = collect(execution).await;
    assert_eq!((done.outcome, &*done.stdout), (Outcome::Exited(0), &b"yes\r\na\r\nb"[..]));
    drop(stdin);
}

pub(in super::super) async fn has_a_size(scene: &Scene) {
    let mut execution = start(scene, "stty size; read line; stty size").await;
    read_until(&mut execution.stdout, "33 101\r\n").await;
    execution.control.resize(TtySize { rows: 50, columns: 132 }).await.expect("resized");
    let mut stdin = execution.stdin.take().expect("standard input");
    stdin.write_all(b"\n").await.expect("written");
    stdin.flush().await.expect("flushed");
    read_until(&mut execution.stdout, "50 132\r\n").await;
    assert_eq!(collect(execution).await.outcome, Outcome::Exited(0));
}

pub(in super::super) async fn tells_of_resize(scene: &Scene) {
    let text = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut execution = start(scene, text).await;
    read_until(&mut execution.stdout, "ready\r\n").await;
    execution.control.resize(TtySize { rows: 7, columns: 70 }).await.expect("resized");
    read_until(&mut execution.stdout, "7 70\r\n").await;
    assert_eq!(collect(execution).await.outcome, Outcome::Exited(0));
}

pub(in super::super) async fn interrupts(scene: &Scene) {
    let mut execution = start(scene, "echo ready; exec sleep 1000").await;
    read_until(&mut execution.stdout, "ready\r\n").await;
    let mut stdin = execution.stdin.take().expect("standard input");
    stdin.write_all(b"\x03").await.expect("written");
    stdin.flush().await.expect("flushed");
    assert_eq!(collect(execution).await.outcome, Outcome::Signaled(Signal::INT));
}

pub(in super::super) async fn ends_input(scene: &Scene) {
    let mut execution = start(scene, "echo ready; cat; echo after").await;
    read_until(&mut execution.stdout, "ready\r\n").await;
    let mut stdin = execution.stdin.take().expect("standard input");
    stdin.write_all(b"line\n\x04").await.expect("written");
    stdin.flush().await.expect("flushed");
    let seen = read_until(&mut execution.stdout, "after\r\n").await;
    assert!(String::from_utf8_lossy(&seen).contains("line\r\nline\r\n"), "echo and output: {seen:?}");
    assert_eq!(collect(execution).await.outcome, Outcome::Exited(0));
}

pub(in super::super) async fn hangs_up(scene: &Scene) {
    let guest = scene.guest().await;
    let seconds = super::super::ask::unique_sleep();
    let execution = guest.exec(&on_terminal(&format!("sleep {seconds}"))).await.expect("started");
    super::super::ask::eventually("the command", || async {
        super::super::ask::count_processes(&*guest, &seconds).await > 0
    })
    .await;
    drop(execution);
    super::super::ask::eventually("its end", || async {
        super::super::ask::count_processes(&*guest, &seconds).await == 0
    })
    .await;
}
