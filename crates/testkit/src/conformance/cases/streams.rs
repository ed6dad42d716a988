//! Standard input, output and error: exact, apart, bounded.

use std::time::Duration;

use agentkernel_model::{Outcome, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::ask::{collect, pattern, request, run, script, sequence, within};
use super::super::scene::Scene;

/// A piece of the large output, by its last number: counting to the end of it all takes an emulated machine minutes.
const PIECE: u32 = 150_000;
/// So many make 64 MiB and a little.
const PIECES: usize = 72;

/// A script that writes 64 MiB and a little.
fn large() -> String {
    format!("seq 1 {PIECE} > /tmp/piece; cat{}", " /tmp/piece".repeat(PIECES))
}

pub(in super::super) async fn apart(scene: &Scene) {
    let guest = scene.guest().await;
    let done = run(&*guest, &script("printf out; printf err >&2; exit 5")).await;
    assert_eq!((done.outcome, &*done.stdout, &*done.stderr), (Outcome::Exited(5), &b"out"[..], &b"err"[..]));
}

pub(in super::super) async fn binary_exact(scene: &Scene) {
    let guest = scene.guest().await;
    let escapes: String = (0..=255u8).map(|byte| format!("\\{byte:03o}")).collect();
    let expected: Vec<u8> = (0..=255).collect();
    let done = run(&*guest, &script(&format!("printf '{escapes}'; printf '{escapes}' >&2"))).await;
    assert_eq!((done.stdout, done.stderr), (expected.clone(), expected));
}

pub(in super::super) async fn empty(scene: &Scene) {
    let guest = scene.guest().await;
    let done = run(&*guest, &request(&["true"])).await;
    assert_eq!((done.outcome, done.stdout.len(), done.stderr.len()), (Outcome::Exited(0), 0, 0));
}

pub(in super::super) async fn interleaved(scene: &Scene) {
    let guest = scene.guest().await;
    let text = "i=0; while [ $i -lt 2000 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done";
    let done = run(&*guest, &script(text)).await;
    let expected = |letter: char| (0..2000).map(|i| format!("{letter}{i}\n")).collect::<String>();
    assert_eq!(String::from_utf8(done.stdout).expect("text"), expected('o'));
    assert_eq!(String::from_utf8(done.stderr).expect("text"), expected('e'));
}

pub(in super::super) async fn large_output(scene: &Scene) {
    let guest = scene.guest().await;
    let done = run(&*guest, &script(&large())).await;
    assert_eq!(done.outcome, Outcome::Exited(0));
    let whole = done.stdout == sequence(PIECE).repeat(PIECES);
    assert!(whole, "{} bytes came, and not the right ones", done.stdout.len());
}

pub(in super::super) async fn input_exact(scene: &Scene) {
    let guest = scene.guest().await;
    let mut wish = request(&["cat"]);
    wish.stdin = true;
    let mut execution = guest.exec(&wish).await.expect("started");
    let mut stdin = execution.stdin.take().expect("standard input was asked for");
    let sent = pattern(16 << 20);
    let write = async {
        stdin.write_all(&sent).await.expect("written");
        stdin.shutdown().await.expect("shut down");
    };
    let ((), done) = tokio::join!(within("writing", write), collect(execution));
    assert_eq!(done.outcome, Outcome::Exited(0));
    assert!(done.stdout == sent, "{} of {} bytes came back, or wrong ones", done.stdout.len(), sent.len());
}

pub(in super::super) async fn input_end(scene: &Scene) {
    let guest = scene.guest().await;
    let mut wish = script("cat; echo end");
    wish.stdin = true;
    let mut execution = guest.exec(&wish).await.expect("started");
    let mut stdin = execution.stdin.take().expect("standard input was asked for");
    stdin.write_all(b"a").await.expect("written");
    stdin.flush().await.expect("flushed");
    let mut first = [0];
    within("the first byte", execution.stdout.read_exact(&mut first)).await.expect("read");
    assert_eq!(&first, b"a");
    // Dropping is as good as shutting down.
    drop(stdin);
    assert_eq!(collect(execution).await.text(), "end\n");
}

pub(in super::super) async fn input_absent(scene: &Scene) {
    let guest = scene.guest().await;
    let execution = guest.exec(&script("cat; echo end")).await.expect("started");
    assert!(execution.stdin.is_none());
    assert_eq!(collect(execution).await.text(), "end\n");
}

pub(in super::super) async fn input_unread(scene: &Scene) {
    let guest = scene.guest().await;
    let mut wish = request(&["head", "-c", "1"]);
    wish.stdin = true;
    let mut execution = guest.exec(&wish).await.expect("started");
    let mut stdin = execution.stdin.take().expect("standard input was asked for");
    let write = async {
        // The command reads one byte and goes; an error is right, waiting for ever is not.
        let result = stdin.write_all(&pattern(16 << 20)).await;
        assert!(result.is_err(), "16 MiB were taken for a command that is gone");
    };
    let ((), done) = tokio::join!(within("writing", write), collect(execution));
    assert_eq!((done.outcome, done.stdout), (Outcome::Exited(0), pattern(1)));
}

pub(in super::super) async fn output_closed_early(scene: &Scene) {
    let guest = scene.guest().await;
    let mut execution = guest.exec(&request(&["yes"])).await.expect("started");
    let mut some = [0; 4096];
    within("some output", execution.stdout.read_exact(&mut some)).await.expect("read");
    drop(execution.stdout);
    let outcome = within("death by a closed pipe", execution.control.wait()).await.expect("an outcome");
    assert_eq!(outcome, Outcome::Signaled(Signal::try_from(13).expect("SIGPIPE")));
}

pub(in super::super) async fn back_pressure(scene: &Scene) {
    let guest = scene.guest().await;
    let mut execution = guest.exec(&script(&format!("{}; echo done >&2", large()))).await.expect("started");
    // Nobody reads standard output, so 64 MiB can't have been written anywhere: the command must be waiting.
    let mut stderr = execution.stderr.take().expect("standard error");
    let mut line = [0; 5];
    let early = tokio::time::timeout(Duration::from_millis(500), stderr.read_exact(&mut line)).await;
    assert!(early.is_err(), "64 MiB of unread output went somewhere");
    execution.stderr = Some(stderr);
    let done = collect(execution).await;
    let whole = done.stdout == sequence(PIECE).repeat(PIECES);
    assert!(whole, "{} bytes came, and not the right ones", done.stdout.len());
    assert_eq!(done.stderr, b"done\n");
}

pub(in super::super) async fn one_unread_stream(scene: &Scene) {
    let guest = scene.guest().await;
    let mut execution =
        guest.exec(&script("echo first; seq 1 100000 >&2; echo last")).await.expect("started");
    // A full standard error must not keep standard output away, nor other commands waiting.
    let mut first = [0; 6];
    within("standard output", execution.stdout.read_exact(&mut first)).await.expect("read");
    assert_eq!(run(&*guest, &request(&["echo", "other"])).await.text(), "other\n");
    let done = collect(execution).await;
    assert_eq!((&*done.stdout, done.stderr == sequence(100_000)), (&b"last\n"[..], true));
}

pub(in super::super) async fn slow_reader(scene: &Scene) {
    let guest = scene.guest().await;
    let mut execution = guest.exec(&request(&["seq", "1", "20000"])).await.expect("started");
    let mut seen = Vec::new();
    let mut byte = [0];
    while within("a byte", execution.stdout.read(&mut byte)).await.expect("read") == 1 {
        seen.push(byte[0]);
        if seen.len().is_multiple_of(1000) {
            tokio::task::yield_now().await;
        }
    }
    assert!(seen == sequence(20_000));
    assert_eq!(execution.control.wait().await.expect("an outcome"), Outcome::Exited(0));
}

pub(in super::super) async fn output_outlives_command(scene: &Scene) {
    let guest = scene.guest().await;
    let mut execution = guest.exec(&script("(sleep 0.3; echo late) & echo early")).await.expect("started");
    let outcome = within("the command's end", execution.control.wait()).await.expect("an outcome");
    assert_eq!(outcome, Outcome::Exited(0));
    let mut all = String::new();
    within("the output's end", execution.stdout.read_to_string(&mut all)).await.expect("read");
    assert_eq!(all, "early\nlate\n");
}

pub(in super::super) async fn output_before_death(scene: &Scene) {
    let guest = scene.guest().await;
    let done = run(&*guest, &script("echo before; echo and >&2; kill -KILL $$")).await;
    assert_eq!(done.outcome, Outcome::Signaled(Signal::KILL));
    assert_eq!((&*done.stdout, &*done.stderr), (&b"before\n"[..], &b"and\n"[..]));
}
