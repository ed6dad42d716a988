//! Terminals: attached, left, taken, closed.

use agentkernel_api::{ErrorCode, ExecRequest, TerminalRequest};
use bytes::Bytes;

use super::{Bench, admin, code, exec};
use crate::{Attached, TerminalEvent};

fn terminal(script: &str, keep_seconds: u32) -> TerminalRequest {
    TerminalRequest { exec: exec(script), rows: 24, columns: 80, keep_seconds }
}

/// Reads until `wanted` was shown; all that was.
async fn shown(attached: &mut Attached, wanted: &str) -> String {
    let mut seen = String::from_utf8(attached.scrollback.to_vec()).unwrap();
    while !seen.contains(wanted) {
        match attached.next().await {
            TerminalEvent::Output(bytes) => seen.push_str(std::str::from_utf8(&bytes).unwrap()),
            other => panic!("{other:?} after {seen:?}"),
        }
    }
    seen
}

async fn type_text(attached: &Attached, text: &str) {
    attached.input().send(Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
}

#[tokio::test]
async fn a_terminal_is_left_and_found_again() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let service = &bench.service;
    let opened = service.open_terminal(&admin(), "work", terminal("echo ready; cat", 300)).await.unwrap();
    assert!(!opened.attached);
    let mut first = service.attach_terminal(&admin(), "work", &opened.id).await.unwrap();
    shown(&mut first, "ready\n").await;
    type_text(&first, "one\n").await;
    shown(&mut first, "one\n").await;
    drop(first);
    let mut second = service.attach_terminal(&admin(), "work", &opened.id).await.unwrap();
    assert_eq!((second.scrollback.as_ref(), second.dropped), (&b"ready\none\n"[..], 0));
    type_text(&second, "two\n").await;
    assert_eq!(shown(&mut second, "two\n").await, "ready\none\ntwo\n");
    assert!(service.list_terminals(&admin(), "work").await.unwrap()[0].attached);
    service.close_terminal(&admin(), "work", &opened.id).await.unwrap();
    assert_eq!(second.next().await, TerminalEvent::Closed);
    assert!(service.list_terminals(&admin(), "work").await.unwrap().is_empty());
    bench.settle().await;
    assert!(service.executions(&admin(), "work").await.unwrap().is_empty(), "its command was killed");
}

#[tokio::test]
async fn who_comes_later_takes_it_over() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let service = &bench.service;
    let opened = service.open_terminal(&admin(), "work", terminal("cat", 300)).await.unwrap();
    let mut first = service.attach_terminal(&admin(), "work", &opened.id).await.unwrap();
    let input = first.input();
    let mut second = service.attach_terminal(&admin(), "work", &opened.id).await.unwrap();
    assert_eq!(first.next().await, TerminalEvent::Taken);
    assert_eq!(first.next().await, TerminalEvent::Closed);
    assert_eq!(code(input.send(Bytes::from_static(b"no\n")).await), ErrorCode::Conflict);
    type_text(&second, "yes\n").await;
    assert_eq!(shown(&mut second, "yes\n").await, "yes\n");
    service.close_terminal(&admin(), "work", &opened.id).await.unwrap();
}

#[tokio::test]
async fn its_end_is_told_after_all_of_its_output() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let service = &bench.service;
    let opened = service.open_terminal(&admin(), "work", terminal("seq 1 30000; exit 9", 300)).await.unwrap();
    let mut attached = service.attach_terminal(&admin(), "work", &opened.id).await.unwrap();
    let mut seen = attached.scrollback.to_vec();
    let result = loop {
        match attached.next().await {
            TerminalEvent::Output(bytes) => seen.extend_from_slice(&bytes),
            TerminalEvent::Ended(result) => break result,
            other => panic!("{other:?}"),
        }
    };
    let expected: String = (1..=30000).map(|n| format!("{n}\n")).collect();
    assert!(seen == expected.as_bytes() && result.exit_code == 9);
    bench.settle().await;
    // Once its end was heard, it is gone.
    while !service.list_terminals(&admin(), "work").await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_kept_for_who_comes() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let service = &bench.service;
    let opened = service.open_terminal(&admin(), "work", terminal("echo bye; exit 2", 300)).await.unwrap();
    bench.settle().await;
    let info = service.list_terminals(&admin(), "work").await.unwrap().remove(0);
    assert_eq!(info.exit_code, Some(2));
    let mut late = service.attach_terminal(&admin(), "work", &opened.id).await.unwrap();
    assert_eq!(late.scrollback.as_ref(), b"bye\n");
    assert!(matches!(late.next().await, TerminalEvent::Ended(result) if result.exit_code == 2));
}

#[tokio::test]
async fn without_keeping_it_ends_with_its_client() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let service = &bench.service;
    let opened = service.open_terminal(&admin(), "work", terminal("cat", 0)).await.unwrap();
    let attached = service.attach_terminal(&admin(), "work", &opened.id).await.unwrap();
    drop(attached);
    bench.settle().await;
    let gone = service.attach_terminal(&admin(), "work", &opened.id).await;
    assert_eq!(code(gone), ErrorCode::NotFound);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let bench = Bench::with(crate::Limits { max_terminals: 1, ..crate::Limits::default() });
    bench.sandbox("work").await;
    bench.sandbox("other").await;
    let service = &bench.service;
    let too_long = terminal("cat", 86_401);
    assert_eq!(code(service.open_terminal(&admin(), "work", too_long).await), ErrorCode::Invalid);
    let with_input = TerminalRequest {
        exec: ExecRequest { stdin: Some("x".to_owned()), ..exec("cat") },
        ..terminal("cat", 0)
    };
    assert_eq!(code(service.open_terminal(&admin(), "work", with_input).await), ErrorCode::Invalid);
    let opened = service.open_terminal(&admin(), "work", terminal("cat", 300)).await.unwrap();
    assert_eq!(code(service.open_terminal(&admin(), "work", terminal("cat", 300)).await), ErrorCode::Busy);
    assert_eq!(code(service.attach_terminal(&admin(), "other", &opened.id).await), ErrorCode::NotFound);
    assert_eq!(code(service.list_terminals(&admin(), "nobody").await), ErrorCode::NotFound);
    // Its sandbox takes it along.
    service.remove(&admin(), "work", true).await.unwrap();
    bench.settle().await;
    assert_eq!(code(service.attach_terminal(&admin(), "work", &opened.id).await), ErrorCode::NotFound);
}
