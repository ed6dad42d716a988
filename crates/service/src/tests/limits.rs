//! Quotas and queues.

use std::time::Duration;

use agentkernel_api::ErrorCode;

use super::{Bench, admin, caller, code, sh};
use crate::{Input, Limits, Quota, Scope, Verdict};

#[tokio::test]
async fn a_keys_quota_holds_for_the_key_alone() {
    let bench = Bench::new();
    let quota = Quota { concurrent: Some(1), per_minute: Some(3) };
    let limited = caller(Scope::Run, Some(quota));
    let running = bench.service.run(&limited, sh("sleep 600"), Input::Request).await.unwrap();
    let refused = bench.service.run(&limited, sh("true"), Input::Request).await;
    let error = refused.err().unwrap();
    assert_eq!(error.code, ErrorCode::QuotaExceeded);
    assert!(error.retry_after.is_some());
    bench.run("true").await;
    drop(running);
    bench.settle().await;
    bench.service.run(&limited, sh("true"), Input::Request).await.unwrap().collect().await.unwrap();
    bench.settle().await;
    let error = bench.service.run(&limited, sh("true"), Input::Request).await.err().unwrap();
    assert!(
        error.message.contains("a minute") && error.retry_after.unwrap() > Duration::from_secs(1),
        "{error}"
    );
    let denied = bench.audit.actions().into_iter().filter(|(_, verdict)| *verdict == Verdict::Denied).count();
    assert_eq!(denied, 2);
    bench.assert_clean().await;
}

#[tokio::test]
async fn who_finds_no_room_waits_and_is_then_sent_away() {
    let limits = Limits {
        max_concurrent_runs: 1,
        max_queued: 1,
        queue_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let bench = Bench::with(limits);
    let running = bench.service.run(&admin(), sh("sleep 600"), Input::Request).await.unwrap();
    let caller = admin();
    let (first, second) = tokio::join!(
        bench.service.run(&caller, sh("true"), Input::Request),
        bench.service.run(&caller, sh("true"), Input::Request)
    );
    assert_eq!((code(first), code(second)), (ErrorCode::Busy, ErrorCode::Busy));
    let (waited, ()) = tokio::join!(bench.service.run(&caller, sh("echo hi"), Input::Request), async {
        drop(running);
    });
    assert_eq!(waited.unwrap().collect().await.unwrap().stdout, "hi\n");
    bench.assert_clean().await;
}
