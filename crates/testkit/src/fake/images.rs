//! Pretended images: a store, a registry behind it and a builder, which do what the contract says and count who used
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use agentkernel_backend::{BackendError, BuildRequest, ImageBuilder, Images, OutputStream, ReadyImage};
use agentkernel_model::{ImageConfig, ImageId, ImageRef, PullEvent, PullPolicy, PullProgress, SandboxSpec};
use async_trait::async_trait;

use super::FakeBackend;
use super::violation::Violation;

/// The images of a pretended machine.
#[derive(Default)]
pub(super) struct Shelf {
    /// What is here, by name.
    here: BTreeMap<String, ReadyImage>,
    /// What the registry has, by name.
    registry: BTreeMap<String, ReadyImage>,
    /// What somebody has made sure of.
    prepared: BTreeSet<ImageId>,
    fetched: Vec<String>,
    built: Vec<BuildRequest>,
}

impl Shelf {
    fn find(&self, image: &ImageRef) -> Option<ReadyImage> {
        let by_id = || self.here.values().find(|ready| ready.id.as_str() == image.as_str());
        self.here.get(image.as_str()).or_else(by_id).cloned()
    }
}

impl FakeBackend {
    /// With an image that is here already.
    pub fn with_image(self, name: &str, config: ImageConfig) -> Self {
        let ready = ready(name, config);
        self.machine.with(|contents| contents.images.here.insert(name.to_owned(), ready));
        self
    }

    /// With an image that the registry has and that has to be fetched.
    pub fn with_registry_image(self, name: &str, config: ImageConfig) -> Self {
        let ready = ready(name, config);
        self.machine.with(|contents| contents.images.registry.insert(name.to_owned(), ready));
        self
    }

    /// With a builder whose results have this configuration.
    pub fn with_builder(mut self, config: ImageConfig) -> Self {
        self.builder = Some(config);
        self
    }

    /// Takes an image away, as a prune would.
    pub fn remove_image(&self, name: &str) {
        self.machine.with(|contents| contents.images.here.remove(name));
    }

    /// The names that were asked of the registry, in order.
    pub fn fetched(&self) -> Vec<String> {
        self.machine.with(|contents| contents.images.fetched.clone())
    }

    /// The builds so far.
    pub fn built(&self) -> Vec<BuildRequest> {
        self.machine.with(|contents| contents.images.built.clone())
    }

    /// Notes a specification whose image nobody made sure of.
    pub(super) fn check_image(&self, spec: &SandboxSpec) {
        let prepared = |id: &ImageId| self.machine.with(|contents| contents.images.prepared.contains(id));
        let what = match &spec.image_id {
            Some(_) if spec.image.is_host() => "image host has no id".to_owned(),
            None if !spec.image.is_host() => format!("{} has no id", spec.image),
            Some(id) if !prepared(id) => format!("{} ({id}) was not prepared", spec.image),
            _ => return,
        };
        self.note(Violation::ImageNotPrepared { what });
    }

    /// The error where a sandbox's image is gone. A box starts from the id and never from the name.
    pub(super) fn needs_image(&self, spec: &SandboxSpec) -> Result<(), BackendError> {
        let Some(id) = &spec.image_id else { return Ok(()) };
        let here = self.machine.with(|contents| contents.images.here.values().any(|ready| ready.id == *id));
        if here { Ok(()) } else { Err(BackendError::NotFound { what: format!("image {id}") }) }
    }
}

/// The content decides the id.
fn ready(name: &str, config: ImageConfig) -> ReadyImage {
    let mut hasher = DefaultHasher::new();
    (name, format!("{config:?}")).hash(&mut hasher);
    let digits = format!("{:016x}", hasher.finish());
    let id = format!("sha256:{}", digits.repeat(4)).parse().expect("64 digits");
    ReadyImage { id, config }
}

#[async_trait]
impl Images for FakeBackend {
    async fn find(&self, image: &ImageRef) -> Result<Option<ReadyImage>, BackendError> {
        tokio::task::yield_now().await;
        Ok(self.machine.with(|contents| contents.images.find(image)))
    }

    async fn prepare(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: &dyn PullProgress,
    ) -> Result<ReadyImage, BackendError> {
        tokio::task::yield_now().await;
        let name = image.as_str();
        let missing = |why: &str, fix: &str| BackendError::NoImage {
            why: format!("image {name} {why}"),
            fix: fix.to_owned(),
        };
        let here = self.machine.with(|contents| contents.images.find(image));
        let ready = match (here, policy) {
            (Some(ready), PullPolicy::Missing | PullPolicy::Never) => ready,
            (None, PullPolicy::Never) => {
                return Err(missing("isn't here and may not be fetched", "leave out --pull=never"));
            }
            (_, PullPolicy::Missing | PullPolicy::Always) => {
                progress.report(PullEvent::Resolving { reference: name.to_owned() });
                self.machine
                    .with(|contents| {
                        contents.images.fetched.push(name.to_owned());
                        let ready = contents.images.registry.get(name).cloned()?;
                        contents.images.here.insert(name.to_owned(), ready.clone());
                        Some(ready)
                    })
                    .ok_or_else(|| missing("isn't in the registry", "name another"))?
            }
        };
        self.machine.with(|contents| contents.images.prepared.insert(ready.id.clone()));
        Ok(ready)
    }
}

#[async_trait]
impl ImageBuilder for FakeBackend {
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &dyn PullProgress,
    ) -> Result<ReadyImage, BackendError> {
        tokio::task::yield_now().await;
        let dockerfile = request.context.join(&request.dockerfile);
        if !request.context.is_absolute() || request.dockerfile.is_absolute() || !dockerfile.is_file() {
            self.note(Violation::BadBuild { dockerfile: dockerfile.clone() });
            return Err(BackendError::Invalid { what: format!("{} is no file", dockerfile.display()) });
        }
        progress.report(PullEvent::BuildOutput { line: "STEP 1/1".to_owned() });
        let built = ready(&request.tag, self.builder.clone().unwrap_or_default());
        self.machine.with(|contents| {
            contents.images.built.push(request.clone());
            contents.images.prepared.insert(built.id.clone());
            contents.images.here.insert(request.tag.clone(), built.clone());
        });
        Ok(built)
    }

    async fn export(&self, image: &ImageRef) -> Result<OutputStream, BackendError> {
        let found = self.machine.with(|contents| contents.images.find(image));
        let ready =
            found.ok_or_else(|| BackendError::NotFound { what: format!("image {:?}", image.as_str()) })?;
        Ok(Box::new(std::io::Cursor::new(format!("archive of {}", ready.id).into_bytes())))
    }
}
