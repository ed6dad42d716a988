//! The documents of an image: index, manifest and configuration, as far as pulling needs them. Hostile: each is bounded in
//! size before it is parsed, and in counts here (OCI image-spec `manifest.md`, `image-index.md`, `config.md`; Docker's
//! image manifest version 2, schema 2).

use serde::{Deserialize, Serialize};

use crate::error::{quoted, tame};
use crate::media_type::{ManifestKind, is_image_config};
use crate::{Compression, Digest, ImageError, Platform};

/// The longest manifest or index, in bytes. Registries refuse longer ones as well (OCI distribution-spec).
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// The longest configuration, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 8 << 20;
/// The most layers. Engines stop at 127.
pub const LAYERS_MAX: usize = 128;

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Of the blob, compressed as it came.
    pub digest: Digest,
    /// Of the blob, in bytes.
    pub size: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// Its media type as the manifest has it.
    pub media_type: String,
    /// Of the tar archive in it.
    pub diff_id: Digest,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    platform: Option<PlatformDocument>,
}

#[derive(Debug, Clone, Deserialize)]
struct PlatformDocument {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// A document at a manifest's place.
#[derive(Debug)]
pub(crate) enum Manifest {
    /// One image.
    Image(ImageManifest),
    /// Images of several platforms.
    Index(Index),
}

/// One image's manifest.
#[derive(Debug)]
pub(crate) struct ImageManifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<(Descriptor, Compression)>,
}

/// An index, or manifest list.
#[derive(Debug)]
pub(crate) struct Index {
    images: Vec<(Platform, Descriptor)>,
}

/// Why a document can't be taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It breaks the rules.
    Wrong(String),
    /// It is something that we don't take.
    Unsupported(String),
    /// It has too many layers.
    Layers(u64),
}

impl Manifest {
    /// Parses `bytes`, which came under the media type `declared`, if under any.
    pub(crate) fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Self, Refusal> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| Refusal::Wrong(tame(&error.to_string())))?;
        if document.schema_version == 1 {
            let why = "it has the old manifest format (schema 1); push it again with a current tool";
            return Err(Refusal::Unsupported(why.to_owned()));
        }
        match (kind(&document, declared)?, document) {
            (
                ManifestKind::Index,
                Document { manifests: Some(manifests), config: None, layers: None, .. },
            ) => Ok(Self::Index(Index::new(manifests))),
            (
                ManifestKind::Image,
                Document { config: Some(config), layers: Some(layers), manifests: None, .. },
            ) => ImageManifest::new(config, layers).map(Self::Image),
            // Read as one by us and as the other by somebody else, it could be two images (CVE-2021-41190).
            _ => Err(Refusal::Wrong("it isn't clear whether it is a manifest or an index".to_owned())),
        }
    }
}

/// What the document says of itself counts; what it came as must not contradict.
fn kind(document: &Document, declared: Option<&str>) -> Result<ManifestKind, Refusal> {
    let named = declared.map(|text| text.split(';').next().unwrap_or(text).trim());
    let own = match document.media_type.as_deref() {
        Some(own) => Some(ManifestKind::of(own).ok_or_else(|| {
            Refusal::Unsupported(format!("its manifest has the unknown media type {}", quoted(own)))
        })?),
        None => None,
    };
    match (own, named.and_then(ManifestKind::of)) {
        (Some(own), Some(outer)) if own != outer => Err(Refusal::Wrong(
            "it came as one kind of document and says of itself that it is another".to_owned(),
        )),
        (Some(kind), _) | (None, Some(kind)) => Ok(kind),
        // Some servers of files know no media types.
        (None, None) if named.is_none_or(|named| matches!(named, "application/json" | "text/plain" | "")) => {
            Ok(if document.manifests.is_some() { ManifestKind::Index } else { ManifestKind::Image })
        }
        (None, None) => Err(Refusal::Unsupported(format!(
            "its manifest has the unknown media type {}",
            quoted(named.unwrap_or_default())
        ))),
    }
}

