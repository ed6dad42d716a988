//! Verbs that end in the middle: their futures are dropped after n polls. The fake gives way at each of its calls, so
//! every point between two steps is met. What is left must be recovered whole by the next command.

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agentkernel_model::Phase;

use super::{Bench, name, plan, sh, spec};
use crate::RunPlan;

/// Polls `future` at most `polls` times, then drops it. `None` where it was dropped.
async fn cut_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(value);
        }
        // What the verb spawned or handed to the fake goes on meanwhile.
        tokio::task::yield_now().await;
    }
    None
}

/// The machine and the records agree, nothing is half done, and all can be removed.
async fn is_whole(bench: &Bench, at: &str) {
    let other = bench.another();
    let recovered = other.recover().await.unwrap();
    assert!(recovered.notes.is_empty(), "{at}: {recovered:?}");
    assert_eq!(other.recover().await.unwrap(), crate::Recovered::default(), "{at}: once is enough");
    let views = other.list().await.unwrap();
    assert_eq!(bench.fake.objects().len(), views.len(), "{at}: {views:?} {:?}", bench.fake.objects());
    for view in views {
        let recorded = other.store().read(&view.name).unwrap().phase;
        assert!(matches!(recorded, Phase::Running | Phase::Stopped), "{at}: {recorded}");
        assert_eq!(recorded, view.phase, "{at}");
        assert!(!view.ephemeral, "{at}");
        other.start(&view.name).await.unwrap();
        other.remove(&view.name, true).await.unwrap();
    }
    bench.assert_nothing_left();
}

#[tokio::test]
async fn verbs_cut_at_any_point_are_recovered() {
    for verb in ["create", "start", "stop", "remove"] {
        let mut finished = false;
        for polls in 0..60 {
            let bench = Bench::new();
            let a = name("a");
            if verb != "create" {
                bench.engine.create(&a, spec(), &[]).await.unwrap();
            }
            if matches!(verb, "stop" | "remove") {
                bench.engine.start(&a).await.unwrap();
            }
            finished = match verb {
                "create" => cut_after(polls, bench.engine.create(&a, spec(), &[])).await.is_some(),
                "start" => cut_after(polls, bench.engine.start(&a)).await.is_some(),
                "stop" => cut_after(polls, bench.engine.stop(&a, Duration::ZERO)).await.is_some(),
                _ => cut_after(polls, bench.engine.remove(&a, true)).await.is_some(),
            };
            is_whole(&bench, &format!("{verb} after {polls} polls")).await;
            if finished {
                assert!(polls > 1, "{verb} was never cut");
                break;
            }
        }
        assert!(finished, "{verb} never ended");
    }
}

#[tokio::test]
async fn runs_cut_at_any_point_are_recovered() {
    for (keep, named) in [(None, None), (None, Some("a")), (Some("a"), None)] {
        let mut finished = false;
        for polls in 0..60 {
            let bench = Bench::new();
            let run = RunPlan { keep: keep.map(name), name: named.map(name), ..plan(sh("sleep 60")) };
            let cut = cut_after(polls, bench.engine.run(run)).await;
            finished = cut.is_some();
            // Its process dies here: what it still holds goes with it, unfinished.
            bench.fake.kill_process();
            drop(cut);
            is_whole(&bench, &format!("run {keep:?} {named:?} after {polls} polls")).await;
            if finished {
                assert!(polls > 1, "the run was never cut");
                break;
            }
        }
        assert!(finished, "the run never ended");
    }
}
