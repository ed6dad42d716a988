//! Going down.

use std::time::Duration;

use agentkernel_api::{ErrorCode, EventKind};

use super::{Bench, admin, code, exec, sh};
use crate::{ExecExtra, Input};

#[tokio::test]
async fn what_runs_is_waited_for_and_new_work_is_refused() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let service = &bench.service;
    let mut events = service.subscribe(&admin(), None).await.unwrap();
    let started = service.run(&admin(), sh("sleep 600"), Input::Request).await.unwrap();
    let control = started.control();
    assert_eq!(events.next().await.kind, EventKind::CommandStarted);
    service.begin_shutdown();
    service.begin_shutdown();
    assert_eq!(events.next().await.kind, EventKind::ShuttingDown);
    assert_eq!(code(service.run(&admin(), sh("true"), Input::Request).await), ErrorCode::ShuttingDown);
    let refused = service.exec(&admin(), "work", exec("true"), ExecExtra::default()).await;
    assert_eq!(code(refused), ErrorCode::ShuttingDown);
    assert_eq!(service.list(&admin(), &[]).await.unwrap().len(), 1, "looking is still possible");
    assert!(!service.drained(Duration::from_millis(30)).await, "a command runs");
    control.signal("KILL").await.unwrap();
    let (result, drained) = tokio::join!(started.collect(), service.drained(Duration::from_secs(20)));
    assert_eq!(result.unwrap().exit_code, 137);
    assert!(drained);
    assert_eq!(bench.fake.objects().len(), 1, "only the sandbox that stays");
}

#[tokio::test]
async fn terminals_do_not_hold_the_server() {
    let bench = Bench::new();
    bench.sandbox("work").await;
    let exec = exec("cat");
    let request = agentkernel_api::TerminalRequest { exec, rows: 24, columns: 80, keep_seconds: 300 };
    bench.service.open_terminal(&admin(), "work", request).await.unwrap();
    bench.service.begin_shutdown();
    assert!(bench.service.drained(Duration::from_secs(20)).await);
}
