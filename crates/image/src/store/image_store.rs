//! The store as others see it, and finding what is in it.

use std::path::Path;
use std::sync::Arc;

use agentkernel_model::{ImageId, ImageRef};

use super::files::names_in;
use super::names::link_path;
use super::place::Place;
use super::record::read_record;
use super::{StoreSettings, StoredImage};
use crate::unpack::Unpacker;
use crate::{Blobs, ImageError, Reference};

/// The fewest digits that are taken for the beginning of an id.
const PREFIX_DIGITS_MIN: usize = 6;

/// Images below one state folder. Cheap to clone. Calls block unless they say otherwise.
#[derive(Clone)]
pub struct ImageStore(Arc<Inner>);

struct Inner {
    place: Place,
    blobs: Blobs,
    unpacker: Arc<dyn Unpacker>,
    kind: String,
    settings: StoreSettings,
}

impl ImageStore {
    /// The store in `<state_dir>/images`. Makes nothing until something is written.
    pub fn open(state_dir: &Path, unpacker: Arc<dyn Unpacker>) -> Self {
        Self::with_settings(state_dir, unpacker, StoreSettings::default())
    }

    /// With settings of one's own.
    pub fn with_settings(state_dir: &Path, unpacker: Arc<dyn Unpacker>, settings: StoreSettings) -> Self {
        let place = Place::new(state_dir);
        let blobs = Blobs::new(place.images());
        let kind = unpacker.kind();
        Self(Arc::new(Inner { place, blobs, unpacker, kind, settings }))
    }

    /// The blobs beside the images.
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    pub(crate) fn kind(&self) -> &str {
        &self.0.kind
    }

    pub(crate) fn unpacker(&self) -> &dyn Unpacker {
        self.0.unpacker.as_ref()
    }

    pub(crate) fn settings(&self) -> &StoreSettings {
        &self.0.settings
    }

    /// The image that `image` names here: by name, by name and digest, by whole id, or by the beginning of an id (at least
    /// 6 digits, and of one image only). Image `host` is in no store. One small file is read where a name or an id hits.
    ///
    /// # Errors
    /// [`ImageError::Ambiguous`]; what reading gives.
    pub fn find(&self, image: &ImageRef) -> Result<Option<StoredImage>, ImageError> {
        if image.is_host() {
            return Ok(None);
        }
        if let Ok(id) = image.as_str().parse() {
            return self.get(&id);
        }
        let reference = Reference::try_from(image);
        if let Ok(reference) = &reference
            && let Some(found) = self.by_name(reference)?
        {
            return Ok(Some(found));
        }
        match self.by_prefix(image.as_str())? {
            Some(found) => Ok(Some(found)),
            None => reference.map(|_| None),
        }
    }

    /// The image with this id.
    pub fn get(&self, id: &ImageId) -> Result<Option<StoredImage>, ImageError> {
        Ok(read_record(&self.place().record(id))?.map(|(image, _)| image))
    }

    pub(crate) fn by_name(&self, reference: &Reference) -> Result<Option<StoredImage>, ImageError> {
        Ok(read_record(&link_path(self.place(), reference)?)?.map(|(image, _)| image))
    }

    fn by_prefix(&self, text: &str) -> Result<Option<StoredImage>, ImageError> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if !(PREFIX_DIGITS_MIN..=64).contains(&text.len()) || !text.bytes().all(is_digit) {
            return Ok(None);
        }
        let mut hits = self.ids()?.into_iter().filter(|id| id.hex().starts_with(text));
        match (hits.next(), hits.next()) {
            (None, _) => Ok(None),
            (Some(id), None) => self.get(&id),
            (Some(_), Some(_)) => Err(ImageError::Ambiguous { prefix: text.to_owned() }),
        }
    }

    /// All images, by id.
    pub(crate) fn ids(&self) -> Result<Vec<ImageId>, ImageError> {
        let names = names_in(&self.place().records())?;
        let ids =
            names.iter().filter_map(|name| format!("sha256:{}", name.strip_suffix(".json")?).parse().ok());
        Ok(ids.collect())
    }

    /// All records that can be read. One that can't is an error: what it keeps must not be taken for orphaned.
    pub(crate) fn images(&self) -> Result<Vec<StoredImage>, ImageError> {
        let mut images = Vec::new();
        for id in self.ids()? {
            images.extend(self.get(&id)?);
        }
        Ok(images)
    }
}

impl std::fmt::Debug for ImageStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageStore")
            .field("images", &self.place().images())
            .field("kind", &self.kind())
            .finish()
    }
}
