//! The fake against itself: it delivers what a shell says, and sees misuse.

use std::time::Duration;

use agentkernel_backend::{Backend, BackendError, Guest};
use agentkernel_model::{BoxPath, ExecRequest, Outcome, SandboxSpec};
use tokio::io::AsyncReadExt;

use super::{FakeBackend, Fault, Step, Violation};

fn spec() -> SandboxSpec {
    crate::plain_spec(&"fake".parse().unwrap())
}

fn request(script: &str) -> ExecRequest {
    ExecRequest {
        argv: vec!["sh".into(), "-c".into(), script.into()],
        env: Vec::new(),
        workdir: BoxPath::new("/").unwrap(),
        user: None,
        stdin: false,
        tty: None,
        timeout: None,
        detached_log_limit: None,
    }
}

async fn run(guest: &dyn Guest, script: &str) -> (Outcome, String) {
    let mut execution = guest.exec(&request(script)).await.unwrap();
    let mut output = String::new();
    execution.stdout.read_to_string(&mut output).await.unwrap();
    execution.stderr.take().unwrap().read_to_string(&mut output).await.unwrap();
    (execution.control.wait().await.unwrap(), output)
}

#[tokio::test]
async fn its_shell_runs_scripts() {
    let fake = FakeBackend::new();
    let made = fake.launch(&spec()).await.unwrap();
    let guest = made.guest();
    for (script, code, output) in [
        ("exit 7", 7, ""),
        ("i=0; while [ $i -lt 3 ]; do echo $i; i=$((i+1)); done", 0, "0\n1\n2\n"),
        ("echo a > /tmp/f && cat /tmp/f; cat < /tmp/f; test -e /nope || echo none", 0, "a\na\nnone\n"),
        ("(exit 4); echo $?; if ! false; then echo \"yes $0\"; fi", 0, "4\nyes sh\n"),
        ("sleep 0.05 & wait; printf 'x\\n' >&2; nope 2>/dev/null; exit $?", 127, "x\n"),
    ] {
        assert_eq!(run(&*guest, script).await, (Outcome::Exited(code), output.to_owned()), "{script}");
    }
    made.destroy().await.unwrap();
    fake.assert_clean();
}

#[tokio::test]
async fn misuse_is_noted() {
    let fake = FakeBackend::new();
    let made = fake.launch(&spec()).await.unwrap();
    let guest = made.guest();
    let execution = guest.exec(&request("echo lost")).await.unwrap();
    execution.control.wait().await.unwrap();
    drop(execution.stdout);
    assert!(matches!(fake.violations()[0], Violation::OutputNotDrained { .. }));
    drop(made);
    assert!(matches!(guest.exec(&request("true")).await, Err(BackendError::BoxEnded { .. })));
    assert!(fake.violations().contains(&Violation::DroppedWithoutDestroy));
    assert!(fake.violations().iter().any(|violation| matches!(violation, Violation::NotReclaimed { .. })));
    assert_eq!(fake.another_process().reclaim(&[]).await.unwrap().objects.len(), 1);
}

#[tokio::test]
async fn a_dropped_command_is_a_kill_and_no_misuse() {
    let fake = FakeBackend::new();
    let made = fake.launch(&spec()).await.unwrap();
    drop(made.guest().exec(&request("sleep 1000")).await.unwrap());
    made.destroy().await.unwrap();
    fake.assert_clean();
}

#[tokio::test]
async fn faults_come_where_they_are_asked_for() {
    let fake = FakeBackend::new();
    fake.fail_at(Step::Launch);
    assert!(fake.launch(&spec()).await.is_err());
    assert!(fake.objects().is_empty());
    fake.inject(Step::Launch, Fault::After);
    assert!(fake.launch(&spec()).await.is_err());
    assert_eq!(fake.objects().len(), 1);
    fake.inject(Step::Reclaim, Fault::Hang);
    assert!(tokio::time::timeout(Duration::from_millis(20), fake.reclaim(&[])).await.is_err());
    assert_eq!(fake.reclaim(&[]).await.unwrap().objects.len(), 1);
    fake.assert_clean();
}
