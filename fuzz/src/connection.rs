//! The host's side of a connection whose other end is a hostile box: every verb of [`Guest`] against arbitrary answers.

use std::io;
use std::time::Duration;

use agentkernel_backend::{AgentGuest, BackendError, Guest};
use agentkernel_model::{BoxPath, ExecId, ExecRequest};
use agentkernel_protocol::{Kind, Role, Stream, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::samples;

/// The box has said all it will say and hung up: whoever still waits then waits for ever.
const HANG: Duration = Duration::from_secs(10);

/// The most bytes that are read of a stream that the box sends.
const MOST_READ: u64 = 1 << 20;

/// Conversations behind a first byte that chooses the verb, and scripts (see [`answers`]).
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for verb in 0..VERBS {
        for conversation in samples::conversations() {
            seeds.push([&[verb, 0], conversation.as_slice()].concat());
        }
        for event in 0..samples::events().len() as u8 {
            seeds.push(vec![verb, 1, 3, 1, event, 4, 1, 0, 5, 1, 0, 0, 1, 0]);
        }
    }
    seeds
}

/// Number of verbs in [`verb`].
const VERBS: u8 = 11;

/// Each verb ends, with a result or an error, once the box has hung up.
pub fn check(input: &[u8]) {
    let [verb_number, style, rest @ ..] = input else { return };
    let bytes = if style % 2 == 0 { rest.to_vec() } else { answers(rest) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let guest = AgentGuest::connect(ours);
        tokio::spawn(async move {
            // The host may have hung up on what came first, and then takes no more.
            theirs.write_all(&bytes).await.unwrap_or_default();
        });
        let done = tokio::time::timeout(HANG, verb(&guest, verb_number % VERBS)).await;
        let result = done.expect("the verb ends when the box hangs up");
        if let Err(error) = result {
            assert!(!error.to_string().is_empty());
        }
    });
}

/// Frames with sound headers: each three bytes are a kind, a channel, and a payload that the kind may have.
fn answers(script: &[u8]) -> Vec<u8> {
    let mut bytes = samples::hello(Role::Guest);
    let (events, records) = (samples::events(), samples::records());
    for step in script.chunks_exact(3) {
        let [kind, channel, payload] = [step[0], step[1], step[2]];
        let stream = Stream::ALL[usize::from(payload) % 3];
        let channel = u32::from(channel % 4);
        let pick = usize::from(payload);
        let frame = match kind % 8 {
            0 => samples::frame(channel, Kind::Close, b""),
            1 => samples::frame(channel, Kind::Data(stream), &vec![payload; pick * 64]),
            2 => samples::frame(channel, Kind::Data(stream), &records[pick % records.len()]),
            3 => samples::frame(channel, Kind::Message, &encode(&events[pick % events.len()])),
            4 => samples::frame(channel, Kind::End(stream), b""),
            5 => samples::frame(channel, Kind::Abort(stream), b""),
            6 => samples::frame(channel, Kind::Credit(stream), &[payload; 4]),
            _ => samples::frame(channel, Kind::Stop(stream), b""),
        };
        bytes.extend(frame);
    }
    bytes
}

async fn verb(guest: &AgentGuest, number: u8) -> Result<(), BackendError> {
    let path = BoxPath::new("/x").expect("a path");
    let id: ExecId = "x1".parse().expect("an id");
    match number {
        0 => exec(guest, path).await,
        1 => guest.executions().await.map(drop),
        2 => guest.wait(&id).await.map(drop),
        3 => {
            let log = guest.logs(&id, 0, true).await?;
            read(log.stdout).await;
            read(log.stderr).await;
            Ok(())
        }
        9 => {
            let mut log = guest.ordered_log(&id, 0, true).await?;
            let mut next = log.start;
            while let Some(chunk) = log.chunks.next().await? {
                assert!(chunk.offset == next && !chunk.bytes.is_empty());
                next += chunk.bytes.len() as u64;
            }
            Ok(())
        }
        4 => guest.processes().await.map(drop),
        5 => {
            read(guest.read_file(&path).await?).await;
            Ok(())
        }
        6 => guest.write_file(&path, None, Box::new(io::Cursor::new(vec![1; 100_000]))).await.map(drop),
        7 => {
            let files = guest.list(&path).await?;
            for file in files.iter().chain(&[guest.stat(&path).await?]) {
                let name = file.name.as_bytes();
                assert!(!matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && file.mode <= 0o7777);
            }
            Ok(())
        }
        8 => {
            read(guest.tar_out(&path).await?).await;
            Ok(())
        }
        _ => guest.connect_port(80).await.map(drop),
    }
}

async fn exec(guest: &AgentGuest, workdir: BoxPath) -> Result<(), BackendError> {
    let request = ExecRequest {
        argv: vec!["x".into()],
        env: Vec::new(),
        workdir,
        user: None,
        stdin: false,
        tty: None,
        timeout: None,
        detached_log_limit: None,
    };
    let execution = guest.exec(&request).await?;
    read(execution.stdout).await;
    if let Some(stderr) = execution.stderr {
        read(stderr).await;
    }
    execution.control.wait().await.map(drop)
}

async fn read(stream: agentkernel_backend::OutputStream) {
    let mut content = Vec::new();
    // A stream that breaks off is an error to its reader, which is fine here.
    let read = stream.take(MOST_READ).read_to_end(&mut content).await;
    assert!(read.is_err() || content.len() as u64 <= MOST_READ);
}
