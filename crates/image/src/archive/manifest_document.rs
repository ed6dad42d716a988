//! Documents that we write ourselves: for images that come without a manifest, and for archives.

use serde::Serialize;

use crate::Digest;
use crate::store::StoredLayer;

/// What an OCI manifest names itself.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// What an OCI index names itself.
pub(crate) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// An uncompressed layer.
pub(crate) const PLAIN_LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
/// One that is compressed with gzip.
pub(crate) const GZIP_LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// One that is compressed with Zstandard.
pub(crate) const ZSTD_LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    config: Descriptor<'a>,
    layers: Vec<Descriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
}

/// The OCI manifest of an image with the configuration `config` and `layers`.
pub(crate) fn manifest(config: &[u8], layers: &[StoredLayer]) -> serde_json::Result<Vec<u8>> {
    let layer = |layer: &'_ StoredLayer| (layer.blob, layer.blob_bytes);
    serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE,
        config: Descriptor { media_type: CONFIG_TYPE, digest: Digest::of(config), size: config.len() as u64 },
        layers: layers
            .iter()
            .map(|stored| {
                let (digest, size) = layer(stored);
                Descriptor { media_type: &stored.media_type, digest, size }
            })
            .collect(),
    })
}
