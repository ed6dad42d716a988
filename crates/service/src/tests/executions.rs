//! Detached commands and their logs.

use agentkernel_api::{ErrorCode, ExecRequest, ExecutionStatus, KillRequest};

use super::{Bench, admin, code, exec};
use crate::{LogEvent, Logs, OutputKind};

/// Everything to the end: stdout, stderr, and the end's offset.
async fn read(mut logs: Logs) -> (String, String, u64, Option<u8>) {
    let (mut stdout, mut stderr, mut at) = (Vec::new(), Vec::new(), logs.start);
    loop {
        match logs.next().await.unwrap().unwrap() {
            LogEvent::Output { offset, kind, bytes } => {
                assert_eq!(offset, at);
                at += bytes.len() as u64;
                match kind {
                    OutputKind::Stdout => stdout.extend_from_slice(&bytes),
                    OutputKind::Stderr => stderr.extend_from_slice(&bytes),
                }
            }
            LogEvent::End(info) => {
                assert_eq!(logs.next().await.unwrap(), None);
                let text = |bytes| String::from_utf8(bytes).unwrap();
                return (text(stdout), text(stderr), at, info.exit_code);
            }
        }
    }
}

#[tokio::test]
async fn a_detached_command_outlives_its_client_and_its_log_goes_on_from_any_byte() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let service = &bench.service;
    let started =
        service.exec_detached(&admin(), "work", exec("seq 1 5000; echo e >&2; exit 3")).await.unwrap();
    let id = started.id.as_str();
    let (stdout, stderr, end, exit_code) =
        read(service.logs(&admin(), "work", id, 0, true).await.unwrap()).await;
    let expected: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    assert!(stdout == expected && stderr == "e\n" && exit_code == Some(3));
    assert_eq!(end, expected.len() as u64 + 2);
    let (tail, ..) = read(service.logs(&admin(), "work", id, end - 8, false).await.unwrap()).await;
    assert_eq!(tail, "\n5000\n");
    let info = service.execution(&admin(), "work", id).await.unwrap();
    assert_eq!((info.status, info.exit_code, info.detached), (ExecutionStatus::Ended, Some(3), true));
    assert_eq!(service.executions(&admin(), "work").await.unwrap().len(), 1);
}

#[tokio::test]
async fn commands_are_killed_by_id() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let service = &bench.service;
    let started = service.exec_detached(&admin(), "work", exec("sleep 600")).await.unwrap();
    let signal = |text: &str| KillRequest { signal: Some(text.to_owned()) };
    assert_eq!(code(service.kill(&admin(), "work", &started.id, signal("0")).await), ErrorCode::Invalid);
    service.kill(&admin(), "work", &started.id, KillRequest::default()).await.unwrap();
    let (.., exit_code) = read(service.logs(&admin(), "work", &started.id, 0, true).await.unwrap()).await;
    assert_eq!(exit_code, Some(137));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_makes_no_sense_is_refused() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let service = &bench.service;
    assert_eq!(code(service.execution(&admin(), "work", "nope").await), ErrorCode::NotFound);
    assert_eq!(code(service.logs(&admin(), "work", "nope", 0, false).await), ErrorCode::NotFound);
    assert_eq!(
        code(service.kill(&admin(), "work", "nope", KillRequest::default()).await),
        ErrorCode::NotFound
    );
    assert_eq!(code(service.executions(&admin(), "nobody").await), ErrorCode::NotFound);
    let with_input = ExecRequest { stdin: Some("x".to_owned()), ..exec("cat") };
    assert_eq!(code(service.exec_detached(&admin(), "work", with_input).await), ErrorCode::Invalid);
    let missing = ExecRequest { command: vec!["nope".to_owned()], ..exec("") };
    assert_eq!(code(service.exec_detached(&admin(), "work", missing).await), ErrorCode::CannotExec);
}
