//! The server's machine: its backends, images, pool, and what was written down.

use agentkernel_api::{self as api, ErrorCode, ImageInfo};
use agentkernel_backend::{Lifetime, Probe};
use agentkernel_image::{ImageStore, Reference};
use agentkernel_model::{BackendName, ImageRef, PullPolicy, PullProgress};
use agentkernel_pool::Template;

use crate::policy::entry;
use crate::request::{SandboxWish, parse, sandbox_name};
use crate::service::Inner;
use crate::{AuditEntry, Caller, EventStream, Scope, Service, ServiceError, Verdict, WarmPool};

/// The backends whose images are in our own store.
const OWN: [&str; 2] = ["native", "firecracker"];

/// The most boxes that one request makes ready.
const MAX_WARM: u32 = 1000;

impl Service {
    /// All backends of this build, in the order of automatic choice.
    pub async fn backends(&self, caller: &Caller) -> Result<Vec<api::BackendInfo>, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "backends")?;
        let reports = self.inner.engine.backends().await;
        let info = reports.into_iter().map(|report| {
            let (ready, detail, fix) = match report.probe {
                Probe::Ready { detail } => (true, detail, None),
                Probe::NotReady { why, fix } => (false, why, Some(fix)),
            };
            api::BackendInfo { name: report.name.to_string(), ready, default: report.selected, detail, fix }
        });
        Ok(info.collect())
    }

    /// The images in our own store.
    pub async fn images(&self, caller: &Caller) -> Result<Vec<ImageInfo>, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "images")?;
        let Some(store) = self.inner.images.clone() else { return Ok(Vec::new()) };
        self.inner.blocking(move || list(&store)).await?
    }

    /// Fetches an image; what is here already isn't fetched again.
    pub async fn pull(
        &self,
        caller: &Caller,
        request: api::PullRequest,
        progress: &dyn PullProgress,
    ) -> Result<ImageInfo, ServiceError> {
        let inner = &self.inner;
        inner.authorize(caller, Scope::Admin, "pull")?;
        let image: ImageRef = parse("image", &request.image)?;
        if image.is_host() {
            return Err(ServiceError::invalid(
                "image",
                "\"host\" is the machine's own system; it is always here",
            ));
        }
        let backend = match &request.backend {
            Some(name) => parse::<BackendName>("backend", name)?,
            None => inner.engine.select(None).await?.name().clone(),
        };
        let pulled = inner.engine.pull(&backend, &image, PullPolicy::Always, progress).await;
        // A tag may mean another image now.
        inner.plans.forget();
        inner.audit.record(AuditEntry {
            backend: Some(backend.to_string()),
            argv: vec![image.to_string()],
            verdict: if pulled.is_ok() { Verdict::Allowed } else { Verdict::Failed },
            why: pulled.as_ref().err().map(ToString::to_string),
            ..entry(caller, "pull")
        });
        let id = pulled?.id.to_string();
        let here = if OWN.contains(&backend.as_str()) { self.images(caller).await? } else { Vec::new() };
        Ok(here.into_iter().find(|image| image.id == id).unwrap_or_else(|| ImageInfo {
            id,
            names: vec![image.to_string()],
            size: 0,
            created: None,
            backend: backend.to_string(),
        }))
    }

    /// The warm pool.
    pub async fn pool_status(&self, caller: &Caller) -> Result<api::PoolStatus, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "pool")?;
        Ok(self.inner.pool_status())
    }

    /// Makes boxes ready and answers when they are.
    pub async fn warm(
        &self,
        caller: &Caller,
        request: api::WarmRequest,
    ) -> Result<api::PoolStatus, ServiceError> {
        self.inner.authorize(caller, Scope::Admin, "pool_warm")?;
        if !(1..=MAX_WARM).contains(&request.count) {
            return Err(ServiceError::invalid("count", format_args!("a whole number from 1 to {MAX_WARM}")));
        }
        let wish = SandboxWish::of_warm(&request)?;
        let pool = self.inner.pool()?;
        let extras = Default::default();
        let plan = self.inner.plan_sandbox(caller, &wish, &extras, Lifetime::Ephemeral, &()).await?;
        let warmed = pool.warm(&plan.spec, request.count).await;
        self.inner.audit.record(AuditEntry {
            backend: Some(plan.spec.backend.to_string()),
            why: warmed.as_ref().err().map(ToString::to_string),
            verdict: if warmed.is_ok() { Verdict::Allowed } else { Verdict::Failed },
            ..entry(caller, "pool_warm")
        });
        warmed?;
        Ok(self.inner.pool_status())
    }

    /// Keeps the kinds of the configuration ready from now on. What can't be is logged, and no reason not to serve.
    pub async fn keep_ready(&self, templates: &[Template]) {
        for template in templates {
            if let Err(error) = self.inner.keep_ready(template).await {
                tracing::warn!(%error, ?template, "a kind of [pool] can't be kept ready");
            }
        }
    }

    /// Ends all boxes that wait.
    pub async fn drain(&self, caller: &Caller) -> Result<api::DrainReport, ServiceError> {
        self.inner.authorize(caller, Scope::Admin, "pool_drain")?;
        let drained = self.inner.pool()?.drain().await;
        self.inner.audit.record(entry(caller, "pool_drain"));
        Ok(api::DrainReport { drained })
    }

    /// The last entries of the audit log, oldest first, at most `limit`: those of one sandbox, or (for an admin) all.
    pub async fn audit_of(
        &self,
        caller: &Caller,
        sandbox: Option<&str>,
        limit: usize,
    ) -> Result<Vec<api::AuditRecord>, ServiceError> {
        let scope = if sandbox.is_some() { Scope::Read } else { Scope::Admin };
        self.inner.authorize(caller, scope, "audit")?;
        let name = sandbox.map(sandbox_name).transpose()?;
        let audit = std::sync::Arc::clone(&self.inner.audit);
        let read = move || audit.recent(name.as_ref().map(|name| name.as_str()), limit);
        let records = self.inner.blocking(read).await?;
        records.map_err(|error| {
            ServiceError::new(ErrorCode::Failed, format!("could not read the audit log: {error}"))
        })
    }

    /// What happens from now on, or from the event behind `after` on.
    pub async fn subscribe(&self, caller: &Caller, after: Option<u64>) -> Result<EventStream, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "events")?;
        Ok(self.inner.events.subscribe(after))
    }
}

