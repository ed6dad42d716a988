//! What is run and how it ends.

use agentkernel_backend::BackendError;
use agentkernel_model::{ByteString, CannotExec, Outcome, Signal};

use super::super::ask::{
    command, count_processes, refused, request, run, script, shell, unique_sleep, within,
};
use super::super::scene::Scene;

pub(in super::super) async fn exit_codes(scene: &Scene) {
    let guest = scene.guest().await;
    for code in 0..=255u8 {
        let done = run(&*guest, &script(&format!("exit {code}"))).await;
        assert_eq!(done.outcome, Outcome::Exited(code));
    }
}

pub(in super::super) async fn not_found(scene: &Scene) {
    let guest = scene.guest().await;
    for program in ["no-such-program", "/no/such/program", "./no-such-program", ""] {
        match refused(&*guest, &request(&[program])).await {
            BackendError::CannotExec(error @ CannotExec::NotFound { .. }) => {
                assert_eq!(error.exit_code(), 127)
            }
            other => panic!("{program:?}: {other:?}"),
        }
    }
}

pub(in super::super) async fn not_executable(scene: &Scene) {
    let guest = scene.guest().await;
    shell(&*guest, "echo 'exit 0' > /tmp/plain; mkdir /tmp/folder").await;
    for program in ["/tmp/plain", "/tmp/folder", "/etc/passwd"] {
        match refused(&*guest, &request(&[program])).await {
            BackendError::CannotExec(error @ CannotExec::NotExecutable { .. }) => {
                assert_eq!(error.exit_code(), 126)
            }
            other => panic!("{program:?}: {other:?}"),
        }
    }
}

pub(in super::super) async fn no_program(scene: &Scene) {
    let guest = scene.guest().await;
    let error = refused(&*guest, &command(Vec::new())).await;
    assert!(matches!(error, BackendError::Invalid { .. }), "{error:?}");
}

pub(in super::super) async fn nul_bytes(scene: &Scene) {
    let guest = scene.guest().await;
    let mut wish = command(vec!["echo".into(), ByteString(b"a\0b".to_vec())]);
    let error = refused(&*guest, &wish).await;
    assert!(matches!(error, BackendError::Invalid { .. }), "{error:?}");
    wish.argv.pop();
    wish.env[0].value = ByteString(b"a\0b".to_vec());
    let error = refused(&*guest, &wish).await;
    assert!(matches!(error, BackendError::Invalid { .. }), "{error:?}");
    assert_eq!(shell(&*guest, "echo fine").await, "fine\n");
}

pub(in super::super) async fn path_lookup(scene: &Scene) {
    let guest = scene.guest().await;
    shell(
        &*guest,
        "mkdir /tmp/own; printf '#!/bin/sh\\necho mine\\n' > /tmp/own/tool; chmod 755 /tmp/own/tool",
    )
    .await;
    let mut wish = request(&["tool"]);
    wish.env[0].value = "/nowhere:/tmp/own:/bin:/usr/bin".into();
    assert_eq!(run(&*guest, &wish).await.text(), "mine\n");
    let mut relative = request(&["./tool"]);
    relative.workdir = super::super::ask::path("/tmp/own");
    assert_eq!(run(&*guest, &relative).await.text(), "mine\n");
}

pub(in super::super) async fn death_by_signal(scene: &Scene) {
    let guest = scene.guest().await;
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("HUP", 1), ("USR1", 10)] {
        let done = run(&*guest, &script(&format!("kill -{name} $$; exit 3"))).await;
        let signal = Signal::try_from(number).expect("a signal");
        assert_eq!(done.outcome, Outcome::Signaled(signal), "{name}");
        assert_eq!(i32::from(done.outcome.exit_code()), 128 + number);
    }
}

pub(in super::super) async fn arguments_exact(scene: &Scene) {
    let guest = scene.guest().await;
    let mut argv: Vec<ByteString> = vec!["printf".into(), "[%s]".into()];
    let awkward: [&[u8]; 9] =
        [b"a b", b"\"", b"'", b"", b"new\nline", b"\xff\xfe", b"$HOME;*`id`", b"\\n", b"-n --"];
    argv.extend(awkward.iter().map(|bytes| ByteString(bytes.to_vec())));
    let expected: Vec<u8> = awkward.iter().flat_map(|bytes| [b"[", *bytes, b"]"].concat()).collect();
    let done = run(&*guest, &command(argv)).await;
    assert_eq!((done.outcome, done.stdout), (Outcome::Exited(0), expected));
}

pub(in super::super) async fn arguments_large(scene: &Scene) {
    let guest = scene.guest().await;
    // One argument of the kernel's most (MAX_ARG_STRLEN, 128 KiB with its NUL), eight of them: 1 MiB together.
    let large = "x".repeat(131_071);
    let mut argv: Vec<ByteString> = vec!["printf".into(), "%s".into()];
    argv.extend((0..8).map(|_| ByteString::from(large.as_str())));
    let done = run(&*guest, &command(argv)).await;
    assert_eq!((done.outcome, done.stdout.len()), (Outcome::Exited(0), 8 * large.len()));
}

