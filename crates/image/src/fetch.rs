//! From a reference to blobs: what a registry says that it means, verified, and all that belongs to it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use agentkernel_model::{ImageId, PullEvent, PullProgress};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::manifest::{ConfigDocument, ImageManifest, Layer, Manifest};
use crate::registry::{FoundManifest, Source, Wanted};
use crate::{
    Blobs, CONFIG_BYTES_MAX, Digest, ImageError, MANIFEST_BYTES_MAX, Platform, Reference, RegistrySettings,
};

/// Blobs that are fetched at the same time.
const PARALLEL: usize = 4;

/// An image whose manifest and configuration are among the blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedImage {
    /// Of the manifest of the chosen platform: a blob.
    pub manifest_digest: Digest,
    /// Of the configuration: a blob.
    pub config: ImageId,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// Whole references that mean it now: by tag where there is one, by the index's digest and by the manifest's.
    pub names: Vec<String>,
}

/// An image that is known, and whose layers can be fetched.
pub struct Pull {
    image: FetchedImage,
    source: Source,
    blobs: Blobs,
}

impl std::fmt::Debug for Pull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pull").field("image", &self.image).finish_non_exhaustive()
    }
}

/// [`resolve`], then all layers.
pub async fn fetch(
    blobs: &Blobs,
    reference: &Reference,
    settings: &RegistrySettings,
    progress: &dyn PullProgress,
) -> Result<FetchedImage, ImageError> {
    let pull = resolve(blobs, reference, settings, progress).await?;
    pull.layers(|_| true, |_, _| {}, progress).await?;
    Ok(pull.image)
}

/// Asks the registry what `reference` means, and gets manifest and configuration. Documents that are among the blobs are
/// not asked for again, so that a reference by digest may need no network.
pub async fn resolve(
    blobs: &Blobs,
    reference: &Reference,
    settings: &RegistrySettings,
    progress: &dyn PullProgress,
) -> Result<Pull, ImageError> {
    progress.report(PullEvent::Resolving { reference: reference.to_string() });
    let source = Source::new(reference, settings)?;
    let resolution = Resolution { blobs, source: &source, progress, name: reference.familiar() };
    let first = resolution.document(reference.digest(), &reference.wanted()).await?;
    let wanted = settings.platform.clone().unwrap_or_else(Platform::of_this_machine);
    // A tag beside a digest was not asked for, and so names nothing.
    let by_tag = reference.digest().is_none().then(|| reference.to_string());
    let mut names: Vec<String> =
        by_tag.into_iter().chain([reference.with_digest(first.digest).to_string()]).collect();
    let (manifest_digest, manifest) = match resolution.parse(&first)? {
        Manifest::Image(manifest) => (first.digest, manifest),
        Manifest::Index(index) => {
            let chosen =
                index.select(&wanted).map_err(|available| resolution.no_platform(&wanted, available))?;
            let found = resolution.child(chosen.digest, chosen.size).await?;
            names.push(reference.with_digest(found.digest).to_string());
            match resolution.parse(&found)? {
                Manifest::Image(manifest) => (found.digest, manifest),
                Manifest::Index(_) => {
                    let why = "its index names another index as an image".to_owned();
                    return Err(ImageError::Unsupported { reference: resolution.name, why });
                }
            }
        }
    };
    resolution.check_sizes(&manifest, settings)?;
    let config = resolution.config(&manifest).await?;
    if let Some(offered) = config.platform.as_ref().filter(|offered| !wanted.runs(offered)) {
        return Err(resolution.no_platform(&wanted, offered.to_string()));
    }
    let layers = config.layers(&manifest).map_err(|why| ImageError::Answer {
        registry: first.origin.clone(),
        what: format!("image {}", resolution.name),
        why,
    })?;
    let config = manifest.config.digest.to_image_id();
    let image = FetchedImage { manifest_digest, config, layers, names };
    Ok(Pull { image, source, blobs: blobs.clone() })
}

impl Pull {
    /// What it is.
    pub fn image(&self) -> &FetchedImage {
        &self.image
    }