impl Inner {
    async fn keep_ready(&self, template: &Template) -> Result<(), ServiceError> {
        let wish = SandboxWish::of_template(template);
        let caller = Caller::local("pool");
        let plan = self.plan_sandbox(&caller, &wish, &Default::default(), Lifetime::Ephemeral, &()).await?;
        self.pool()?.keep(&plan.spec, template.min, template.max)
    }

    fn pool(&self) -> Result<&dyn WarmPool, ServiceError> {
        let none = || {
            ServiceError::new(ErrorCode::Unsupported, "this server has no pool; start it with pool.enabled")
        };
        self.pool.as_deref().ok_or_else(none)
    }

    pub(crate) fn pool_status(&self) -> api::PoolStatus {
        self.pool.as_ref().map(|pool| pool.status()).unwrap_or_default()
    }
}

fn list(store: &ImageStore) -> Result<Vec<ImageInfo>, ServiceError> {
    let images = store.list().map_err(|error| {
        ServiceError::new(ErrorCode::Failed, format!("could not list the images: {error}"))
    })?;
    let info = images.into_iter().map(|image| ImageInfo {
        id: image.id.to_string(),
        names: image.names.iter().map(|name| familiar(name)).collect(),
        size: image.bytes,
        created: image.created,
        backend: OWN[0].to_owned(),
    });
    Ok(info.collect())
}

/// The name as people write it.
fn familiar(name: &str) -> String {
    name.parse::<Reference>().map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}
