//! The store as the images of a backend that has no engine of its own.

use agentkernel_backend::{BackendError, Images, ReadyImage};
use agentkernel_model::{ImageRef, PullPolicy, PullProgress};
use async_trait::async_trait;

use crate::{ImageError, ImageStore, RegistrySettings, StoredImage};

/// Images of a store, fetched from registries where they aren't in it.
#[derive(Debug, Clone)]
pub struct StoreImages {
    /// Where they are.
    pub store: ImageStore,
    /// How registries are reached.
    pub registry: RegistrySettings,
    /// Whose they are: the backend that errors name.
    pub backend: &'static str,
    /// What works without any image, for who can't reach a registry: ``run on `--image host` ``.
    pub without: Option<&'static str>,
}

#[async_trait]
impl Images for StoreImages {
    async fn find(&self, image: &ImageRef) -> Result<Option<ReadyImage>, BackendError> {
        let found = self.store.find(image).map_err(|error| self.failed(image, error))?;
        Ok(found.map(ready))
    }

    async fn prepare(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: &dyn PullProgress,
    ) -> Result<ReadyImage, BackendError> {
        let prepared = self.store.prepare(image, policy, &self.registry, progress).await;
        prepared.map(ready).map_err(|error| self.failed(image, error))
    }
}

fn ready(image: StoredImage) -> ReadyImage {
    ReadyImage { id: image.id, config: image.config }
}

impl StoreImages {
    /// What `error` about `image` means to who wanted to start a box from it.
    pub fn failed(&self, image: &ImageRef, error: ImageError) -> BackendError {
        match error {
            ImageError::Reference { .. } | ImageError::Ambiguous { .. } | ImageError::Setting { .. } => {
                BackendError::Invalid { what: error.to_string() }
            }
            ImageError::NotFound { reference, registry, .. } => {
                let why = format!("registry {registry} has no image {reference}");
                BackendError::NoImage { why, fix: "check the name and tag".to_owned() }
            }
            ImageError::Unreachable { reference, registry, why } => BackendError::Unavailable {
                backend: self.backend.to_owned(),
                why: format!("image {reference} is not here and registry {registry} can't be reached: {why}"),
                fix: self.offline(),
            },
            ImageError::Missing { image } => BackendError::NoImage {
                why: format!("image {image} is not here"),
                fix: "fetch it with `agentkernel image pull`, or let it be fetched with `--pull missing`"
                    .to_owned(),
            },
            other => BackendError::runtime(format!("get image {image}"), other),
        }
    }

    /// What works without a registry.
    fn offline(&self) -> String {
        let here =
            "use an image of `agentkernel image list`, import one with `agentkernel image import FILE`";
        match self.without {
            Some(without) => format!("{here}, or {without}"),
            None => here.replace(", import", ", or import"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Direct;
    use crate::unpack::Ownership;

    fn images(without: Option<&'static str>) -> (tempfile::TempDir, StoreImages) {
        let folder = tempfile::tempdir().unwrap();
        let store = ImageStore::open(folder.path(), Arc::new(Direct::with(Ownership::Ignore)));
        (folder, StoreImages { store, registry: RegistrySettings::default(), backend: "some", without })
    }

    #[test]
    fn each_failure_says_what_would_work_instead() {
        let unreachable = || ImageError::Unreachable {
            reference: "a:1".to_owned(),
            registry: "r".to_owned(),
            why: "no route".to_owned(),
        };
        let image = "a:1".parse().unwrap();
        let (_folder, own) = images(None);
        let error = own.failed(&image, unreachable());
        assert!(error.to_string().contains("or import one"), "{error}");
        let (_folder, own) = images(Some("run on `--image host`"));
        let error = own.failed(&image, unreachable());
        assert!(error.to_string().contains("FILE`, or run on `--image host`"), "{error}");
        let missing = own.failed(&image, ImageError::Missing { image: "a:1".to_owned() });
        assert!(matches!(missing, BackendError::NoImage { .. }), "{missing}");
    }

    #[tokio::test]
    async fn what_is_not_in_the_store_is_found_nowhere_and_never_means_never() {
        let (_folder, images) = images(None);
        let image = "a:1".parse().unwrap();
        assert_eq!(images.find(&image).await.unwrap(), None);
        let error = images.prepare(&image, PullPolicy::Never, &()).await.unwrap_err();
        assert!(matches!(error, BackendError::NoImage { .. }), "{error}");
    }
}
