//! One value offered by several sources.

use std::path::Path;

use crate::{ConfigError, FileConfig, Origin};

/// The configuration file as a source.
#[derive(Clone, Copy)]
pub(crate) struct FileSource<'a> {
    pub(crate) config: &'a FileConfig,
    /// Whether the user named it; else it was found in the current folder.
    pub(crate) named: bool,
}

impl<'a> FileSource<'a> {
    /// The folder that relative paths in the file start from.
    pub(crate) fn folder(&self) -> &'a Path {
        self.config.folder()
    }

    /// The origin of what stands at `key`.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        let location = self.config.location(key);
        Origin::File { path: location.path, line: location.line, named: self.named }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// What each source offers for one key, strongest first.
pub(crate) struct Offers<T>(Vec<Sourced<T>>);

impl<T> Offers<T> {
    /// What the flag gave.
    pub(crate) fn flag(value: Option<T>) -> Self {
        let mut offers = Self(Vec::new());
        offers.push(value, || Origin::Flag);
        offers
    }

    /// Then what the variable gave.
    pub(crate) fn variable(mut self, name: &'static str, value: Option<T>) -> Self {
        self.push(value, || Origin::Variable { name });
        self
    }

    /// Then what the file gave at `key`.
    pub(crate) fn file(mut self, file: Option<FileSource<'_>>, key: &str, value: Option<T>) -> Self {
        if let Some(file) = file {
            self.push(value, || file.origin(key));
        }
        self
    }

    fn push(&mut self, value: Option<T>, origin: impl FnOnce() -> Origin) {
        self.0.extend(value.map(|value| Sourced { value, origin: origin() }));
    }

    /// The strongest offer.
    pub(crate) fn strongest(self) -> Option<Sourced<T>> {
        self.0.into_iter().next()
    }
}

/// One setting that has several names in the file: the name that was used with its value, an error for two.
pub(crate) fn one_of<T>(
    file: Option<FileSource<'_>>,
    spellings: impl IntoIterator<Item = (&'static str, Option<T>)>,
) -> Result<Option<(&'static str, T)>, ConfigError> {
    let mut given = spellings.into_iter().filter_map(|(key, value)| value.map(|value| (key, value)));
    let first = given.next();
    match (&first, given.next(), file) {
        (Some((first, _)), Some((second, _)), Some(file)) => {
            Err(ConfigError::Twice { location: file.config.location(second), first, second })
        }
        _ => Ok(first),
    }
}
