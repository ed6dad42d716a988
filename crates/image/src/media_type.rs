//! The kinds of content that an image is made of, by their names in the OCI image-spec and in Docker's image manifest
//! version 2, schema 2. What isn't named here is refused by name.

use serde::{Deserialize, Serialize};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a registry is asked for.
pub(crate) const ACCEPTED_MANIFESTS: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// What a document at a manifest's place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ManifestKind {
    /// One image.
    Image,
    /// Images of several platforms.
    Index,
}

impl ManifestKind {
    /// Of a media type without parameters; `None` for another kind of document.
    pub(crate) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_MANIFEST | DOCKER_MANIFEST => Some(Self::Image),
            OCI_INDEX | DOCKER_LIST => Some(Self::Index),
            _ => None,
        }
    }
}

/// Whether a manifest's `config` is an image's (and not, say, a Helm chart's).
pub(crate) fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// How a layer is compressed. The layer itself is always a tar archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Compression {
    /// Of a layer's media type; why it can't be taken otherwise.
    pub fn of_layer(media_type: &str) -> Result<Self, &'static str> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Ok(Self::None)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(Self::Gzip),
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Self::Zstd),
            other if other.contains(".foreign.") || other.contains(".nondistributable.") => {
                Err("its content isn't in the registry (a foreign layer, as Windows images have them)")
            }
            other if other.ends_with("+encrypted") => Err("it is encrypted"),
            _ => Err("its media type is unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_of_layers_are_known_and_foreign_ones_are_refused() {
        for (media_type, expected) in [
            ("application/vnd.oci.image.layer.v1.tar", Some(Compression::None)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Compression::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Compression::Zstd)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", None),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", None),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
            ("application/octet-stream", None),
            ("", None),
        ] {
            assert_eq!(Compression::of_layer(media_type).ok(), expected, "{media_type}");
        }
    }
}
