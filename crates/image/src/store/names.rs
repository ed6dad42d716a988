//! What images are called: one symbolic link a name.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use agentkernel_model::ImageId;

use super::files::{WRITING_PREFIX, fresh_name, names_in, remove_file, sync_folder};
use super::place::Place;
use crate::{ImageError, Reference};

/// Longest name of a file (`NAME_MAX`, limits.h).
const NAME_BYTES_MAX: usize = 255;

/// Where the link of a reference is. A digest decides alone: the tag before it is for people.
pub(crate) fn link_path(place: &Place, reference: &Reference) -> Result<PathBuf, ImageError> {
    let whole = whole_name(reference);
    if whole.len() > NAME_BYTES_MAX {
        let why = "with its registry and tag it is longer than 255 characters";
        return Err(ImageError::Reference { text: whole.chars().take(80).collect(), why });
    }
    Ok(place.names().join(whole.replace('/', "+")))
}

/// Whether [`link_path`] has one.
pub(crate) fn is_nameable(reference: &Reference) -> bool {
    whole_name(reference).len() <= NAME_BYTES_MAX
}

/// As names are kept and listed.
pub(crate) fn whole_name(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest).to_string(),
        None => reference.to_string(),
    }
}

/// All names and what they mean.
pub(crate) fn all_names(place: &Place) -> Result<BTreeMap<String, ImageId>, ImageError> {
    let mut names = BTreeMap::new();
    for file in names_in(&place.names())? {
        if let Some(id) = target(&place.names().join(&file))? {
            names.insert(file.replace('+', "/"), id);
        }
    }
    Ok(names)
}

/// The names of one image: those with tags first.
pub(crate) fn names_of(place: &Place, id: &ImageId) -> Result<Vec<String>, ImageError> {
    let names = all_names(place)?.into_iter().filter(|(_, target)| target == id).map(|(name, _)| name);
    let (mut tags, digests): (Vec<_>, Vec<_>) = names.partition(|name| is_tag(name));
    tags.extend(digests);
    Ok(tags)
}

/// Whether a name is by tag, and so keeps its image from being pruned.
pub(crate) fn is_tag(name: &str) -> bool {
    !name.contains('@')
}

/// The image that a link means; `None` where there is no such link, or one that isn't ours.
pub(crate) fn target(link: &Path) -> Result<Option<ImageId>, ImageError> {
    match std::fs::read_link(link) {
        Ok(target) => {
            let hex = target.file_stem().and_then(|stem| stem.to_str());
            Ok(hex.and_then(|hex| format!("sha256:{hex}").parse().ok()))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
            Ok(None)
        }
        Err(error) => Err(ImageError::io("read", link)(error)),
    }
}

/// Lets `name` mean `id`; what it meant before. The image that a tag leaves loses its names by digest in that repository
/// as well, unless another tag of it stays there: without that, each `pull` would leave an image that nothing prunes.
pub(crate) fn set_name(
    place: &Place,
    reference: &Reference,
    id: &ImageId,
) -> Result<Option<ImageId>, ImageError> {
    let link = link_path(place, reference)?;
    let before = target(&link)?;
    if before.as_ref() == Some(id) {
        return Ok(before);
    }
    let new = place.names().join(fresh_name(WRITING_PREFIX));
    let record = Path::new("../records").join(format!("{}.json", id.hex()));
    std::os::unix::fs::symlink(&record, &new).map_err(ImageError::io("write", &new))?;
    std::fs::rename(&new, &link).map_err(ImageError::io("rename", &new))?;
    sync_folder(&place.names())?;
    if let Some(before) = before.as_ref().filter(|_| reference.digest().is_none()) {
        drop_digest_names(place, &reference.name(), before)?;
    }
    Ok(before)
}

fn drop_digest_names(place: &Place, repository: &str, id: &ImageId) -> Result<(), ImageError> {
    let names = names_of(place, id)?;
    let in_repository =
        |name: &&String| name.strip_prefix(repository).is_some_and(|rest| rest.starts_with([':', '@']));
    let here: Vec<_> = names.iter().filter(in_repository).collect();
    if here.iter().any(|name| is_tag(name)) {
        return Ok(());
    }
    here.into_iter().try_for_each(|name| remove_name(place, name))
}

/// Takes a name away, given as [`all_names`] has it; fine if it isn't there.
pub(crate) fn remove_name(place: &Place, name: &str) -> Result<(), ImageError> {
    remove_file(&place.names().join(name.replace('/', "+")))
}