impl ImageManifest {
    fn new(config: Descriptor, layers: Vec<Descriptor>) -> Result<Self, Refusal> {
        if !is_image_config(&config.media_type) {
            return Err(Refusal::Unsupported(format!(
                "it is no container image but an artifact of type {}",
                quoted(&config.media_type)
            )));
        }
        if layers.len() > LAYERS_MAX {
            return Err(Refusal::Layers(layers.len() as u64));
        }
        let layers = layers.into_iter().map(|layer| match Compression::of_layer(&layer.media_type) {
            Ok(compression) => Ok((layer, compression)),
            Err(why) => Err(Refusal::Unsupported(format!(
                "layer {} ({}): {why}",
                layer.digest.short(),
                quoted(&layer.media_type)
            ))),
        });
        Ok(Self { config, layers: layers.collect::<Result<_, _>>()? })
    }
}

impl Index {
    fn new(manifests: Vec<Descriptor>) -> Self {
        let images = manifests.into_iter().filter_map(|descriptor| {
            let named = descriptor.platform.as_ref()?;
            // Build attestations stand beside the images as `unknown/unknown`.
            let is_image = named.os != "unknown"
                && ManifestKind::of(&descriptor.media_type) == Some(ManifestKind::Image);
            let platform = Platform::new(&named.os, &named.architecture, named.variant.as_deref());
            is_image.then_some((platform, descriptor))
        });
        Self { images: images.collect() }
    }

    /// The image for `platform`; the platforms that there are where it has none.
    pub(crate) fn select(&self, platform: &Platform) -> Result<&Descriptor, String> {
        platform.best(&self.images).ok_or_else(|| {
            let mut names: Vec<String> =
                self.images.iter().take(50).map(|(platform, _)| tame(&platform.to_string())).collect();
            names.dedup();
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        })
    }
}

/// What pulling reads of an image's configuration.
#[derive(Debug)]
pub(crate) struct ConfigDocument {
    /// Where it says so; images made by hand may not.
    pub(crate) platform: Option<Platform>,
    pub(crate) diff_ids: Vec<Digest>,
}

impl ConfigDocument {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct RootFs {
            #[serde(default)]
            diff_ids: Vec<Digest>,
        }
        #[derive(Deserialize)]
        struct Whole {
            rootfs: RootFs,
            #[serde(flatten)]
            platform: PlatformDocument,
        }
        let whole: Whole = serde_json::from_slice(bytes).map_err(|error| tame(&error.to_string()))?;
        let PlatformDocument { os, architecture, variant } = whole.platform;
        let platform = (!os.is_empty() && !architecture.is_empty())
            .then(|| Platform::new(&os, &architecture, variant.as_deref()));
        Ok(Self { platform, diff_ids: whole.rootfs.diff_ids })
    }

    /// The layers of `manifest` with what each unpacks to.
    pub(crate) fn layers(&self, manifest: &ImageManifest) -> Result<Vec<Layer>, String> {
        let (named, there) = (self.diff_ids.len(), manifest.layers.len());
        if named != there {
            return Err(format!("its configuration names {named} layers, its manifest {there}"));
        }
        let layer = |((descriptor, compression), diff_id): (&(Descriptor, Compression), &Digest)| Layer {
            digest: descriptor.digest,
            size: descriptor.size,
            compression: *compression,
            media_type: descriptor.media_type.clone(),
            diff_id: *diff_id,
        };
        Ok(manifest.layers.iter().zip(&self.diff_ids).map(layer).collect())
    }
}

impl Refusal {
    /// As an error about `reference`, which came from `registry`.
    pub(crate) fn into_error(self, reference: &str, registry: &str) -> ImageError {
        match self {
            Self::Wrong(why) => {
                let what = format!("the manifest of {reference}");
                ImageError::Answer { registry: registry.to_owned(), what, why }
            }
            Self::Unsupported(why) => ImageError::Unsupported { reference: reference.to_owned(), why },
            Self::Layers(found) => ImageError::TooLarge {
                what: format!("image {reference}"),
                found,
                unit: "layers",
                limit: LAYERS_MAX as u64,
                fix: "; build it with fewer layers (docker build --squash, or one RUN for many)",
            },
        }
    }
}

#[cfg(test)]
mod tests;
