//! Where a backend's images come from.

use std::path::PathBuf;

use agentkernel_model::{ImageConfig, ImageId, ImageRef, PullPolicy, PullProgress};
use async_trait::async_trait;

use crate::{BackendError, OutputStream};

/// An image that a box can be started from now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyImage {
    /// Its content; goes into the specification, so that the box starts from this and nothing newer.
    pub id: ImageId,
    /// How commands start in it.
    pub config: ImageConfig,
}

/// Images of one backend: our own store, or an engine's.
#[async_trait]
pub trait Images: Send + Sync {
    /// The image that `image` names here; `None` where it isn't here. Touches no network.
    async fn find(&self, image: &ImageRef) -> Result<Option<ReadyImage>, BackendError>;

    /// Makes sure that `image` is here, fetching it where `policy` says so. A registry that can't be reached is
    /// [`BackendError::Unavailable`]; an image that isn't here and may not be fetched, or that the registry hasn't got, is
    /// [`BackendError::NoImage`]. Each says what would work instead.
    async fn prepare(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: &dyn PullProgress,
    ) -> Result<ReadyImage, BackendError>;
}

/// A Dockerfile to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRequest {
    /// The folder that is sent, an absolute path.
    pub context: PathBuf,
    /// The Dockerfile, relative to `context`.
    pub dockerfile: PathBuf,
    /// The stage to build; the last where none is named.
    pub target: Option<String>,
    /// `ARG` values, in order.
    pub args: Vec<(String, String)>,
    /// Whether every step is done again.
    pub no_cache: bool,
    /// The tag that the result gets.
    pub tag: String,
}

/// An engine that builds images.
#[async_trait]
pub trait ImageBuilder: Send + Sync {
    /// Builds; returns the result, which the engine then has under the request's tag.
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &dyn PullProgress,
    ) -> Result<ReadyImage, BackendError>;

    /// An image of the engine's as a `docker save` tar stream.
    async fn export(&self, image: &ImageRef) -> Result<OutputStream, BackendError>;
}
