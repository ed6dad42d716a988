//! Detached commands and their logs.

use agentkernel_backend::{BackendError, ExecutionState, Guest, LogRead};
use agentkernel_model::{ExecId, Outcome, Signal};
use tokio::io::AsyncReadExt;

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