pub(in super::super) async fn arguments_too_large(scene: &Scene) {
    let guest = scene.guest().await;
    let too_large = request(&["printf", "%s", &"x".repeat(131_072)]);
    match refused(&*guest, &too_large).await {
        BackendError::CannotExec(CannotExec::NotExecutable { .. }) | BackendError::Invalid { .. } => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(shell(&*guest, "echo fine").await, "fine\n");
}

pub(in super::super) async fn many_at_once(scene: &Scene) {
    let guest = scene.guest().await;
    let mut running = Vec::new();
    for number in 0..20u8 {
        let mut wish = script(&format!("cat; echo {number} >&2; exit {number}"));
        wish.stdin = true;
        running.push((number, within("a start", guest.exec(&wish)).await.expect("started")));
    }
    let mut ids = std::collections::BTreeSet::new();
    for (number, mut execution) in running.into_iter().rev() {
        ids.insert(execution.id.clone());
        let mut stdin = execution.stdin.take().expect("standard input was asked for");
        let text = format!("for {number}");
        tokio::io::AsyncWriteExt::write_all(&mut stdin, text.as_bytes()).await.expect("written");
        tokio::io::AsyncWriteExt::shutdown(&mut stdin).await.expect("shut down");
        let done = super::super::ask::collect(execution).await;
        assert_eq!(done.outcome, Outcome::Exited(number));
        assert_eq!(done.stdout, text.as_bytes());
        assert_eq!(done.stderr, format!("{number}\n").as_bytes());
    }
    assert_eq!(ids.len(), 20, "ids are unique");
}

pub(in super::super) async fn listed_while_running(scene: &Scene) {
    let guest = scene.guest().await;
    let seconds = unique_sleep();
    let execution = guest.exec(&request(&["sleep", &seconds])).await.expect("started");
    let list = guest.executions().await.expect("a list");
    let info = list.iter().find(|info| info.id == execution.id).expect("the running command is listed");
    assert_eq!(info.argv, ["sleep".into(), ByteString::from(seconds.as_str())]);
    assert!(!info.detached && info.pid > 0);
    assert_eq!(info.state, agentkernel_backend::ExecutionState::Running);
    execution.control.signal(Signal::KILL).await.expect("killed");
    let id = execution.id.clone();
    super::super::ask::collect(execution).await;
    let list = guest.executions().await.expect("a list");
    assert!(list.iter().all(|info| info.id != id), "an attached command that has ended is still listed");
}

pub(in super::super) async fn process_list(scene: &Scene) {
    let guest = scene.guest().await;
    let seconds = unique_sleep();
    let execution = guest.exec(&request(&["sleep", &seconds])).await.expect("started");
    super::super::ask::eventually("the command in the process list", || async {
        count_processes(&*guest, &seconds).await == 1
    })
    .await;
    let processes = guest.processes().await.expect("a list");
    assert!(processes.len() < 20, "more than this box's processes: {processes:#?}");
    let own_name = std::env::current_exe().expect("a path");
    let own_name = own_name.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(
        processes.iter().all(|process| !process.command.to_lossy().contains(&own_name)),
        "the host's processes are seen inside: {processes:#?}"
    );
    drop(execution);
}

pub(in super::super) async fn unknown_ids(scene: &Scene) {
    let guest = scene.guest().await;
    let id = "no-such-id".parse().expect("an id");
    assert!(matches!(guest.wait(&id).await, Err(BackendError::NotFound { .. })));
    assert!(matches!(guest.kill(&id, Signal::TERM).await, Err(BackendError::NotFound { .. })));
    if scene.has(agentkernel_model::Feature::DetachedCommands) {
        assert!(matches!(guest.logs(&id, 0, false).await.map(drop), Err(BackendError::NotFound { .. })));
    }
}

pub(in super::super) async fn isolation_is_stated(scene: &Scene) {
    let made = scene.launch().await;
    let isolation = made.isolation().clone();
    made.destroy().await.expect("destroyed");
    assert_eq!(&isolation.backend, scene.backend().name());
    assert!(!isolation.layers.is_empty() && isolation.layers.iter().all(|layer| !layer.is_empty()));
    assert!(isolation.not_enforced.is_empty(), "{isolation}");
    assert!(isolation.to_string().contains(scene.backend().name().as_str()));
}

pub(in super::super) async fn probe_is_ready(scene: &Scene) {
    match scene.backend().probe().await {
        agentkernel_backend::Probe::Ready { detail } => assert!(!detail.is_empty()),
        not_ready => panic!("the suite runs on a backend that is not ready: {not_ready:?}"),
    }
}
