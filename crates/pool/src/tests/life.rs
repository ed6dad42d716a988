//! Each box once, another in its place, and none that is dead or too old.

use std::time::Duration;

use agentkernel_model::{EnvVar, Mount};
use agentkernel_testkit::fake::{Fault, Step};

use super::*;
use crate::PoolKey;

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_is_learnt_by_its_first_box_and_each_box_is_used_once() {
    let bench = Bench::new(settings());
    let first = bench.launch(&spec()).await;
    assert!(!first.is_warm());
    bench.until_ready(2).await;
    let mut seen = BTreeSet::new();
    for round in 0..10 {
        let made = bench.launch(&spec()).await;
        let guest = made.guest();
        let path = BoxPath::new("/tmp/used").unwrap();
        let used = guest.stat(&path).await;
        assert!(used.is_err(), "round {round}: somebody was here before");
        guest.write_file(&path, None, Box::new(&b"x"[..])).await.unwrap();
        drop(guest);
        made.destroy().await.unwrap();
        bench.until("refilled", |kinds| kinds[0].ready == 2 && kinds[0].starting == 0).await;
        seen.extend(bench.boxes());
    }
    assert!(seen.len() >= 11, "new boxes came: {seen:?}");
    let status = &bench.pool.status().kinds[0];
    assert_eq!((status.hits, status.misses), (10, 1), "{status:?}");
    first.destroy().await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_says_for_itself_is_no_part_of_the_kind() {
    let bench = Bench::new(settings());
    bench.pool.warm(&spec(), 1).await.unwrap();
    let own = SandboxSpec {
        env: vec![EnvVar { name: "A".into(), value: "secret".into() }],
        labels: [("a".to_owned(), "b".to_owned())].into(),
        ..spec()
    };
    let made = bench.launch(&own).await;
    assert!(made.is_warm());
    made.destroy().await.unwrap();
    assert!(bench.fake.launched().iter().all(|spec| spec.env.is_empty()), "nothing of it is in any box");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_differs_is_another_kind() {
    let base = PoolKey::of(&spec()).unwrap();
    let mut others = vec![other("name")];
    others.push(SandboxSpec { profile: Profile::Permissive, ..spec() });
    others.push(SandboxSpec { network: NetworkAccess::On, ..spec() });
    others.push(SandboxSpec { read_only_root: true, ..spec() });
    others.push(SandboxSpec { workdir: BoxPath::new("/srv").unwrap(), ..spec() });
    others.push(SandboxSpec { user: Some("1000".parse().unwrap()), ..spec() });
    others.push(SandboxSpec { allow_unlimited: true, ..spec() });
    others.push(SandboxSpec { image: "alpine:3.20".parse().unwrap(), ..spec() });
    others.push(SandboxSpec { resources: Resources::default(), ..spec() });
    for other in others {
        assert_ne!(PoolKey::of(&other).unwrap(), base, "{other:?}");
    }
    let mount = Mount {
        source: "/tmp".into(),
        target: BoxPath::new("/x").unwrap(),
        access: agentkernel_model::Access::ReadOnly,
    };
    let bench = Bench::new(settings());
    let mounted = SandboxSpec { mounts: vec![mount], ..spec() };
    assert!(PoolKey::of(&mounted).is_none());
    for _ in 0..2 {
        let made = bench.launch(&mounted).await;
        assert!(!made.is_warm());
        made.destroy().await.unwrap();
    }
    assert!(bench.pool.status().kinds.is_empty());
    assert!(bench.pool.warm(&mounted, 1).await.is_err());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_means_cold() {
    let bench = Bench::new(settings());
    bench.pool.warm(&spec(), 2).await.unwrap();
    let made = bench.backend.launch_cold(&spec()).await.unwrap();
    assert!(!made.is_warm());
    assert_eq!(bench.pool.status().kinds[0].ready, 2);
    made.destroy().await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_dies_while_it_waits_is_replaced() {
    let bench = Bench::new(PoolSettings { default_min: 1, ..settings() });
    bench.pool.warm(&spec(), 1).await.unwrap();
    let before = bench.boxes();
    let id = before.iter().next().unwrap().strip_prefix("box ").unwrap().to_owned();
    bench.fake.end_box(&id);
    bench.until("it is noticed", |kinds| kinds[0].problem.is_some()).await;
    bench.until("replaced", |kinds| kinds[0].ready == 1 && kinds[0].problem.is_none()).await;
    let made = bench.launch(&spec()).await;
    assert!(made.is_warm());
    assert!(!bench.boxes().contains(&format!("box {id}")), "what was left of it is gone");
    made.guest().processes().await.unwrap();
    made.destroy().await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_waited_too_long_goes_and_so_does_a_kind_that_nobody_wants() {
    let bench = Bench::new(PoolSettings { max_age: Duration::from_millis(100), ..settings() });
    bench.pool.warm(&spec(), 1).await.unwrap();
    let first = bench.boxes();
    bench.until("the kind is forgotten", <[_]>::is_empty).await;
    bench.pool.inner.burials.over().await;
    assert!(bench.boxes().is_disjoint(&first));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_fails_is_left_in_peace() {
    let bench = Bench::new(settings());
    for _ in 0..40 {
        bench.fake.fail_at(Step::Launch);
    }
    let error = bench.backend.launch(&spec()).await.err().unwrap();
    assert!(error.to_string().contains("failure on demand"), "{error}");
    let failed = bench.pool.warm(&spec(), 1).await;
    assert!(failed.unwrap_err().to_string().contains("could not be made ready"));
    // Two requests and what was begun with them, then rests of 0.2, 0.4, ... seconds.
    tokio::time::sleep(Duration::from_millis(700)).await; // sleep: nothing tells that nothing happens
    let tries = bench.launches();
    assert!(tries < 20, "{tries} tries in less than a second");
    let status = bench.pool.status();
    assert!(status.kinds[0].problem.as_deref().unwrap().contains("failure on demand"), "{status:?}");
    bench.pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_whose_agent_fails_is_removed_and_told() {
    let bench = Bench::new(PoolSettings { default_min: 1, ..settings() });
    bench.fake.inject(Step::Ready, Fault::Before);
    assert!(bench.pool.warm(&spec(), 1).await.is_err());
    bench.until("the next try", |kinds| kinds[0].ready == 1).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_was_made_under_other_circumstances_is_not_handed_out() {
    let bench = Bench::new(settings());
    bench.pool.warm(&spec(), 2).await.unwrap();
    let before = bench.boxes();
    bench.fake.set_variant("another network");
    let made = bench.launch(&spec()).await;
    assert!(!made.is_warm());
    made.destroy().await.unwrap();
    bench.until_ready(2).await;
    bench.pool.inner.burials.over().await;
    assert!(bench.boxes().is_disjoint(&before));
    let made = bench.launch(&spec()).await;
    assert!(made.is_warm());
    made.destroy().await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_all_that_wait_and_none_that_is_used() {
    let bench = Bench::new(settings());
    let used = bench.launch(&spec()).await;
    bench.pool.warm(&other("b"), 3).await.unwrap();
    bench.until("all", |kinds| kinds.iter().all(|kind| kind.starting == 0)).await;
    let waiting: u32 = bench.pool.status().kinds.iter().map(|kind| kind.ready).sum();
    assert_eq!(bench.pool.drain().await, waiting);
    assert_eq!(bench.fake.objects().len(), 1, "the one that is used");
    assert!(bench.pool.status().kinds.is_empty());
    used.guest().processes().await.unwrap();
    used.destroy().await.unwrap();
    let again = bench.launch(&spec()).await;
    again.destroy().await.unwrap();
    bench.until("it goes on", |kinds| kinds[0].ready > 0).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_end_boxes_come_cold() {
    let bench = Bench::new(settings());
    bench.pool.warm(&spec(), 2).await.unwrap();
    assert_eq!(bench.pool.close().await, 2);
    let made = bench.launch(&spec()).await;
    assert!(!made.is_warm());
    made.destroy().await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_pool_the_backend_is_itself() {
    let fake = FakeBackend::new();
    let pool = Pool::new(PoolSettings { enabled: false, ..settings() });
    let backend = pool.wrap(Arc::new(fake.clone()));
    for _ in 0..2 {
        let made = backend.launch(&spec()).await.unwrap();
        assert!(!made.is_warm());
        made.destroy().await.unwrap();
    }
    assert!(matches!(pool.warm(&spec(), 1).await, Err(crate::PoolError::Disabled)));
    fake.assert_clean();
}
