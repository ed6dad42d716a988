//! What is written down of an image.

use std::path::Path;

use agentkernel_model::{ImageConfig, ImageId};
use serde::{Deserialize, Serialize};

use super::files::{read_file, write_once};
use crate::{Digest, ImageError, Platform};

/// Raised with each change that older versions would misunderstand.
const RECORD_VERSION: u32 = 1;

/// Far above what a record of the most layers and the largest configuration takes.
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// An image that is here, unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// The digest of its configuration.
    pub id: ImageId,
    /// How commands start in it, checked.
    pub config: ImageConfig,
    /// The manifest it came with, or that was made for it: a blob.
    pub manifest: Digest,
    /// What it runs on, where it says so.
    pub platform: Option<Platform>,
    /// When it was made, as it says (RFC 3339).
    pub created: Option<String>,
    /// Lowest first.
    pub layers: Vec<StoredLayer>,
}

/// A layer of a stored image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLayer {
    /// The digest of its uncompressed tar stream: what it is, however it came.
    pub diff_id: Digest,
    /// The blob it came as.
    pub blob: Digest,
    /// The blob's bytes.
    pub blob_bytes: u64,
    /// What the blob is.
    pub media_type: String,
    /// Bytes of its files, unpacked.
    pub bytes: u64,
    /// Whether nothing of any lower layer shows through: overlayfs has no mark for that on a root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hides_all_lower: bool,
}

impl StoredImage {
    /// Bytes of the files of all layers.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// Layers that something shows through of, lowest first, each once: overlayfs refuses one folder twice, and of two
    /// equal layers the upper one shows all that the lower does.
    pub(crate) fn shown_layers(&self) -> Vec<&StoredLayer> {
        let first = self.layers.iter().rposition(|layer| layer.hides_all_lower).unwrap_or(0);
        let mut shown: Vec<&StoredLayer> = Vec::new();
        for layer in &self.layers[first..] {
            shown.retain(|there| there.diff_id != layer.diff_id);
            shown.push(layer);
        }
        shown
    }

    /// The blobs it is made of.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        [self.manifest, Digest::from(&self.id)].into_iter().chain(self.layers.iter().map(|layer| layer.blob))
    }
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    image: &'a StoredImage,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Writes the record of `image`; `false` where it is there already.
pub(crate) fn write_record(path: &Path, image: &StoredImage) -> Result<bool, ImageError> {
    let bytes = serde_json::to_vec(&Written { version: RECORD_VERSION, image })
        .map_err(|error| ImageError::Damaged { path: path.to_owned(), why: error.to_string() })?;
    write_once(path, &bytes)
}

/// The record at `path`, and its file open; `None` where there is none.
pub(crate) fn read_record(path: &Path) -> Result<Option<(StoredImage, std::fs::File)>, ImageError> {
    let Some((file, bytes)) = read_file(path, RECORD_BYTES_MAX)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(image) => Ok(Some((image, file))),
        Err(error) => Err(explain(path, &bytes, &error)),
    }
}

fn explain(path: &Path, bytes: &[u8], error: &serde_json::Error) -> ImageError {
    match serde_json::from_slice::<Version>(bytes) {
        Ok(Version { version }) if version > RECORD_VERSION => {
            ImageError::NewerVersion { path: path.to_owned(), found: version, known: RECORD_VERSION }
        }
        _ => ImageError::Damaged { path: path.to_owned(), why: error.to_string() },
    }
}
