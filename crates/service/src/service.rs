//! The service itself, and what all its parts share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agentkernel_api::{self as api, EventKind};
use agentkernel_config::Environment;
use agentkernel_engine::Engine;
use agentkernel_image::ImageStore;
use tokio::runtime::Handle;
use tracing::Instrument as _;

use crate::activity::Activity;
use crate::admission::Admission;
use crate::events::EventLog;
use crate::listing::Listing;
use crate::planning::Plans;
use crate::statistics::Statistics;
use crate::terminal::Terminals;
use crate::{AuditSink, Limits, ServiceError, ServiceSettings, WarmPool};

/// The variable that names a configuration file, relative to where the server was started.
const CONFIG_VARIABLE: &str = "AGENTKERNEL_CONFIG";

/// The version of the contract in `agentkernel-api`: counts up with every field that is added.
const API_VERSION: u32 = 1;

/// The use-cases that HTTP and MCP share. Cheap to clone. Every verb takes the [`crate::Caller`] first, holds its scope
/// against what the verb needs, and writes down what was done. Once begun, what changes a sandbox is finished even where
/// the future that asked for it is dropped.
#[derive(Clone)]
pub struct Service {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) pool: Option<Arc<dyn WarmPool>>,
    pub(crate) audit: Arc<dyn AuditSink>,
    pub(crate) limits: Limits,
    pub(crate) version: &'static str,
    pub(crate) state_dir: PathBuf,
    pub(crate) images: Option<ImageStore>,
    /// The server's, but standing in a folder that is empty.
    pub(crate) environment: Environment,
    pub(crate) config: Option<PathBuf>,
    pub(crate) runtime: Handle,
    pub(crate) since: Instant,
    pub(crate) activity: Arc<Activity>,
    pub(crate) admission: Admission,
    pub(crate) plans: Plans,
    pub(crate) listing: Listing,
    pub(crate) events: Arc<EventLog>,
    pub(crate) statistics: Statistics,
    pub(crate) terminals: Terminals,
    shutting_down: AtomicBool,
}

impl Service {
    /// A service over `engine`. Must be called within a tokio runtime, which must live as long as the service: what is
    /// dropped is ended by tasks of that runtime. The configuration is read once, so that a wrong one is known now.
    pub fn new(
        engine: Engine,
        pool: Option<Arc<dyn WarmPool>>,
        audit: Arc<dyn AuditSink>,
        settings: ServiceSettings,
    ) -> Result<Self, ServiceError> {
        let ServiceSettings { mut environment, config, limits, version, state_dir, images } = settings;
        let named = environment.var(CONFIG_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
        let config = config.or(named).map(|path| environment.absolute(&path));
        environment.cwd = state_dir.join(agentkernel_store::EMPTY_DIR);
        let inner = Inner {
            engine,
            pool,
            audit,
            admission: Admission::new(&limits),
            limits,
            version,
            state_dir,
            images,
            environment,
            config,
            runtime: Handle::current(),
            since: Instant::now(),
            activity: Activity::new(),
            plans: Plans::default(),
            listing: Listing::default(),
            events: EventLog::new(),
            statistics: Statistics::default(),
            terminals: Terminals::default(),
            shutting_down: AtomicBool::new(false),
        };
        inner.settings(&Default::default(), &Default::default())?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How much it takes on.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Who answers. Needs no caller.
    pub fn version(&self) -> api::Version {
        api::Version {
            name: "agentkernel".to_owned(),
            version: self.inner.version.to_owned(),
            api: API_VERSION,
        }
    }

    /// Refuses new work from now on; what runs goes on. May be called again.
    pub fn begin_shutdown(&self) {
        if !self.inner.shutting_down.swap(true, Ordering::AcqRel) {
            self.inner.events.emit(EventKind::ShuttingDown, None, []);
        }
    }

    /// Whether [`Self::begin_shutdown`] was called.
    pub fn is_shutting_down(&self) -> bool {
        self.inner.is_shutting_down()
    }

    /// Ends terminals, which would wait for their people, and waits until nothing runs any more and every box is gone, at
    /// most `bound`. Whether it is all done: what is not ends with the process, and is cleared away by the next one.
    pub async fn drained(&self, bound: Duration) -> bool {
        self.inner.terminals.close_all();
        tokio::time::timeout(bound, self.inner.activity.idle()).await.is_ok()
    }
}

impl Inner {
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Acquire)
    }

    /// Runs `work` to its end, whatever becomes of who waits for it.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let under_way = self.activity.begin();
        let task = async move {
            let done = work.await;
            drop(under_way);
            done
        };
        self.runtime.spawn(task.in_current_span()).await.map_err(|error| ServiceError::worker(&error))
    }

    /// Runs blocking work on a thread of its own.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        self.runtime.spawn_blocking(work).await.map_err(|error| ServiceError::worker(&error))
    }
}
