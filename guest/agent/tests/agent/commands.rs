//! Commands: exits, streams, signals, terminals, timeouts.

use std::time::Duration;

use agentkernel_backend::{BackendError, Guest};
use agentkernel_model::{BoxPath, ByteString, CannotExec, Outcome, Signal, TtySize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{TestBox, collect, request, shell, until};

/// Content that no text conversion survives.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(length)
    .collect()
}

#[tokio::test]
async fn exits_and_signals_are_exact() {
    let Some(test) = TestBox::start().await else { return };
    assert_eq!(
        test.run("echo out; echo err >&2").await,
        (Outcome::Exited(0), "out\n".into(), "err\n".into())
    );
    for code in [1, 7, 126, 127, 255] {
        assert_eq!(test.run(&format!("exit {code}")).await.0, Outcome::Exited(code));
    }
    assert_eq!(test.run("kill -TERM $$").await.0, Outcome::Signaled(Signal::TERM));
    assert_eq!(test.run("kill -34 $$").await.0, Outcome::Signaled(Signal::try_from(34).unwrap()));
    assert_eq!(test.run("kill -KILL $$").await.0, Outcome::Signaled(Signal::KILL));
}

#[tokio::test]
async fn start_failures_are_typed() {
    let Some(test) = TestBox::start().await else { return };
    let fails = async |request| match test.guest.exec(&request).await.map(|_| ()) {
        Err(BackendError::CannotExec(why)) => why,
        other => panic!("{other:?}"),
    };
    let why = fails(request(&["no-such-program"])).await;
    assert_eq!(why, CannotExec::NotFound { program: "no-such-program".into() });
    assert_eq!(fails(request(&[""])).await.exit_code(), 127);
    assert_eq!(fails(request(&["/nope/nope"])).await.exit_code(), 127);
    for program in ["/etc/passwd", "/etc"] {
        let why = fails(request(&[program])).await;
        assert!(matches!(&why, CannotExec::NotExecutable { .. }), "{why}");
        assert_eq!(why.exit_code(), 126);
    }
    let mut elsewhere = request(&["true"]);
    elsewhere.workdir = BoxPath::new("/nowhere").unwrap();
    assert!(matches!(fails(elsewhere).await, CannotExec::Workdir { .. }));
    let mut stranger = request(&["true"]);
    stranger.user = Some("no-such-user".parse().unwrap());
    assert!(matches!(fails(stranger).await, CannotExec::User { .. }));
    let scripts = tempfile::tempdir().unwrap();
    let script = scripts.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    make_executable(&script);
    assert!(matches!(fails(request(&[script.to_str().unwrap()])).await, CannotExec::NotExecutable { .. }));
    std::fs::write(&script, "echo \"$0 $1\"; exit 3\n").unwrap();
    let (outcome, out, _) =
        collect(test.guest.exec(&request(&[script.to_str().unwrap(), "x"])).await.unwrap()).await;
    assert_eq!(outcome, Outcome::Exited(3), "a script without an interpreter line is the shell's");
    assert_eq!(String::from_utf8(out).unwrap(), format!("{} x\n", script.display()));
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_binary_streams_pass_through_exactly() {
    let Some(test) = TestBox::start().await else { return };
    let content = noise(64 << 20);
    let mut cat = shell("cat; echo done >&2");
    cat.stdin = true;
    let mut execution = test.guest.exec(&cat).await.unwrap();
    let mut stdin = execution.stdin.take().unwrap();
    let sent = content.clone();
    let writer = tokio::spawn(async move {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    let (outcome, out, err) = collect(execution).await;
    writer.await.unwrap();
    assert_eq!(outcome, Outcome::Exited(0));
    assert!(out == content, "64 MiB differ");
    assert_eq!(err, b"done\n");
}

#[tokio::test]
async fn a_stuck_stream_holds_up_nothing_else() {
    let Some(test) = TestBox::start().await else { return };
    // Nobody reads stdin, nobody reads stdout: stderr, a signal and another command still get through.
    let mut stuck = shell("trap 'echo got >&2; exit 9' TERM; yes & echo set >&2; wait; wait");
    stuck.stdin = true;
    let mut execution = test.guest.exec(&stuck).await.unwrap();
    let mut stdin = execution.stdin.take().unwrap();
    let mut err = [0; 4];
    // A shell that hasn't come so far yet would die of the signal.
    execution.stderr.as_mut().unwrap().read_exact(&mut err).await.unwrap();
    assert_eq!(&err, b"set\n");
    let writer = tokio::spawn(async move { stdin.write_all(&vec![0; 8 << 20]).await });
    until("another command runs", async || test.run("echo fine").await.1 == "fine\n").await;
    execution.control.signal(Signal::TERM).await.unwrap();
    execution.stderr.as_mut().unwrap().read_exact(&mut err).await.unwrap();
    assert_eq!(&err, b"got\n");
    assert_eq!(execution.control.wait().await.unwrap(), Outcome::Exited(9));
    drop(execution);
    assert!(writer.await.unwrap().is_err(), "the reader of stdin is gone");
}

#[tokio::test]
async fn closed_output_is_a_broken_pipe_inside() {
    let Some(test) = TestBox::start().await else { return };
    let mut execution = test.guest.exec(&request(&["yes"])).await.unwrap();
    let mut first = [0; 2];
    execution.stdout.read_exact(&mut first).await.unwrap();
    drop(std::mem::replace(&mut execution.stdout, Box::new(tokio::io::empty())));
    let outcome = execution.control.wait().await.unwrap();
    assert_eq!(outcome, Outcome::Signaled(Signal::try_from(13).unwrap()));
}

#[tokio::test]
async fn the_end_is_told_behind_all_that_was_written() {
    const BYTES: usize = 1_000_000;
    let Some(test) = TestBox::start().await else { return };
    // More than may be on its way to somebody who doesn't read, and less than that and a pipe: it ends all the same.
    let mut execution = test.guest.exec(&shell(&format!("head -c {BYTES} /dev/zero; exit 3"))).await.unwrap();
    let early = tokio::time::timeout(Duration::from_secs(1), execution.control.wait()).await;
    assert!(early.is_err(), "{early:?}, and nobody knows how much is still to come");
    let mut out = Vec::new();
    execution.stdout.read_to_end(&mut out).await.unwrap();
    assert_eq!(out.len(), BYTES);
    assert_eq!(execution.control.wait().await.unwrap(), Outcome::Exited(3));

    // What is left behind may write for ever: the end doesn't wait for that.
    let mut execution = test.guest.exec(&shell("yes & exit 5")).await.unwrap();
    let mut stdout = std::mem::replace(&mut execution.stdout, Box::new(tokio::io::empty()));
    let reading = async {
        let mut buffer = vec![0; 1 << 16];
        while stdout.read(&mut buffer).await.unwrap() > 0 {}
    };
    tokio::select! {
        () = reading => panic!("the one left behind has ended"),
        outcome = execution.control.wait() => assert_eq!(outcome.unwrap(), Outcome::Exited(5)),
    }
}

#[tokio::test]
async fn a_terminal_is_one() {
    let Some(test) = TestBox::start().await else { return };
    let mut script = shell(
        "trap 'stty size; exit 4' WINCH; tty; stty size; cut -d' ' -f7 /proc/$$/stat; while :; do sleep 0.05; done",
    );
    script.tty = Some(TtySize { rows: 33, columns: 111 });
    let mut execution = test.guest.exec(&script).await.unwrap();
    assert!(execution.stderr.is_none());
    let mut out = Vec::new();
    while out.iter().filter(|byte| **byte == b'\n').count() < 3 {
        execution.stdout.read_buf(&mut out).await.unwrap();
    }
    execution.control.resize(TtySize { rows: 40, columns: 120 }).await.unwrap();
    execution.stdout.read_to_end(&mut out).await.unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("/dev/pts/") && out.contains("33 111") && out.contains("40 120"), "{out}");
    let device: i32 = out.lines().nth(2).unwrap().trim().parse().unwrap();
    assert_ne!(device, 0, "no controlling terminal: {out}");
    assert_eq!(execution.control.wait().await.unwrap(), Outcome::Exited(4));
}

#[tokio::test]
async fn a_terminal_passes_interrupts_and_end_of_file() {
    let Some(test) = TestBox::start().await else { return };
    let size = Some(TtySize { rows: 24, columns: 80 });
    let mut sleeper = request(&["sleep", "100"]);
    (sleeper.tty, sleeper.stdin) = (size, true);
    let mut execution = test.guest.exec(&sleeper).await.unwrap();
    execution.stdin.as_mut().unwrap().write_all(b"\x03").await.unwrap();
    assert_eq!(execution.control.wait().await.unwrap(), Outcome::Signaled(Signal::INT));
    for input in ["line\n", "no newline"] {
        let mut cat = request(&["cat"]);
        (cat.tty, cat.stdin) = (size, true);
        let mut execution = test.guest.exec(&cat).await.unwrap();
        let mut stdin = execution.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        stdin.shutdown().await.unwrap();
        let (outcome, out, _) = collect(execution).await;
        assert_eq!(outcome, Outcome::Exited(0));
        assert!(String::from_utf8(out).unwrap().contains(input.trim()));
    }
}

/// A process that has left its session, its parent and its streams.
const DAEMON: &str = "setsid sh -c 'exec >/dev/null 2>&1; (exec setsid sleep 4711) & exit' & ";

async fn daemons(test: &TestBox) -> usize {
    let script = "for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$file; echo; done 2>/dev/null | grep -c '^sleep 4711 $'";
    test.run(script).await.1.trim().parse().unwrap()
}

#[tokio::test]
async fn a_timeout_kills_the_whole_tree() {
    let Some(test) = TestBox::start().await else { return };
    let mut command = shell(&format!("{DAEMON} sleep 1000"));
    command.timeout = Some(Duration::from_millis(700));
    let execution = test.guest.exec(&command).await.unwrap();
    until("the daemon runs", async || daemons(&test).await == 1).await;
    assert_eq!(collect(execution).await.0, Outcome::TimedOut);
    assert_eq!(daemons(&test).await, 0);
}

#[tokio::test]
async fn a_stopped_supervisor_stops_no_timeout() {
    let Some(test) = TestBox::start().await else { return };
    let mut command = shell("kill -STOP $PPID; sleep 1000");
    command.timeout = Some(Duration::from_millis(300));
    assert_eq!(collect(test.guest.exec(&command).await.unwrap()).await.0, Outcome::TimedOut);
    assert_eq!(test.run("kill -STOP $PPID; exit 3").await.0, Outcome::Exited(3));
}

#[tokio::test]
async fn letting_go_kills_the_whole_tree() {
    let Some(test) = TestBox::start().await else { return };
    let execution = test.guest.exec(&shell(&format!("{DAEMON} sleep 1000"))).await.unwrap();
    until("the daemon runs", async || daemons(&test).await == 1).await;
    drop(execution);
    until("the daemon is gone", async || daemons(&test).await == 0).await;
}

#[tokio::test]
async fn a_lost_client_takes_its_commands_with_it() {
    let Some(test) = TestBox::start().await else { return };
    let other = test.connect().await;
    let execution = other.exec(&shell(&format!("{DAEMON} sleep 1000"))).await.unwrap();
    until("the daemon runs", async || daemons(&test).await == 1).await;
    drop((execution, other));
    until("the daemon is gone", async || daemons(&test).await == 0).await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_lives_on() {
    let Some(test) = TestBox::start().await else { return };
    assert_eq!(test.run(DAEMON).await.0, Outcome::Exited(0));
    until("the daemon runs", async || daemons(&test).await == 1).await;
    assert_eq!(test.run("true").await.0, Outcome::Exited(0));
    assert_eq!(daemons(&test).await, 1);
    // A background child that holds the output keeps it open; the exit is told at once.
    let mut execution = test.guest.exec(&shell("(sleep 0.5; echo late) & exit 5")).await.unwrap();
    assert_eq!(execution.control.wait().await.unwrap(), Outcome::Exited(5));
    let mut out = String::new();
    execution.stdout.read_to_string(&mut out).await.unwrap();
    assert_eq!(out, "late\n");
}

#[tokio::test]
async fn killing_everything_from_inside_harms_only_the_commands() {
    let Some(test) = TestBox::start().await else { return };
    let victim = test.guest.exec(&shell(&format!("{DAEMON} sleep 1000"))).await.unwrap();
    until("the daemon runs", async || daemons(&test).await == 1).await;
    // The shell survives its own kill -1; its supervisor doesn't.
    let (outcome, out, _) = test.run("kill -9 1; kill -9 -1; echo alive; exit 3").await;
    assert_eq!((outcome, out.as_str()), (Outcome::Exited(3), "alive\n"));
    assert_eq!(victim.control.wait().await.unwrap(), Outcome::Signaled(Signal::KILL));
    // Commands without a supervisor can still be killed, with what they left behind.
    let orphan = test.guest.exec(&shell(&format!("{DAEMON} kill -9 $PPID; sleep 1000"))).await.unwrap();
    until("the daemon runs", async || daemons(&test).await == 1).await;
    orphan.control.signal(Signal::KILL).await.unwrap();
    assert_eq!(orphan.control.wait().await.unwrap(), Outcome::Signaled(Signal::KILL));
    until("the daemon is gone", async || daemons(&test).await == 0).await;
    assert_eq!(test.run("echo fine").await.1, "fine\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_commands_run_at_once() {
    let Some(test) = TestBox::start().await else { return };
    let mut tasks = Vec::new();
    for number in 0..50_u8 {
        let guest = std::sync::Arc::clone(&test.guest);
        tasks.push(tokio::spawn(async move {
            let script = format!("head -c 100000 /dev/zero; echo {number} >&2; exit {number}");
            collect(guest.exec(&shell(&script)).await.unwrap()).await
        }));
    }
    for (number, task) in tasks.into_iter().enumerate() {
        let (outcome, out, err) = task.await.unwrap();
        assert_eq!(outcome, Outcome::Exited(number as u8));
        assert_eq!(out.len(), 100_000);
        assert_eq!(err, format!("{number}\n").into_bytes());
    }
    assert!(test.guest.executions().await.unwrap().is_empty());
}

#[tokio::test]
async fn large_and_strange_arguments_arrive() {
    let Some(test) = TestBox::start().await else { return };
    let mut long = request(&["sh", "-c", "printf %s \"$1$2\" | wc -c; printf %s \"$V\"", "sh"]);
    // One argument may be 128 KiB long (MAX_ARG_STRLEN), all together a quarter of the stack's limit.
    for _ in 0..12 {
        long.argv.push(ByteString(vec![b'a'; 125_000]));
    }
    long.env.push(agentkernel_model::EnvVar { name: "V".into(), value: ByteString(b"\xff\xfe=x".to_vec()) });
    let (outcome, out, _) = collect(test.guest.exec(&long).await.unwrap()).await;
    assert_eq!(outcome, Outcome::Exited(0));
    assert_eq!(out, b"250000\n\xff\xfe=x");
    let mut echo = request(&["printf", "%s"]);
    echo.argv.push(ByteString(b"\x80\xff".to_vec()));
    assert_eq!(collect(test.guest.exec(&echo).await.unwrap()).await.1, b"\x80\xff");
    for _ in 0..12 {
        echo.argv.push(ByteString(vec![b'a'; 250_000]));
    }
    let refused = test.guest.exec(&echo).await.map(|_| ());
    assert!(
        matches!(refused, Err(BackendError::CannotExec(CannotExec::NotExecutable { .. }))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn users_are_those_of_the_box() {
    let Some(test) = TestBox::start().await else { return };
    for (user, expected) in
        [("nobody", "65534 65534"), ("12345", "12345 0"), ("12345:77", "12345 77"), ("root", "0 0")]
    {
        let mut id = shell("echo $(id -u) $(id -g)");
        id.user = Some(user.parse().unwrap());
        let (_, out, _) = collect(test.guest.exec(&id).await.unwrap()).await;
        assert_eq!(String::from_utf8(out).unwrap().trim(), expected, "{user}");
    }
}

#[tokio::test]
async fn commands_inherit_nothing() {
    let Some(test) = TestBox::start().await else { return };
    let (_, out, _) =
        test.run("ls /proc/self/fd | tr '\\n' ' '; grep -E 'SigBlk|SigIgn' /proc/self/status").await;
    // The fourth is the folder that ls reads.
    assert!(out.starts_with("0 1 2 3 "), "{out}");
    assert!(out.contains("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000"), "{out}");
    let mut env = request(&["env"]);
    env.env.truncate(1);
    assert_eq!(collect(test.guest.exec(&env).await.unwrap()).await.1, b"PATH=/usr/bin:/bin\n");
}
