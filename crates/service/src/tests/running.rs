//! `run`: results, streams, ends.

use std::time::Duration;

use agentkernel_api::{BatchRequest, Encoding, Environment, ErrorCode, EventKind, InitialFile, RunRequest};
use agentkernel_testkit::fake::{FakeBackend, Fault, Step};
use tokio::io::AsyncWriteExt;

use super::{Bench, admin, sh};
use crate::{Input, Limits, OutputEvent, Verdict};

#[tokio::test]
async fn a_result_tells_all_and_nothing_is_left() {
    let bench = Bench::new();
    let result = bench.run("echo out; echo err >&2; exit 7").await;
    assert_eq!((result.stdout.as_str(), result.stderr.as_str(), result.exit_code), ("out\n", "err\n", 7));
    // The fake delivers in pieces of a byte, in any order of the two.
    assert_eq!(result.output.len(), "out\nerr\n".len(), "{:?}", result.output);
    assert_eq!((result.backend.as_str(), result.image.as_str(), result.warm), ("fake", "host", false));
    assert_eq!((result.signal, result.timed_out, result.error, result.sandbox), (None, false, None, None));
    bench.assert_clean().await;
    let actions = [("run", Verdict::Allowed), ("run_end", Verdict::Allowed)];
    assert_eq!(bench.audit.actions(), actions);
    assert_eq!(bench.audit.entries()[1].exit_code, Some(7));
}

#[tokio::test]
async fn what_was_found_in_the_servers_folder_does_not_count() {
    let bench = Bench::new();
    bench.run("true").await;
    assert_eq!(bench.fake.launched()[0].profile.to_string(), "moderate");
    assert!(bench.fake.launched()[0].mounts.is_empty());
}

#[tokio::test]
async fn a_command_that_cannot_start_is_a_result() {
    let bench = Bench::new();
    for (command, code, kind) in [("nope", 127, "not_found"), ("/workspace", 126, "not_executable")] {
        let request = RunRequest { command: vec![command.to_owned()], ..sh("") };
        let result = bench.try_run(request.clone()).await.unwrap();
        assert_eq!((result.exit_code, result.error.unwrap().kind.as_str()), (code, kind));
        assert_eq!(result.isolation.boundary, "none");
        let mut stream = bench.service.run(&admin(), request, Input::Request).await.unwrap().into_stream();
        let Some(OutputEvent::End(result)) = stream.next().await.unwrap() else { panic!("no end") };
        assert_eq!(result.exit_code, code);
        assert_eq!(stream.next().await.unwrap(), None);
    }
    bench.assert_clean().await;
}

#[tokio::test]
async fn input_environment_and_files_get_there() {
    let bench = Bench::new();
    let request = RunRequest {
        stdin: Some("AP9h".to_owned()),
        stdin_encoding: Encoding::Base64,
        encoding: Encoding::Base64,
        env: Environment::List(vec!["A=1".to_owned(), "A=2".to_owned()]),
        files: vec![InitialFile {
            path: "/data/deep/f".to_owned(),
            content: "content".to_owned(),
            encoding: Encoding::Utf8,
            mode: Some("0600".to_owned()),
        }],
        ..sh("cat; echo $A >&2; cat /data/deep/f >&2")
    };
    let result = bench.try_run(request).await.unwrap();
    assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("AP9h", "Mgpjb250ZW50"));
    bench.assert_clean().await;
}

