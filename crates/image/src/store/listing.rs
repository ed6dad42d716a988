//! What is here, for people and programs.

use std::collections::BTreeMap;
use std::time::SystemTime;

use agentkernel_model::{ImageId, ImageRef};
use serde::Serialize;

use super::names::{all_names, is_tag, names_of};
use super::usage::layer_uses;
use super::{ImageStore, StoredImage};
use crate::ImageError;

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Which.
    pub id: ImageId,
    /// Its whole names, those with tags first.
    pub names: Vec<String>,
    /// When it was made, as it says (RFC 3339).
    pub created: Option<String>,
    /// When it came, or a sandbox last used it.
    pub last_used: Option<SystemTime>,
    /// Bytes of its files.
    pub bytes: u64,
    /// Of these, bytes of layers that no other image here has.
    pub unique_bytes: u64,
}

/// All that is known of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageDetails {
    /// Its whole names, those with tags first.
    pub names: Vec<String>,
    /// What is written down.
    #[serde(flatten)]
    pub image: StoredImage,
    /// Bytes of its files.
    pub bytes: u64,
}

impl ImageStore {
    /// All images, those used last first.
    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let mut names: BTreeMap<ImageId, Vec<String>> = BTreeMap::new();
        for (name, id) in all_names(self.place())? {
            names.entry(id).or_default().push(name);
        }
        let images = self.images()?;
        let uses = layer_uses(&images);
        let mut list: Vec<ImageSummary> = images
            .iter()
            .map(|image| {
                let mut names = names.remove(&image.id).unwrap_or_default();
                names.sort_by_key(|name| !is_tag(name));
                let unique = image.layers.iter().map(|layer| match uses.get(&layer.diff_id) {
                    Some((_, 1)) => layer.bytes,
                    _ => 0,
                });
                ImageSummary {
                    id: image.id.clone(),
                    names,
                    created: image.created.clone(),
                    last_used: self.last_used(&image.id),
                    bytes: image.bytes(),
                    unique_bytes: unique.sum(),
                }
            })
            .collect();
        list.sort_by_key(|image| std::cmp::Reverse(image.last_used));
        Ok(list)
    }

    /// Everything about one image; `None` where it isn't here.
    pub fn inspect(&self, image: &ImageRef) -> Result<Option<ImageDetails>, ImageError> {
        let Some(image) = self.find(image)? else { return Ok(None) };
        let names = names_of(self.place(), &image.id)?;
        Ok(Some(ImageDetails { names, bytes: image.bytes(), image }))
    }

    /// The whole names of an image, those with tags first.
    pub fn names_of(&self, id: &ImageId) -> Result<Vec<String>, ImageError> {
        names_of(self.place(), id)
    }

    pub(crate) fn last_used(&self, id: &ImageId) -> Option<SystemTime> {
        self.place().record(id).metadata().and_then(|metadata| metadata.modified()).ok()
    }
}
