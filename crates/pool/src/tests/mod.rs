//! The pool over the fake backend.

mod bounds;
mod life;
mod transit;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{Backend, EphemeralBox};
use agentkernel_model::{BoxPath, Mib, NetworkAccess, Profile, Resources, SandboxSpec};
use agentkernel_testkit::fake::FakeBackend;
use agentkernel_testkit::plain_spec;

use crate::{KindStatus, Pool, PoolSettings};

/// The longest that any of this may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    fake: FakeBackend,
    pool: Pool,
    backend: Arc<dyn Backend>,
}

fn settings() -> PoolSettings {
    PoolSettings { max_memory: Mib(1 << 20), max_age: Duration::from_secs(600), ..PoolSettings::default() }
}

impl Bench {
    fn new(settings: PoolSettings) -> Self {
        let (fake, pool) = (FakeBackend::new(), Pool::new(settings));
        let backend = pool.wrap(Arc::new(fake.clone()));
        Self { fake, pool, backend }
    }

    async fn launch(&self, spec: &SandboxSpec) -> Box<dyn EphemeralBox> {
        self.backend.launch(spec).await.unwrap()
    }

    /// Waits until what the pool says of itself is as `right` says.
    async fn until(&self, what: &str, right: impl Fn(&[KindStatus]) -> bool) {
        let looking = async {
            loop {
                let changed = self.pool.inner.changed.notified();
                if right(&self.pool.status().kinds) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(PATIENCE, looking).await.is_err() {
            panic!("{what}: {:#?}", self.pool.status());
        }
    }

    async fn until_ready(&self, count: u32) {
        self.until("ready", |kinds| kinds.iter().map(|kind| kind.ready).sum::<u32>() == count).await;
    }

    /// All boxes go; nothing was misused.
    async fn end(self) {
        self.pool.close().await;
        self.fake.assert_clean();
        assert_eq!(self.fake.objects(), [""; 0]);
    }

    /// The ids of all boxes that live.
    fn boxes(&self) -> BTreeSet<String> {
        self.fake.objects().into_iter().collect()
    }

    fn launches(&self) -> usize {
        self.fake.calls().iter().filter(|call| call.verb == "launch").count()
    }
}

fn spec() -> SandboxSpec {
    SandboxSpec {
        resources: Resources { memory: Some(Mib(64)), ..Resources::default() },
        ..plain_spec(&"fake".parse().unwrap())
    }
}

/// Of another kind, told apart by its host name.
fn other(name: &str) -> SandboxSpec {
    SandboxSpec { hostname: name.to_owned(), ..spec() }
}
