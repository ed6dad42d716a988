//! OCI image layouts (image-spec, `image-layout.md`): `index.json` leads to manifests among blobs that are called by their
//! digests.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::docker_save::IMAGES_MAX;
use super::import::{FoundImage, FoundLayer};
use super::members::Members;
use crate::config_document::ConfigDocument;
use crate::error::tame;
use crate::manifest::{ImageManifest, Manifest, Refusal};
use crate::{CONFIG_BYTES_MAX, Digest, MANIFEST_BYTES_MAX, Platform, Reference};

const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: Option<String>,
    digest: Digest,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `None` where the archive isn't a layout. Of images for several platforms, those for `wanted` are taken.
pub(crate) fn read(members: &dyn Members, wanted: &Platform) -> Result<Option<Vec<FoundImage>>, String> {
    let small = |name: &str| members.read(name, MANIFEST_BYTES_MAX).map_err(|error| tame(&error.to_string()));
    let (Some(_), Some(index)) = (small("oci-layout")?, small("index.json")?) else { return Ok(None) };
    let index: Index = serde_json::from_slice(&index)
        .map_err(|error| format!("its index.json is damaged: {}", tame(&error.to_string())))?;
    if index.manifests.len() > IMAGES_MAX {
        return Err(format!("it holds {} images, at most {IMAGES_MAX} are taken", index.manifests.len()));
    }
    let (mut images, mut others) = (Vec::new(), Vec::new());
    for entry in &index.manifests {
        match image(members, entry, wanted)? {
            Ok(image) => images.push(image),
            Err(platform) => others.push(platform),
        }
    }
    match images.is_empty() && !others.is_empty() {
        true => Err(format!("it has nothing for platform {wanted}; there is {}", others.join(", "))),
        false => Ok(Some(images)),
    }
}

/// The image of one entry; the platform where it is for another.
fn image(
    members: &dyn Members,
    entry: &Entry,
    wanted: &Platform,
) -> Result<Result<FoundImage, String>, String> {
    let bytes = blob(members, &entry.digest, MANIFEST_BYTES_MAX)?;
    let (manifest, bytes) = match Manifest::parse(&bytes, entry.media_type.as_deref()).map_err(why)? {
        Manifest::Image(manifest) => (manifest, bytes),
        Manifest::Index(index) => {
            let chosen = match index.select(wanted) {
                Ok(chosen) => chosen,
                Err(available) => return Ok(Err(available)),
            };
            let bytes = blob(members, &chosen.digest, MANIFEST_BYTES_MAX)?;
            match Manifest::parse(&bytes, Some(&chosen.media_type)).map_err(why)? {
                Manifest::Image(manifest) => (manifest, bytes),
                Manifest::Index(_) => return Err("its index names another index as an image".to_owned()),
            }
        }
    };
    found(members, entry, &manifest, bytes, wanted)
}

fn found(
    members: &dyn Members,
    entry: &Entry,
    manifest: &ImageManifest,
    bytes: Vec<u8>,
    wanted: &Platform,
) -> Result<Result<FoundImage, String>, String> {
    let config = blob(members, &manifest.config.digest, CONFIG_BYTES_MAX)?;
    if let Some(offered) = ConfigDocument::parse(&config)?.platform.filter(|offered| !wanted.runs(offered)) {
        return Ok(Err(offered.to_string()));
    }
    let layers = manifest.layers.iter().map(|(layer, _)| FoundLayer {
        member: path(&layer.digest),
        expected: Some((layer.digest, layer.size)),
        media_type: Some(layer.media_type.clone()),
    });
    Ok(Ok(FoundImage { names: names(entry), config, manifest: Some(bytes), layers: layers.collect() }))
}

/// Some programs write the whole name, others the tag alone, which names nothing by itself.
fn names(entry: &Entry) -> Vec<Reference> {
    let texts = NAME_ANNOTATIONS.iter().filter_map(|annotation| entry.annotations.get(*annotation));
    let whole = texts.filter(|text| text.contains(['/', ':']));
    whole.filter_map(|text| text.parse().ok()).take(1).collect()
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn blob(members: &dyn Members, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, String> {
    let bytes = members.read(&path(digest), bytes_max).map_err(|error| tame(&error.to_string()))?;
    let bytes = bytes.ok_or_else(|| format!("blob {digest} is missing in it"))?;
    match Digest::of(&bytes) {
        found if found == *digest => Ok(bytes),
        found => Err(format!("blob {digest} in it has digest {found}")),
    }
}

fn why(refusal: Refusal) -> String {
    match refusal {
        Refusal::Wrong(why) | Refusal::Unsupported(why) => why,
        Refusal::Layers(count) => format!("it has {count} layers"),
    }
}