#[tokio::test]
async fn an_open_input_is_written_by_who_started_it() {
    let bench = Bench::new();
    let mut started = bench.service.run(&admin(), sh("cat"), Input::Open).await.unwrap();
    let mut stdin = started.take_stdin().unwrap();
    assert!(started.take_stdin().is_none());
    let typing = async move {
        stdin.write_all(b"hello").await.unwrap();
        stdin.shutdown().await.unwrap();
    };
    let (result, ()) = tokio::join!(started.collect(), typing);
    assert_eq!(result.unwrap().stdout, "hello");
    let refused = RunRequest { stdin: Some("x".to_owned()), ..sh("cat") };
    let refused = bench.service.run(&admin(), refused, Input::Open).await;
    assert_eq!(super::code(refused), ErrorCode::Invalid);
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_time_limit_kills_and_says_so() {
    let bench = Bench::new();
    let result = bench.try_run(RunRequest { timeout_ms: Some(20), ..sh("sleep 60") }).await.unwrap();
    assert_eq!((result.exit_code, result.timed_out), (124, true));
    let limited = Bench::with(Limits { default_timeout: Duration::from_millis(20), ..Limits::default() });
    assert!(limited.run("sleep 60").await.timed_out);
    bench.assert_clean().await;
    limited.assert_clean().await;
}

#[tokio::test]
async fn output_is_bounded_and_the_rest_is_read() {
    let bench = Bench::new();
    let request = RunRequest { max_output_bytes: Some(10), ..sh("seq 1 100000; echo end >&2; exit 3") };
    let result = bench.try_run(request).await.unwrap();
    assert_eq!(
        (result.stdout.as_str(), result.stdout_truncated, result.exit_code),
        ("1\n2\n3\n4\n5\n", true, 3)
    );
    assert_eq!((result.stderr.as_str(), result.stderr_truncated), ("end\n", false));
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_stream_gives_every_byte_and_an_end_without_output() {
    let bench = Bench::new();
    let started = bench.service.run(&admin(), sh("seq 1 20000; echo e >&2"), Input::Request).await.unwrap();
    assert!(started.is_running() && !started.info().id.is_empty());
    let mut stream = started.into_stream();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let result = loop {
        match stream.next().await.unwrap().unwrap() {
            OutputEvent::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            OutputEvent::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            OutputEvent::End(result) => break result,
        }
    };
    let expected: String = (1..=20000).map(|n| format!("{n}\n")).collect();
    assert!(stdout == expected.as_bytes() && stderr == b"e\n");
    assert_eq!((result.exit_code, result.output.as_str(), result.stdout.as_str()), (0, "", ""));
    assert_eq!(stream.next().await.unwrap(), None);
    bench.assert_clean().await;
}

#[tokio::test]
async fn dropping_kills_the_command_and_removes_the_box() {
    let bench = Bench::new();
    let started = bench.service.run(&admin(), sh("sleep 600"), Input::Request).await.unwrap();
    let control = started.control();
    drop(started);
    bench.assert_clean().await;
    assert_eq!(super::code(control.signal("TERM").await), ErrorCode::NotFound);
    let mut stream = bench.service.run(&admin(), sh("yes"), Input::Request).await.unwrap().into_stream();
    assert!(matches!(stream.next().await.unwrap(), Some(OutputEvent::Stdout(_))));
    drop(stream);
    bench.assert_clean().await;
    let ends = bench.audit.actions().into_iter().filter(|(action, _)| *action == "run_end");
    assert!(ends.clone().count() == 2 && ends.map(|(_, verdict)| verdict).all(|end| end == Verdict::Failed));
}

#[tokio::test]
async fn a_client_that_leaves_while_its_box_is_made_leaves_nothing() {
    let bench = Bench::new();
    for _ in 0..20 {
        let caller = admin();
        let run = bench.service.run(&caller, sh("sleep 600"), Input::Request);
        // Polled a few times, then dropped.
        tokio::select! {
            biased;
            started = run => drop(started.unwrap()),
            () = tokio::task::yield_now() => {}
        }
        bench.assert_clean().await;
    }
}

#[tokio::test]
async fn signals_reach_the_command() {
    let bench = Bench::new();
    let started = bench.service.run(&admin(), sh("sleep 600"), Input::Request).await.unwrap();
    let control = started.control();
    assert_eq!(super::code(control.signal("NOPE").await), ErrorCode::Invalid);
    control.signal("TERM").await.unwrap();
    let result = started.collect().await.unwrap();
    assert_eq!((result.exit_code, result.signal.as_deref()), (143, Some("SIGTERM")));
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_failure_of_any_step_is_an_error_and_leaves_nothing() {
    for fault in [Fault::Before, Fault::After] {
        for step in [Step::Launch, Step::Exec] {
            let bench = Bench::new();
            bench.fake.inject(step, fault);
            let error = bench.try_run(sh("true")).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::Failed);
            // What was decided is still good.
            assert_eq!(bench.run("echo again").await.stdout, "again\n");
        }
    }
}

#[tokio::test]
async fn a_backend_that_is_not_ready_is_unavailable() {
    let bench = Bench::of(FakeBackend::new().not_ready("no kernel", "get one"), Limits::default());
    let error = bench.try_run(sh("true")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    let error =
        bench.try_run(RunRequest { backend: Some("other".to_owned()), ..sh("true") }).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Invalid);
}

#[tokio::test]
async fn an_empty_command_needs_an_image_that_has_one() {
    let bench = Bench::new();
    let error = bench.try_run(RunRequest { command: Vec::new(), ..sh("") }).await.unwrap_err();
    assert!(error.code == ErrorCode::Invalid && error.message.starts_with("command"), "{error}");
}

#[tokio::test]
async fn a_batch_answers_in_order_and_each_for_itself() {
    let bench = Bench::new();
    let commands = vec![
        sh("echo 0"),
        RunRequest { command: vec!["nope".to_owned()], ..sh("") },
        RunRequest { profile: Some("nope".to_owned()), ..sh("true") },
        sh("echo 3; exit 3"),
    ];
    let results = bench.service.batch(&admin(), BatchRequest { commands }).await.unwrap().results;
    assert_eq!(results[0].output.as_deref(), Some("0\n"));
    assert_eq!((results[1].code, results[1].output.as_ref()), (Some(ErrorCode::CannotExec), None));
    assert_eq!((results[2].code, results[2].result.is_none()), (Some(ErrorCode::Invalid), true));
    assert_eq!((results[3].output.as_deref(), results[3].error.as_ref()), (Some("3\n"), None));
    assert_eq!(results[3].result.as_ref().unwrap().exit_code, 3);
    let empty = bench.service.batch(&admin(), BatchRequest { commands: Vec::new() }).await;
    assert_eq!(super::code(empty), ErrorCode::Invalid);
    bench.assert_clean().await;
}

#[tokio::test]
async fn a_hundred_at_once_all_end() {
    let bench = Bench::with(Limits { max_concurrent_runs: 8, max_concurrent_starts: 2, ..Limits::default() });
    let runs = (0..100).map(|n| {
        let service = bench.service.clone();
        tokio::spawn(async move {
            let started = service.run(&admin(), sh(&format!("echo {n}")), Input::Request).await.unwrap();
            started.collect().await.unwrap().stdout == format!("{n}\n")
        })
    });
    for run in runs.collect::<Vec<_>>() {
        assert!(run.await.unwrap());
    }
    bench.assert_clean().await;
    let stats = bench.service.stats(&admin()).await.unwrap();
    assert_eq!((stats.commands, stats.running, stats.queued), (100, 0, 0));
    assert!(stats.run_p99_ms >= stats.run_p50_ms && stats.run_p50_ms > 0.0);
}

#[tokio::test]
async fn events_and_metrics_tell_of_it() {
    let bench = Bench::new();
    let mut events = bench.service.subscribe(&admin(), None).await.unwrap();
    bench.run("exit 5").await;
    let started = events.next().await;
    let ended = events.next().await;
    assert_eq!((started.kind, ended.kind), (EventKind::CommandStarted, EventKind::CommandEnded));
    assert_eq!(ended.fields["exit_code"], "5");
    assert_eq!(started.fields["execution"], ended.fields["execution"]);
    let mut again = bench.service.subscribe(&admin(), Some(started.id)).await.unwrap();
    assert_eq!(again.next().await, ended);
    let metrics = bench.service.metrics(&admin()).await.unwrap();
    for line in [
        "# TYPE agentkernel_commands_total counter",
        "agentkernel_commands_total 1",
        "agentkernel_run_seconds_count 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
}
