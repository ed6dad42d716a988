//! Text to [`FileConfig`]: pure, total (any text gives a value or an error, never a panic), with the place of each key.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::file::FileValues;
use crate::refused::why_refused;
use crate::schema::known_keys;
use crate::suggestion::closest;
use crate::{ConfigError, Location};

/// One parsed `agentkernel.toml`: its values, unmerged, and where each key stands.
#[derive(Debug, Clone, PartialEq)]
pub struct FileConfig {
    pub(crate) path: PathBuf,
    pub(crate) values: FileValues,
    locations: BTreeMap<String, Location>,
}

impl FileConfig {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that relative paths in the file start from.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Where `key` (`resources.memory_mb`, `mounts.0`) stands; the file's start for what isn't in it.
    pub(crate) fn location(&self, key: &str) -> Location {
        let start = || Location { path: self.path.clone(), line: 1, column: 1 };
        self.locations.get(key).cloned().unwrap_or_else(start)
    }
}

/// A key or list entry of the document, with its own place and that of its value.
struct Place {
    path: Vec<String>,
    key: Range<usize>,
    value: Range<usize>,
}

/// Parses the text of the file `path` (which is only used to name places in errors).
pub fn parse(text: &str, path: &Path) -> Result<FileConfig, ConfigError> {
    let location = |offset| Location::of_offset(path, text, offset);
    let invalid = |error: &toml::de::Error, places: &[Place]| {
        let offset = error.span().map_or(0, |span| span.start);
        let key =
            places.iter().rfind(|place| place.value.contains(&offset)).map(|place| place.path.join("."));
        ConfigError::Invalid { location: location(offset), key, message: one_line(error.message()) }
    };

    let table = DeTable::parse(text).map_err(|error| invalid(&error, &[]))?;
    let mut places = Vec::new();
    collect(table.get_ref(), &mut Vec::new(), &mut places);
    places.sort_by_key(|place| place.key.start);

    for place in &places {
        let key = place.path.join(".");
        if let Some(why) = why_refused(&key) {
            return Err(ConfigError::RefusedKey { location: location(place.key.start), key, why });
        }
    }

    let mut ignored = Vec::new();
    let values: FileValues =
        serde_ignored::deserialize(toml::Deserializer::from(table), |path| ignored.push(parts(&path)))
            .map_err(|error| invalid(&error, &places))?;
    if let Some(unknown) = places.iter().find(|place| ignored.contains(&place.path)) {
        let key = unknown.path.join(".");
        let suggestion = suggest(&unknown.path);
        return Err(ConfigError::UnknownKey { location: location(unknown.key.start), key, suggestion });
    }

    let locations = places.iter().map(|place| (place.path.join("."), location(place.key.start))).collect();
    Ok(FileConfig { path: path.to_owned(), values, locations })
}

/// All keys and list entries below `table`, parents before children.
fn collect(table: &DeTable<'_>, parents: &mut Vec<String>, places: &mut Vec<Place>) {
    for (key, value) in table.iter() {
        parents.push(key.get_ref().to_string());
        places.push(Place { path: parents.clone(), key: key.span(), value: value.span() });
        collect_value(value.get_ref(), parents, places);
        parents.pop();
    }
}

fn collect_value(value: &DeValue<'_>, parents: &mut Vec<String>, places: &mut Vec<Place>) {
    if let Some(table) = value.as_table() {
        return collect(table, parents, places);
    }
    for (index, entry) in value.as_array().into_iter().flat_map(|array| array.iter()).enumerate() {
        parents.push(index.to_string());
        places.push(Place { path: parents.clone(), key: entry.span(), value: entry.span() });
        collect_value(entry.get_ref(), parents, places);
        parents.pop();
    }
}

/// The path of an ignored key as its parts.
fn parts(path: &serde_ignored::Path<'_>) -> Vec<String> {
    use serde_ignored::Path as Ignored;
    let (parent, last) = match path {
        Ignored::Root => return Vec::new(),
        Ignored::Seq { parent, index } => (parent, Some(index.to_string())),
        Ignored::Map { parent, key } => (parent, Some(key.clone())),
        Ignored::Some { parent } | Ignored::NewtypeStruct { parent } | Ignored::NewtypeVariant { parent } => {
            (parent, None)
        }
    };
    let mut all = parts(parent);
    all.extend(last);
    all
}

/// The known key that was probably meant: a near name in the same section, else the same or a near name in another.
fn suggest(path: &[String]) -> Option<String> {
    let without_indexes: Vec<&str> =
        path.iter().map(String::as_str).filter(|part| part.parse::<usize>().is_err()).collect();
    let (name, section) = without_indexes.split_last()?;
    let keys = known_keys();
    let in_section = |key: &'static str| {
        let (prefix, last) = key.rsplit_once('.').unwrap_or(("", key));
        (prefix == section.join(".")).then_some(last)
    };
    if let Some(near) = closest(name, keys.iter().filter_map(|key| in_section(key))) {
        return Some(section.iter().copied().chain([near]).collect::<Vec<_>>().join("."));
    }
    let last = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
    let near = closest(name, keys.iter().map(|key| last(key)))?;
    keys.iter().find(|key| last(key) == near).map(|key| (*key).to_owned())
}

/// The TOML parser's messages may span lines; ours don't.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