    /// Fetches those of the image's layers for which `wanted` holds, four at a time, each blob once. `arrived` is told of
    /// each as soon as it is here whole and verified (or was here), so that unpacking can begin; it must not block.
    pub async fn layers(
        &self,
        wanted: impl Fn(&Layer) -> bool,
        arrived: impl Fn(&Layer, PathBuf),
        progress: &dyn PullProgress,
    ) -> Result<(), ImageError> {
        let mut seen = BTreeSet::new();
        let layers = self.image.layers.iter().filter(|layer| wanted(layer) && seen.insert(layer.digest));
        let (wanted, arrived) = (layers.collect::<Vec<_>>(), &arrived);
        // Collected before it becomes a stream: a stream's own closure would keep the whole from being `Send`.
        let fetches = wanted.into_iter().map(|layer| async move {
            let what = format!("layer {}", layer.digest.short());
            let wanted = Wanted { digest: layer.digest, size: layer.size, what: &what, is_layer: true };
            let path = self.source.blob(&self.blobs, &wanted, progress).await?;
            arrived(layer, path);
            Ok(())
        });
        let fetches: Vec<_> = fetches.collect();
        stream::iter(fetches).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await.map(drop)
    }
}

/// The documents of one image, from the blobs or the registry.
struct Resolution<'a> {
    blobs: &'a Blobs,
    source: &'a Source,
    progress: &'a dyn PullProgress,
    /// As people write it.
    name: String,
}

impl Resolution<'_> {
    /// The document under `wanted`, whose digest may be known.
    async fn document(&self, digest: Option<Digest>, wanted: &str) -> Result<FoundManifest, ImageError> {
        if let Some(digest) = digest
            && let Some(bytes) = self.blobs.read(&digest, MANIFEST_BYTES_MAX)?
        {
            return Ok(FoundManifest { bytes, media_type: None, digest, origin: "the store".to_owned() });
        }
        self.source.manifest(wanted, self.progress).await
    }

    /// A document that an index names.
    async fn child(&self, digest: Digest, size: u64) -> Result<FoundManifest, ImageError> {
        self.check_size("its manifest", size, MANIFEST_BYTES_MAX)?;
        let found = self.document(Some(digest), &digest.to_string()).await?;
        let length = found.bytes.len() as u64;
        if length != size {
            let (what, origin) = (format!("the manifest of {}", self.name), found.origin);
            return Err(ImageError::WrongSize { what, origin, expected: size, found: length.to_string() });
        }
        Ok(found)
    }

    /// Understands a document and keeps it.
    fn parse(&self, found: &FoundManifest) -> Result<Manifest, ImageError> {
        let parsed = Manifest::parse(&found.bytes, found.media_type.as_deref());
        let manifest = parsed.map_err(|refusal| refusal.into_error(&self.name, &found.origin))?;
        self.blobs.put(&found.bytes)?;
        Ok(manifest)
    }

    fn no_platform(&self, wanted: &Platform, available: String) -> ImageError {
        ImageError::Platform { reference: self.name.clone(), wanted: wanted.to_string(), available }
    }

    fn check_size(&self, what: &str, found: u64, limit: u64) -> Result<(), ImageError> {
        if found <= limit {
            return Ok(());
        }
        let what = format!("image {}: {what}", self.name);
        Err(ImageError::TooLarge { what, found, unit: "bytes", limit, fix: "" })
    }

    /// Before anything is fetched: what the descriptors say is what will be read at most.
    fn check_sizes(&self, manifest: &ImageManifest, settings: &RegistrySettings) -> Result<(), ImageError> {
        self.check_size("its configuration", manifest.config.size, CONFIG_BYTES_MAX)?;
        let mut whole: u64 = 0;
        for (layer, _) in &manifest.layers {
            let what = format!("layer {}", layer.digest.short());
            self.check_size(&what, layer.size, settings.limits.layer_bytes)?;
            whole = whole.saturating_add(layer.size);
        }
        self.check_size("all its layers together", whole, settings.limits.image_bytes)
    }

    async fn config(&self, manifest: &ImageManifest) -> Result<ConfigDocument, ImageError> {
        let descriptor = &manifest.config;
        let what = format!("the configuration of {}", self.name);
        let bytes = match self.blobs.read(&descriptor.digest, CONFIG_BYTES_MAX)? {
            Some(bytes) => Some(bytes),
            None => {
                let (digest, size) = (descriptor.digest, descriptor.size);
                let wanted = Wanted { digest, size, what: &what, is_layer: false };
                self.source.blob(self.blobs, &wanted, self.progress).await?;
                self.blobs.read(&digest, CONFIG_BYTES_MAX)?
            }
        };
        let registry = self.source.reference.registry().to_owned();
        let parsed = ConfigDocument::parse(&bytes.unwrap_or_default());
        parsed.map_err(|why| ImageError::Answer { registry, what, why })
    }
}
