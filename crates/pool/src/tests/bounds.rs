//! Never more than was allowed, whatever is asked for.

use super::*;
use crate::PoolError;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_each_get_a_box_of_their_own() {
    let bench = Bench::new(PoolSettings { parallel_starts: 4, max_per_template: 8, ..settings() });
    bench.pool.warm(&spec(), 4).await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..100 {
        let backend = Arc::clone(&bench.backend);
        tasks.push(tokio::spawn(async move {
            let made = backend.launch(&spec()).await.unwrap();
            let (guest, path) = (made.guest(), BoxPath::new("/tmp/used").unwrap());
            assert!(guest.stat(&path).await.is_err(), "{number} is not the first in its box");
            guest.write_file(&path, None, Box::new(&b"x"[..])).await.unwrap();
            drop(guest);
            made.destroy().await.unwrap();
        }));
    }
    for task in tasks {
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    let most = |kinds: &[KindStatus]| kinds[0].ready <= 8 && kinds[0].starting == 0;
    bench.until("no more than the most", most).await;
    let status = &bench.pool.status().kinds[0];
    assert_eq!(status.hits + status.misses, 100, "{status:?}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn takers_that_give_up_leave_nothing_behind() {
    let bench = Bench::new(PoolSettings { parallel_starts: 1, default_min: 0, ..settings() });
    let lane = bench.pool.lane_of(&spec().backend).unwrap();
    let busy = lane.places.acquire().await.unwrap();
    let backend = Arc::clone(&bench.backend);
    let impatient = tokio::spawn(async move { backend.launch(&spec()).await.map(drop) });
    bench.until("it waits", |kinds| kinds.iter().any(|kind| kind.starting == 1)).await;
    impatient.abort();
    assert!(impatient.await.is_err());
    assert_eq!(bench.launches(), 0);
    drop(busy);
    bench.until("nobody wants it", |kinds| kinds[0].starting == 0).await;
    assert_eq!(bench.launches(), 0);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kind_that_was_not_used_for_longest_goes_first() {
    let bench = Bench::new(PoolSettings { max_templates: 2, default_min: 1, ..settings() });
    bench.pool.warm(&other("a"), 1).await.unwrap();
    bench.pool.warm(&other("b"), 1).await.unwrap();
    bench.launch(&other("a")).await.destroy().await.unwrap();
    bench.pool.warm(&other("c"), 1).await.unwrap();
    let names = |bench: &Bench| {
        let state = bench.pool.state();
        state.kinds.values().map(|kind| kind.spec.hostname.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&bench), BTreeSet::from(["a".to_owned(), "c".to_owned()]));
    bench.pool.keep(&other("a"), 1, 2).unwrap();
    bench.pool.keep(&other("c"), 1, 2).unwrap();
    let full = bench.pool.warm(&other("d"), 1).await;
    assert!(matches!(full, Err(PoolError::TooManyKinds { max: 2 })), "{full:?}");
    let made = bench.launch(&other("d")).await;
    assert!(!made.is_warm(), "one that can't be kept is made all the same");
    made.destroy().await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_limits_count_and_the_least_used_makes_room() {
    let bench = Bench::new(PoolSettings { max_memory: Mib(64 * 3), default_min: 2, ..settings() });
    bench.pool.warm(&other("old"), 2).await.unwrap();
    bench.pool.warm(&other("new"), 2).await.unwrap();
    let status = bench.pool.status();
    assert!(status.memory <= Mib(64 * 3), "{status:?}");
    let ready: Vec<u32> = status.kinds.iter().map(|kind| kind.ready).collect();
    assert_eq!(ready, [2, 1], "{status:?}");
    let refused = bench.pool.warm(&other("new"), 4).await;
    assert!(matches!(refused, Err(PoolError::TooMuchMemory { .. })), "{refused:?}");
    let huge = SandboxSpec {
        resources: Resources { memory: Some(Mib(1000)), ..Resources::default() },
        ..other("huge")
    };
    let made = bench.launch(&huge).await;
    made.destroy().await.unwrap();
    assert!(bench.pool.status().memory <= Mib(64 * 3), "none of its kind waits");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_most_are_refused() {
    let bench = Bench::new(PoolSettings { max_per_template: 3, ..settings() });
    assert!(matches!(bench.pool.warm(&spec(), 4).await, Err(PoolError::TooMany { count: 4, max: 3 })));
    assert_eq!(bench.pool.warm(&spec(), 3).await.unwrap(), 3);
    let strange = SandboxSpec { backend: "other".parse().unwrap(), ..spec() };
    assert!(matches!(bench.pool.warm(&strange, 1).await, Err(PoolError::UnknownBackend { .. })));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taker_that_goes_while_its_box_is_made_leaves_no_box() {
    let bench = Bench::new(PoolSettings { default_min: 0, ..settings() });
    for round in 0..50 {
        let (backend, cold) = (Arc::clone(&bench.backend), round % 2 == 0);
        let taker = tokio::spawn(async move {
            match cold {
                true => backend.launch_cold(&spec()).await.map(drop),
                false => backend.launch(&spec()).await.map(drop),
            }
        });
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        taker.abort();
        taker.await.ok();
    }
    bench.end().await;
}
