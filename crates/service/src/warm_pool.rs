//! The warm pool as the service sees it.

use agentkernel_api::{self as api, ErrorCode, PoolTemplate};
use agentkernel_model::SandboxSpec;
use agentkernel_pool::{Pool, PoolError};
use async_trait::async_trait;

use crate::ServiceError;

/// Boxes that were started before anybody asked. Taking one is the business of the backend that the pool wraps; this is
/// what people see of it and may tell it.
#[async_trait]
pub trait WarmPool: Send + Sync {
    /// What waits and what was taken.
    fn status(&self) -> api::PoolStatus;

    /// Keeps boxes for `spec` ready from now on: at least `min`, at most `max`.
    fn keep(&self, spec: &SandboxSpec, min: Option<u32>, max: Option<u32>) -> Result<(), ServiceError>;

    /// Makes `count` boxes for `spec` ready; returns when they are.
    async fn warm(&self, spec: &SandboxSpec, count: u32) -> Result<(), ServiceError>;

    /// Ends all that wait; returns how many there were.
    async fn drain(&self) -> u32;
}

#[async_trait]
impl WarmPool for Pool {
    fn status(&self) -> api::PoolStatus {
        let status = Pool::status(self);
        let templates = status.kinds.into_iter().map(|kind| PoolTemplate {
            id: kind.id,
            backend: kind.backend.to_string(),
            image: kind.image.to_string(),
            profile: kind.profile.to_string(),
            ready: kind.ready,
            starting: kind.starting,
            min: kind.min,
            max: kind.max,
            hits: kind.hits,
            misses: kind.misses,
            problem: kind.problem,
        });
        api::PoolStatus {
            enabled: status.enabled,
            templates: templates.collect(),
            memory_mb: u64::from(status.memory.0),
            max_memory_mb: u64::from(status.max_memory.0),
        }
    }

    fn keep(&self, spec: &SandboxSpec, min: Option<u32>, max: Option<u32>) -> Result<(), ServiceError> {
        let settings = self.settings();
        let max = max.unwrap_or(settings.max_per_template);
        Ok(Pool::keep(self, spec, min.unwrap_or(settings.default_min.min(max)), max)?)
    }

    async fn warm(&self, spec: &SandboxSpec, count: u32) -> Result<(), ServiceError> {
        Pool::warm(self, spec, count).await?;
        Ok(())
    }

    async fn drain(&self) -> u32 {
        Pool::drain(self).await
    }
}

impl From<PoolError> for ServiceError {
    fn from(error: PoolError) -> Self {
        let code = match error {
            PoolError::Disabled | PoolError::UnknownBackend { .. } | PoolError::Unpoolable { .. } => {
                ErrorCode::Unsupported
            }
            PoolError::TooMany { .. } | PoolError::TooMuchMemory { .. } => ErrorCode::Invalid,
            PoolError::TooManyKinds { .. } | PoolError::Drained => ErrorCode::Conflict,
            PoolError::Start { .. } => ErrorCode::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}
