//! Agents that lie: what they say is refused as hostile, and nothing hangs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{AgentGuest, BackendError, Guest, OutputKind};
use agentkernel_model::{BoxPath, ExecId, ExecRequest, Outcome};
use agentkernel_protocol::{
    Accepted, Channel, Entry, EntryKind, Event, Guest as Agent, LogRecord, Request, State, Stream,
    encode_record,
};
use tokio::io::AsyncWriteExt;

/// A guest whose agent answers every request with `answer`.
fn lying<F>(answer: impl Fn(Channel, Request) -> F + Send + Sync + 'static) -> Arc<AgentGuest>
where
    F: Future<Output = ()> + Send,
{
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (agent, driver) = Agent::new(theirs, "liar");
    tokio::spawn(driver);
    tokio::spawn(async move {
        while let Ok(Accepted { channel, request }) = agent.accept().await {
            answer(channel, request.unwrap()).await;
        }
    });
    AgentGuest::connect(ours)
}

fn entry(name: &str) -> Entry {
    let name = name.as_bytes().to_vec().into();
    Entry { name, kind: EntryKind::File, size: 1, mode: 0o644, uid: 0, gid: 0, modified: 0 }
}

fn path() -> BoxPath {
    BoxPath::new("/etc/file").unwrap()
}

fn hostile<T>(result: Result<T, BackendError>) {
    match result {
        Err(BackendError::HostileGuest { .. }) => {}
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was believed"),
    }
}

fn command() -> ExecRequest {
    ExecRequest {
        argv: vec!["true".into()],
        env: Vec::new(),
        workdir: BoxPath::new("/").unwrap(),
        user: None,
        stdin: false,
        tty: None,
        timeout: None,
        detached_log_limit: None,
    }
}

#[tokio::test]
async fn lies_about_files_are_refused() {
    for name in ["../passwd", "other", ""] {
        let guest =
            lying(move |channel, _| async move { channel.send(&Event::File(entry(name))).await.unwrap() });
        hostile(guest.stat(&path()).await);
    }
    for names in [["a", "a"], ["a", ".."], ["a", "b/c"]] {
        let guest = lying(move |channel, _| async move {
            channel.send(&Event::Ready).await.unwrap();
            let mut records = Vec::new();
            names.iter().for_each(|name| encode_record(&entry(name), &mut records));
            let mut writer = channel.writer(Stream::Output);
            writer.write_all(&records).await.unwrap();
            writer.finish();
            channel.send(&Event::Done).await.unwrap();
        });
        hostile(guest.list(&path()).await);
    }
}

#[tokio::test]
async fn lies_about_commands_are_refused() {
    for event in [
        Event::Done,
        Event::Started { id: "../../x".into(), pid: 1 },
        Event::Ended(State::Exited(0)),
        Event::Log { start: 0, state: State::Running },
    ] {
        let answer = event.clone();
        let guest = lying(move |channel, _| {
            let answer = answer.clone();
            async move { channel.send(&answer).await.unwrap() }
        });
        hostile(guest.exec(&command()).await);
    }
    let id: ExecId = "x".parse().unwrap();
    let guest =
        lying(|channel, _| async move { channel.send(&Event::Ended(State::Signaled(99))).await.unwrap() });
    hostile(guest.wait(&id).await);
    let guest = lying(|channel, _| async move {
        channel.send(&Event::Log { start: 3, state: State::Running }).await.unwrap();
    });
    hostile(guest.logs(&id, 4, false).await);
    hostile(guest.ordered_log(&id, 4, false).await);
}

#[tokio::test]
async fn a_log_with_a_gap_or_a_repetition_is_not_believed() {
    let id: ExecId = "x".parse().unwrap();
    let record = |offset, content: &[u8]| {
        let header = LogRecord { offset, length: content.len(), stream: Stream::Error }.encode();
        [&header[..], content].concat()
    };
    let good = record(3, b"abc");
    for (bad, believed) in [
        (vec![good.clone(), record(7, b"d")], 1),
        (vec![good.clone(), record(5, b"d")], 1),
        (vec![record(2, b"d")], 0),
        (vec![good.clone(), vec![0xff; 40]], 1),
        (vec![good.clone(), record(6, b"cut")[..14].to_vec()], 1),
    ] {
        let sent = bad.concat();
        let guest = lying(move |channel, _| {
            let sent = sent.clone();
            async move {
                channel.send(&Event::Log { start: 3, state: State::Running }).await.unwrap();
                let mut writer = channel.writer(Stream::Output);
                writer.write_all(&sent).await.unwrap();
                writer.finish();
            }
        });
        let mut log = guest.ordered_log(&id, 3, true).await.unwrap();
        for _ in 0..believed {
            let chunk = log.chunks.next().await.unwrap().unwrap();
            assert_eq!((chunk.offset, chunk.kind, &chunk.bytes[..]), (3, OutputKind::Stderr, &b"abc"[..]));
        }
        hostile(log.chunks.next().await);
    }
    // One that stops before its end is no lie, and no whole log either.
    let guest = lying(|channel, _| async move {
        channel.send(&Event::Log { start: 0, state: State::Running }).await.unwrap();
        drop(channel.writer(Stream::Output));
    });
    let mut log = guest.ordered_log(&id, 0, true).await.unwrap();
    assert!(matches!(log.chunks.next().await, Err(BackendError::Runtime { .. })));
}

#[tokio::test]
async fn silence_and_noise_end_in_errors() {
    let guest = lying(|channel, _| async move { drop(channel) });
    hostile(guest.exec(&command()).await);
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let guest = AgentGuest::connect(ours);
    drop(theirs);
    assert!(matches!(guest.ready().await, Err(BackendError::BoxEnded { .. })));
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let guest = AgentGuest::connect(ours);
    theirs.write_all(b"\0\0\0\0\0\0\0\0\x05").await.unwrap();
    hostile(guest.exec(&command()).await);
}

#[tokio::test]
async fn a_box_that_ends_is_an_outcome() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (agent, driver) = Agent::new(theirs, "agent");
    let driver = tokio::spawn(driver);
    let guest = AgentGuest::connect(ours);
    let started = tokio::spawn(async move { guest.exec(&command()).await.unwrap() });
    let Accepted { channel, .. } = agent.accept().await.unwrap();
    channel.send(&Event::Started { id: "x".into(), pid: 1 }).await.unwrap();
    let execution = started.await.unwrap();
    driver.abort();
    let outcome = tokio::time::timeout(Duration::from_secs(10), execution.control.wait()).await.unwrap();
    assert_eq!(outcome.unwrap(), Outcome::BoxEnded);
}
