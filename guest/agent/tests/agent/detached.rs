//! Detached commands and their logs.

use agentkernel_backend::{BackendError, ExecutionState, Guest, LogRead, OrderedLog, OutputKind};
use agentkernel_model::{ExecId, Outcome, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{TestBox, shell, until};

async fn detach(test: &TestBox, script: &str, limit: u64) -> ExecId {
    let mut request = shell(script);
    request.detached_log_limit = Some(limit);
    test.guest.exec(&request).await.unwrap().id
}

async fn read(log: LogRead) -> (String, String) {
    let LogRead { mut stdout, mut stderr, .. } = log;
    let (mut out, mut err) = (String::new(), String::new());
    let (one, other) = tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
    one.unwrap();
    other.unwrap();
    (out, err)
}

#[tokio::test]
async fn logs_outlive_their_client_and_keep_streams_apart() {
    let Some(test) = TestBox::start().await else { return };
    let other = test.connect().await;
    let mut request =
        shell("echo one; echo two >&2; while [ ! -e go ]; do sleep 0.02; done; echo three; exit 6");
    let folder = tempfile::tempdir().unwrap();
    request.workdir = agentkernel_model::BoxPath::new(folder.path()).unwrap();
    request.detached_log_limit = Some(1 << 20);
    let execution = other.exec(&request).await.unwrap();
    let id = execution.id.clone();
    drop((execution, other));
    let logs = async |offset, follow| read(test.guest.logs(&id, offset, follow).await.unwrap()).await;
    until("both lines are there", async || logs(0, false).await == ("one\n".into(), "two\n".into())).await;
    let info = &test.guest.executions().await.unwrap()[0];
    assert!(info.detached && info.id == id && info.state == ExecutionState::Running);
    let go = async {
        std::fs::write(folder.path().join("go"), "").unwrap();
    };
    let (followed, from_two, ()) = tokio::join!(logs(0, true), logs(4, true), go);
    assert_eq!(followed, ("one\nthree\n".into(), "two\n".into()));
    assert_eq!(from_two, ("three\n".into(), "two\n".into()));
    assert_eq!(test.guest.wait(&id).await.unwrap(), Outcome::Exited(6));
    let log = test.guest.logs(&id, 2, true).await.unwrap();
    assert_eq!((log.start, log.state), (2, ExecutionState::Ended(Outcome::Exited(6))));
    assert_eq!(read(log).await, ("e\nthree\n".into(), "two\n".into()));
    assert!(matches!(test.guest.logs(&id, 999, false).await, Err(BackendError::Invalid { .. })));
}

#[tokio::test]
async fn a_flood_keeps_the_newest_and_says_what_it_dropped() {
    let Some(test) = TestBox::start().await else { return };
    let id = detach(&test, "seq 1 100000; seq 5 >&2", 20_000).await;
    assert_eq!(test.guest.wait(&id).await.unwrap(), Outcome::Exited(0));
    let on_disk = || -> u64 {
        let entries = std::fs::read_dir(test.logs.path().join("logs")).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    assert!(on_disk() <= 20_000, "{}", on_disk());
    let log = test.guest.logs(&id, 0, false).await.unwrap();
    let (start, (out, err)) = (log.start, read(log).await);
    let whole: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(start > 500_000);
    assert!(out.len() > 5_000 && whole.ends_with(&out));
    assert_eq!(err, "1\n2\n3\n4\n5\n");
    assert_eq!(start as usize + out.len() + err.len(), whole.len() + err.len());
}

#[tokio::test]
async fn detached_commands_are_killed_by_id() {
    let Some(test) = TestBox::start().await else { return };
    let id = detach(&test, "sleep 1000", 1 << 20).await;
    test.guest.kill(&id, Signal::TERM).await.unwrap();
    assert_eq!(test.guest.wait(&id).await.unwrap(), Outcome::Signaled(Signal::TERM));
    assert!(matches!(test.guest.kill(&id, Signal::TERM).await, Err(BackendError::NotFound { .. })));
    let nobody: ExecId = "nobody".parse().unwrap();
    for result in [
        test.guest.kill(&nobody, Signal::TERM).await,
        test.guest.wait(&nobody).await.map(|_| ()),
        test.guest.logs(&nobody, 0, false).await.map(|_| ()),
    ] {
        assert!(matches!(result, Err(BackendError::NotFound { .. })), "{result:?}");
    }
    let mut tiny = shell("true");
    tiny.detached_log_limit = Some(1);
    assert!(matches!(test.guest.exec(&tiny).await.map(|_| ()), Err(BackendError::Invalid { .. })));
}

#[tokio::test]
async fn ended_ones_are_forgotten_in_time_with_their_logs() {
    let Some(test) = TestBox::start().await else { return };
    for _ in 0..260 {
        let id = detach(&test, "echo x", 4096).await;
        test.guest.wait(&id).await.unwrap();
    }
    assert_eq!(test.guest.executions().await.unwrap().len(), 256);
    let files = || std::fs::read_dir(test.logs.path().join("logs")).unwrap().count();
    assert_eq!(files(), 256);
}

/// All of an ordered log: the two outputs, and the offset after the last byte.
async fn read_ordered(mut log: OrderedLog) -> (Vec<u8>, Vec<u8>, u64) {
    let (mut out, mut err, mut next) = (Vec::new(), Vec::new(), log.start);
    while let Some(chunk) = log.chunks.next().await.unwrap() {
        assert_eq!(chunk.offset, next);
        assert!(!chunk.bytes.is_empty());
        next += chunk.bytes.len() as u64;
        match chunk.kind {
            OutputKind::Stdout => out.extend_from_slice(&chunk.bytes),
            OutputKind::Stderr => err.extend_from_slice(&chunk.bytes),
        }
    }
    (out, err, next)
}

#[tokio::test]
async fn an_ordered_log_keeps_the_order_of_the_outputs() {
    let Some(test) = TestBox::start().await else { return };
    // Each line waits until the one before it was read out of its pipe: the log has grown.
    let script = "for n in 1 2 3 4 5 6; do echo o$n; read go; echo e$n >&2; read go; done; exit 7";
    let mut request = shell(script);
    request.stdin = true;
    request.detached_log_limit = Some(1 << 20);
    let mut execution = test.guest.exec(&request).await.unwrap();
    let id = execution.id.clone();
    let mut stdin = execution.stdin.take().unwrap();
    let mut log = test.guest.ordered_log(&id, 0, true).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 12 {
        let chunk = log.chunks.next().await.unwrap().unwrap();
        let kind = if chunk.kind == OutputKind::Stdout { 'o' } else { 'e' };
        seen.push((kind, String::from_utf8(chunk.bytes).unwrap()));
        stdin.write_all(b"go\n").await.unwrap();
    }
    assert_eq!(log.chunks.next().await.unwrap(), None);
    let expected: Vec<_> =
        (1..=6).flat_map(|n| [('o', format!("o{n}\n")), ('e', format!("e{n}\n"))]).collect();
    assert_eq!(seen, expected);
    let (out, err, end) = read_ordered(test.guest.ordered_log(&id, 4, false).await.unwrap()).await;
    assert_eq!(
        (&out[..], &err[..], end),
        (&b"\no2\no3\no4\no5\no6\n"[1..], &b"1\ne2\ne3\ne4\ne5\ne6\n"[..], 36)
    );
    let wrong = test.guest.ordered_log(&id, 37, false).await;
    assert!(matches!(wrong.map(drop), Err(BackendError::Invalid { .. })));
}

#[tokio::test]
async fn a_reader_that_comes_and_goes_gets_each_byte_once() {
    const LINES: u64 = 400_000;
    let Some(test) = TestBox::start().await else { return };
    let id = detach(&test, &format!("seq 1 {LINES} & seq 1 {LINES} >&2; wait"), 64 << 20).await;
    let whole: Vec<u8> = (1..=LINES).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    let (mut out, mut err, mut next, mut readers) = (Vec::new(), Vec::new(), 0, 0);
    loop {
        // Another client each time, which goes in the middle of a chunk: it has used only half of it.
        let client = test.connect().await;
        let mut log = client.ordered_log(&id, next, true).await.unwrap();
        assert_eq!(log.start, next, "nothing was dropped");
        readers += 1;
        let mut ended = false;
        for turn in 0..20 {
            let Some(chunk) = log.chunks.next().await.unwrap() else {
                ended = true;
                break;
            };
            let used = if turn == 19 { chunk.bytes.len() / 2 } else { chunk.bytes.len() };
            let to = if chunk.kind == OutputKind::Stdout { &mut out } else { &mut err };
            to.extend_from_slice(&chunk.bytes[..used]);
            next = chunk.offset + used as u64;
        }
        if ended {
            break;
        }
    }
    assert!(readers > 3, "{readers}");
    assert!(out == whole && err == whole, "{} {} {next}", out.len(), err.len());
    assert_eq!(next, 2 * whole.len() as u64);
    let log = test.guest.logs(&id, 0, false).await.unwrap();
    let (again_out, again_err) = read(log).await;
    assert!(again_out.as_bytes() == whole && again_err.as_bytes() == whole);
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_and_never_fooled() {
    let Some(test) = TestBox::start().await else { return };
    let id = detach(&test, "while [ ! -e /tmp/agentkernel-never ]; do seq 1 20000; done", 16 << 10).await;
    let mut log = test.guest.ordered_log(&id, 0, true).await.unwrap();
    let (mut next, mut read) = (log.start, 0);
    // The command writes without end, and this reads too slowly to keep up.
    let error = loop {
        match log.chunks.next().await {
            Ok(Some(chunk)) => {
                assert_eq!(chunk.offset, next);
                next += chunk.bytes.len() as u64;
                read += 1;
                until("the log has moved on", async || {
                    test.guest.ordered_log(&id, 0, false).await.unwrap().start > next + (64 << 10)
                })
                .await;
            }
            Ok(None) => panic!("it runs"),
            Err(error) => break error,
        }
    };
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("dropped"), "after {read} chunks: {error}: {cause}");
    test.guest.kill(&id, Signal::KILL).await.unwrap();
}

#[tokio::test]
async fn a_later_agent_answers_for_what_an_earlier_one_ran() {
    let Some(test) = TestBox::start_lasting().await else { return };
    let ended = detach(&test, "echo out; echo err >&2; exit 6", 1 << 20).await;
    assert_eq!(test.guest.wait(&ended).await.unwrap(), Outcome::Exited(6));
    let signaled = detach(&test, "kill -TERM $$", 1 << 20).await;
    assert_eq!(test.guest.wait(&signaled).await.unwrap(), Outcome::Signaled(Signal::TERM));
    let flood = detach(&test, "seq 1 100000", 20_000).await;
    assert_eq!(test.guest.wait(&flood).await.unwrap(), Outcome::Exited(0));
    let before = read_ordered(test.guest.ordered_log(&flood, 0, false).await.unwrap()).await;
    let running = detach(&test, "echo begun; exec sleep 1000", 1 << 20).await;
    until("it has begun", async || {
        read(test.guest.logs(&running, 0, false).await.unwrap()).await.0 == "begun\n"
    })
    .await;
    let test = test.restart().await;
    let list = test.guest.executions().await.unwrap();
    let ids: Vec<_> = list.iter().map(|info| info.id.clone()).collect();
    assert_eq!(ids, [ended.clone(), signaled.clone(), flood.clone(), running.clone()]);
    assert!(list.iter().all(|info| info.detached && info.age.as_secs() < 60));
    assert_eq!(list[0].argv[2].as_bytes(), b"echo out; echo err >&2; exit 6");
    assert_eq!(test.guest.wait(&ended).await.unwrap(), Outcome::Exited(6));
    assert_eq!(test.guest.wait(&signaled).await.unwrap(), Outcome::Signaled(Signal::TERM));
    assert_eq!(test.guest.wait(&running).await.unwrap(), Outcome::Signaled(Signal::KILL), "with its box");
    assert!(matches!(test.guest.kill(&ended, Signal::TERM).await, Err(BackendError::NotFound { .. })));
    let log = test.guest.logs(&ended, 2, true).await.unwrap();
    assert_eq!((log.start, log.state), (2, ExecutionState::Ended(Outcome::Exited(6))));
    assert_eq!(read(log).await, ("t\n".into(), "err\n".into()));
    assert_eq!(read(test.guest.logs(&running, 0, true).await.unwrap()).await.0, "begun\n");
    assert!(before == read_ordered(test.guest.ordered_log(&flood, 0, false).await.unwrap()).await);
    // And once more, with a new one beside.
    let fresh = detach(&test, "echo fresh", 1 << 20).await;
    test.guest.wait(&fresh).await.unwrap();
    let test = test.restart().await;
    let ids: Vec<_> = test.guest.executions().await.unwrap().into_iter().map(|info| info.id).collect();
    assert_eq!(ids, [ended, signaled, flood, running, fresh.clone()]);
    assert_eq!(read(test.guest.logs(&fresh, 0, false).await.unwrap()).await.0, "fresh\n");
}

#[tokio::test]
async fn what_lies_in_the_folder_of_logs_is_not_believed() {
    let Some(test) = TestBox::start_lasting().await else { return };
    let (good, cut) =
        (detach(&test, "seq 1 1000", 1 << 20).await, detach(&test, "seq 1 1000", 1 << 20).await);
    test.guest.wait(&good).await.unwrap();
    test.guest.wait(&cut).await.unwrap();
    let folder = test.logs.path().join("logs");
    let plant = |name: &str, content: &[u8]| std::fs::write(folder.join(name), content).unwrap();
    plant("command-ffffffffffffffff", &[0xff; 100_000]);
    plant("command-../x".replace('/', "_").as_str(), b"");
    plant("log-ffffffffffffffff.1", b"");
    plant("new-ffffffffffffffff", b"");
    plant(&format!("log-{good}.7"), &[0; 4000]);
    plant("log-eeeeeeeeeeeeeeee.18446744073709551615", b"x");
    std::os::unix::fs::symlink("/dev/zero", folder.join("command-eeeeeeeeeeeeeeee")).unwrap();
    std::fs::File::options()
        .write(true)
        .open(folder.join(format!("log-{cut}.1")))
        .and_then(|file| file.set_len(2000))
        .unwrap();
    let test = test.restart().await;
    assert_eq!(test.guest.executions().await.unwrap().len(), 2);
    let whole: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    assert_eq!(read(test.guest.logs(&good, 0, true).await.unwrap()).await.0, whole);
    let (out, _) = read(test.guest.logs(&cut, 0, true).await.unwrap()).await;
    assert!(whole.starts_with(&out) && out.len() < 2000, "whole records only: {}", out.len());
    let left = std::fs::read_dir(&folder).unwrap().count();
    assert!(left <= 5, "two notes, two logs, what was planted beside one of them: {left}");
}
