//! Which backend makes a sandbox: the one that is named, or the first of the registry that is ready.

use std::fmt::Write;
use std::sync::Arc;

use agentkernel_backend::{Backend, BackendError, OutputStream, Probe, ReadyImage};
use agentkernel_model::{BackendName, Capabilities, ImageRef, PullPolicy, PullProgress, SandboxName};
use serde::{Serialize, Serializer};

use crate::{Engine, EngineError};

/// One backend of this build, as it stands on this machine.
#[derive(Debug, Clone, Serialize)]
pub struct BackendReport {
    /// Its name.
    pub name: BackendName,
    /// Whether it may be chosen without being named.
    pub automatic: bool,
    /// Whether it is the one that would be chosen now.
    pub selected: bool,
    /// Ready, or why not and what would change that.
    #[serde(serialize_with = "probe_as_data")]
    pub probe: Probe,
    /// What it can do here.
    pub capabilities: Capabilities,
}

fn probe_as_data<S: Serializer>(probe: &Probe, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(tag = "state", rename_all = "kebab-case")]
    enum Wire<'a> {
        Ready { detail: &'a str },
        NotReady { why: &'a str, fix: &'a str },
    }
    match probe {
        Probe::Ready { detail } => Wire::Ready { detail },
        Probe::NotReady { why, fix } => Wire::NotReady { why, fix },
    }
    .serialize(serializer)
}

impl Engine {
    /// All backends, in the order of automatic choice.
    pub async fn backends(&self) -> Vec<BackendReport> {
        let mut reports = Vec::new();
        let mut chosen = false;
        for (backend, automatic) in self.inner.backends.iter() {
            let probe = backend.probe().await;
            let selected = !chosen && automatic && matches!(probe, Probe::Ready { .. });
            chosen |= selected;
            reports.push(BackendReport {
                name: backend.name().clone(),
                automatic,
                selected,
                probe,
                capabilities: backend.capabilities().clone(),
            });
        }
        reports
    }

    /// The backend named by `requested`, or the first that is ready and may be chosen automatically. One that is named
    /// and isn't ready is an error: nothing falls back silently.
    pub async fn select(&self, requested: Option<&BackendName>) -> Result<Arc<dyn Backend>, EngineError> {
        if let Some(name) = requested {
            let backend = self.backend(name)?;
            return match backend.probe().await {
                Probe::Ready { .. } => Ok(backend),
                Probe::NotReady { why, fix } => {
                    Err(BackendError::Unavailable { backend: name.to_string(), why, fix }.into())
                }
            };
        }
        let mut reasons = String::new();
        for (backend, automatic) in self.inner.backends.iter() {
            match backend.probe().await {
                Probe::Ready { .. } if automatic => return Ok(backend.clone()),
                Probe::Ready { .. } => {
                    let name = backend.name();
                    append(
                        &mut reasons,
                        format_args!("\n  {name}: ready, but only used with --backend {name}"),
                    );
                }
                Probe::NotReady { why, fix } => {
                    append(&mut reasons, format_args!("\n  {}: {why}; {fix}", backend.name()));
                }
            }
        }
        if reasons.is_empty() {
            reasons.push_str(" this build has none");
        }
        Err(EngineError::NoBackendReady { reasons })
    }

    /// Fetches an image for one backend, ready or not to make a sandbox.
    pub async fn pull(
        &self,
        name: &BackendName,
        image: &ImageRef,
        policy: PullPolicy,
        progress: &dyn PullProgress,
    ) -> Result<ReadyImage, EngineError> {
        let backend = self.select(Some(name)).await?;
        let images = backend.images().ok_or_else(|| no_images(&*backend, "images"))?;
        Ok(images.prepare(image, policy, progress).await?)
    }

    /// An image of a backend's own engine as a `docker save` tar stream.
    pub async fn export_image(
        &self,
        name: &BackendName,
        image: &ImageRef,
    ) -> Result<OutputStream, EngineError> {
        let backend = self.select(Some(name)).await?;
        let builder =
            backend.builder().ok_or_else(|| no_images(&*backend, "images of an engine of its own"))?;
        Ok(builder.export(image).await?)
    }

    /// The backend of an existing sandbox; `requested` may only name the same one.
    pub fn backend_of(
        &self,
        name: &SandboxName,
        requested: Option<&BackendName>,
    ) -> Result<Arc<dyn Backend>, EngineError> {
        let recorded = self.inner.store.read(name)?.spec.backend;
        match requested {
            Some(requested) if *requested != recorded => Err(EngineError::OtherBackend {
                sandbox: name.to_string(),
                recorded: recorded.to_string(),
                requested: requested.to_string(),
            }),
            _ => self.backend(&recorded),
        }
    }
}

fn no_images(backend: &dyn Backend, what: &str) -> BackendError {
    BackendError::Unsupported {
        backend: backend.name().to_string(),
        what: what.to_owned(),
        fix: "name another backend".to_owned(),
    }
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing into a String can't fail.
    if text.write_fmt(arguments).is_err() {
        text.push('?');
    }
}
