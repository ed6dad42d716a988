//! One archive that both worlds take: an OCI image layout with the `manifest.json` of `docker save` beside, as Docker
//! itself writes it since version 25. Blobs go out exactly as they came.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use agentkernel_model::{ImageId, ImageRef};
use serde::Serialize;

use super::manifest_document::{INDEX_TYPE, MANIFEST_TYPE};
use crate::store::StoredImage;
use crate::{Digest, ImageError, ImageStore, MANIFEST_BYTES_MAX, Reference};

/// An image that was written out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Which.
    pub id: ImageId,
    /// The names that went with it.
    pub names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerItem {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<IndexEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexEntry {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

impl ImageStore {
    /// Writes `images` to `sink` as one tar. What is named by tag goes under that name, what is named by id under all its
    /// tags. Blocks.
    ///
    /// # Errors
    /// [`ImageError::Missing`]; [`ImageError::Unpacked`] where a blob went to make room; what writing gives. Both before
    /// anything is written.
    pub fn export(&self, images: &[ImageRef], sink: &mut dyn Write) -> Result<Vec<Exported>, ImageError> {
        let mut found = Vec::new();
        let mut leases = Vec::new();
        for image in images {
            let missing = || ImageError::Missing { image: image.to_string() };
            let id = self.find(image)?.ok_or_else(missing)?.id;
            let (stored, lease) = self.lease(&id)?.ok_or_else(missing)?;
            // A blob that went to make room can't be had back from what was unpacked of it: compressed anew it would have
            // another digest, and the image another name.
            let unpacked = || ImageError::Unpacked { image: image.to_string() };
            for blob in stored.blobs() {
                self.blobs().size(&blob)?.ok_or_else(unpacked)?;
            }
            leases.push(lease);
            found.push((self.exported_names(image, &id)?, stored));
        }
        let mut archive = Archive::new(sink);
        archive.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let (mut items, mut entries) = (Vec::new(), Vec::new());
        for (names, image) in &found {
            entries.extend(self.index_entries(names, image)?);
            items.push(docker_item(names, image));
            for digest in image.blobs() {
                archive.blob(self, &digest)?;
            }
        }
        let index = Index { schema_version: 2, media_type: INDEX_TYPE, manifests: entries };
        archive.json("index.json", &index)?;
        archive.json("manifest.json", &items)?;
        archive.finish()?;
        let exported = found.into_iter().map(|(names, image)| Exported {
            id: image.id,
            names: names.iter().map(Reference::to_string).collect(),
        });
        Ok(exported.collect())
    }

    fn exported_names(&self, image: &ImageRef, id: &ImageId) -> Result<Vec<Reference>, ImageError> {
        let names = self.names_of(id)?;
        let tags = names.iter().filter_map(|name| name.parse::<Reference>().ok());
        let tags: Vec<_> = tags.filter(|name| name.digest().is_none()).collect();
        match Reference::try_from(image).ok().filter(|named| tags.contains(named)) {
            Some(named) => Ok(vec![named]),
            None => Ok(tags),
        }
    }

    /// One for each name: an entry has only one.
    fn index_entries(&self, names: &[Reference], image: &StoredImage) -> Result<Vec<IndexEntry>, ImageError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            media_type: Option<String>,
        }
        let missing = || ImageError::Missing { image: image.id.to_string() };
        let bytes = self.blobs().read(&image.manifest, MANIFEST_BYTES_MAX)?.ok_or_else(missing)?;
        let kind = serde_json::from_slice::<Kind>(&bytes).ok().and_then(|kind| kind.media_type);
        let entry = |name: Option<&Reference>| {
            let mut annotations = BTreeMap::new();
            if let Some(name) = name {
                annotations.insert("io.containerd.image.name", name.to_string());
                annotations.insert("org.opencontainers.image.ref.name", name.to_string());
            }
            IndexEntry {
                media_type: kind.clone().unwrap_or_else(|| MANIFEST_TYPE.to_owned()),
                digest: image.manifest,
                size: bytes.len() as u64,
                annotations,
            }
        };
        Ok(match names.is_empty() {
            true => vec![entry(None)],
            false => names.iter().map(|name| entry(Some(name))).collect(),
        })
    }
}

fn docker_item(names: &[Reference], image: &StoredImage) -> DockerItem {
    DockerItem {
        config: blob_path(&Digest::from(&image.id)),
        // Whole: Podman takes a short one for its own.
        repo_tags: names.iter().map(Reference::to_string).collect(),
        layers: image.layers.iter().map(|layer| blob_path(&layer.blob)).collect(),
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A tar underway.
struct Archive<'a> {
    builder: tar::Builder<&'a mut dyn Write>,
    written: BTreeSet<Digest>,
}

impl<'a> Archive<'a> {
    fn new(sink: &'a mut dyn Write) -> Self {
        Self { builder: tar::Builder::new(sink), written: BTreeSet::new() }
    }

    fn entry(&mut self, name: &str, size: u64, content: impl Read) -> Result<(), ImageError> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(size);
        header.set_mode(0o644);
        // The same images give the same archive, whoever writes it and whenever.
        header.set_mtime(0);
        self.builder.append_data(&mut header, name, content).map_err(failed)
    }

    fn document(&mut self, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        self.entry(name, bytes.len() as u64, bytes)
    }

    fn json(&mut self, name: &str, document: &impl Serialize) -> Result<(), ImageError> {
        let bytes = serde_json::to_vec(document).map_err(|error| failed(io::Error::other(error)))?;
        self.document(name, &bytes)
    }

    fn blob(&mut self, store: &ImageStore, digest: &Digest) -> Result<(), ImageError> {
        if !self.written.insert(*digest) {
            return Ok(());
        }
        let missing = || ImageError::Missing { image: digest.to_string() };
        let file = store.blobs().open(digest)?.ok_or_else(missing)?;
        let size = file.metadata().map_err(failed)?.len();
        self.entry(&blob_path(digest), size, file)
    }

    fn finish(mut self) -> Result<(), ImageError> {
        self.builder.finish().map_err(failed)?;
        self.builder.get_mut().flush().map_err(failed)
    }
}

fn failed(source: io::Error) -> ImageError {
    ImageError::Io { action: "write", path: "the archive".into(), source }
}
