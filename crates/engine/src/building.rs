//! Images that are built from a Dockerfile, and how they get to a backend that can't build.

use std::fmt::Write;
use std::sync::Arc;

use agentkernel_backend::{Backend, BackendError, ImageBuilder, OutputStream, Probe, ReadyImage};
use agentkernel_config::BuildSettings;
use agentkernel_model::ImageRef;
use async_trait::async_trait;

use crate::plan::{ImageChoice, PlanError, PlanRequest, build_request};
use crate::{Engine, EngineError};

/// Who takes images in for the backends that have no engine of their own.
#[async_trait]
pub trait ImageImporter: Send + Sync {
    /// Takes in a `docker save` stream with one image, under `name`.
    async fn import(&self, archive: OutputStream, name: &ImageRef) -> Result<ReadyImage, BackendError>;
}

impl Engine {
    /// Builds with the backend's own engine, else with the first that is ready, and makes sure that the backend has the
    /// result.
    pub(crate) async fn build(
        &self,
        build: &BuildSettings,
        request: &PlanRequest<'_>,
    ) -> Result<(ImageChoice, ReadyImage), EngineError> {
        let asked = build_request(build, request.settings, request.environment)?;
        let name: ImageRef = asked.tag.parse().map_err(PlanError::from)?;
        let shown = asked.context.join(&asked.dockerfile);
        if let Some(builder) = request.backend.builder() {
            let ready = builder.build(&asked, request.progress).await?;
            return Ok((choice(&name, &ready, &shown, request.backend), ready));
        }
        let engine = self.first_builder(request.backend).await?;
        let builder = builder_of(&*engine)?;
        let built = builder.build(&asked, request.progress).await?;
        let ready = self.bring_in(request.backend, builder, &built, &name).await?;
        Ok((choice(&name, &ready, &shown, &*engine), ready))
    }

    /// Takes the engine's image into our store, unless the name stands for that content there.
    async fn bring_in(
        &self,
        backend: &dyn Backend,
        builder: &dyn ImageBuilder,
        built: &ReadyImage,
        name: &ImageRef,
    ) -> Result<ReadyImage, EngineError> {
        let importer = self.inner.importer.as_ref().ok_or_else(|| BackendError::Unsupported {
            backend: backend.name().to_string(),
            what: "images that an engine has built".to_owned(),
            fix: "this program has no image store; name an image".to_owned(),
        })?;
        if let Some(images) = backend.images()
            && let Some(known) = images.find(name).await?
            && known.id == built.id
        {
            return Ok(known);
        }
        // By its content: another build may have taken the name meanwhile.
        let by_id: ImageRef = built.id.as_str().parse().map_err(PlanError::from)?;
        Ok(importer.import(builder.export(&by_id).await?, name).await?)
    }

    async fn first_builder(&self, wanted_by: &dyn Backend) -> Result<Arc<dyn Backend>, EngineError> {
        let mut reasons = String::new();
        for (backend, _) in self.inner.backends.iter().filter(|(backend, _)| backend.builder().is_some()) {
            match backend.probe().await {
                Probe::Ready { .. } => return Ok(backend.clone()),
                Probe::NotReady { why, fix } => {
                    // Writing into a String can't fail.
                    if write!(reasons, "\n  {}: {why}; {fix}", backend.name()).is_err() {
                        reasons.push('?');
                    }
                }
            }
        }
        if reasons.is_empty() {
            reasons.push_str(" this build has none");
        }
        Err(EngineError::NoBuilder { backend: wanted_by.name().to_string(), reasons })
    }
}

fn builder_of(engine: &dyn Backend) -> Result<&dyn ImageBuilder, EngineError> {
    engine.builder().ok_or_else(|| {
        BackendError::Unsupported {
            backend: engine.name().to_string(),
            what: "building images".to_owned(),
            fix: "choose another backend".to_owned(),
        }
        .into()
    })
}

fn choice(
    name: &ImageRef,
    ready: &ReadyImage,
    dockerfile: &std::path::Path,
    by: &dyn Backend,
) -> ImageChoice {
    ImageChoice {
        name: name.to_string(),
        id: Some(ready.id.clone()),
        because: format!("built from {} by {}", dockerfile.display(), by.name()),
    }
}
