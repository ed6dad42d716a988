//! What `docker save` and `podman save` write: `manifest.json` names configurations, layers and names. Since Docker 25
//! the same archive is an OCI layout as well; its `manifest.json` still says all.

use serde::Deserialize;

use super::import::{FoundImage, FoundLayer};
use super::members::Members;
use crate::error::tame;
use crate::{CONFIG_BYTES_MAX, Digest, LAYERS_MAX, MANIFEST_BYTES_MAX, Reference};

/// Images in one archive.
pub(crate) const IMAGES_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// `None` where the archive isn't one of these.
pub(crate) fn read(members: &dyn Members) -> Result<Option<Vec<FoundImage>>, String> {
    let text = |error: std::io::Error| tame(&error.to_string());
    let Some(bytes) = members.read("manifest.json", MANIFEST_BYTES_MAX).map_err(text)? else {
        return Ok(None);
    };
    let items: Vec<Item> = serde_json::from_slice(&bytes)
        .map_err(|error| format!("its manifest.json is damaged: {}", tame(&error.to_string())))?;
    if items.len() > IMAGES_MAX {
        return Err(format!("it holds {} images, at most {IMAGES_MAX} are taken", items.len()));
    }
    items.into_iter().map(|item| found(members, item)).collect::<Result<_, _>>().map(Some)
}

fn found(members: &dyn Members, item: Item) -> Result<FoundImage, String> {
    let path = normal(&item.config);
    let config = members
        .read(&path, CONFIG_BYTES_MAX)
        .map_err(|error| tame(&error.to_string()))?
        .ok_or_else(|| format!("its configuration {:?} is missing", tame(&item.config)))?;
    // Docker calls the file by its digest.
    let stem = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    if let Ok(named) = format!("sha256:{stem}").parse::<Digest>()
        && named != Digest::of(&config)
    {
        return Err(format!("its configuration {named} has digest {}", Digest::of(&config)));
    }
    if item.layers.len() > LAYERS_MAX {
        return Err(format!("it has {} layers, at most {LAYERS_MAX} are taken", item.layers.len()));
    }
    let names = item.repo_tags.unwrap_or_default();
    let name = |name: &String| name.parse::<Reference>().map_err(|error| error.to_string());
    let layers = item.layers.iter().map(|layer| FoundLayer {
        member: normal(layer),
        expected: None,
        media_type: None,
    });
    Ok(FoundImage {
        names: names.iter().map(name).collect::<Result<_, _>>()?,
        config,
        manifest: None,
        layers: layers.collect(),
    })
}

/// Members are looked up without a leading `./`.
fn normal(path: &str) -> String {
    path.strip_prefix("./").unwrap_or(path).to_owned()
}
