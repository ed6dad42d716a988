//! A store in a folder of its own, and images for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkernel_image::{
    Direct, ImageError, ImageStore, ImportRequest, ImportSource, Imported, StoreSettings, StoredImage,
};
use agentkernel_model::{ImageConfig, ImageRef};

use crate::crafted::{Tar, docker_archive};

pub(crate) struct Scene {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: ImageStore,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(StoreSettings::default())
    }

    pub(crate) fn with(settings: StoreSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::with_settings(&dir.path().join("state"), Arc::new(Direct::new()), settings);
        Self { dir, store }
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn import(&self, source: ImportSource, names: &[&str]) -> Result<Vec<Imported>, ImageError> {
        self.store.import(ImportRequest {
            source,
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            config: ImageConfig::default(),
            platform: Some("linux/amd64".parse().unwrap()),
        })
    }

    /// An image of these layers, by name.
    pub(crate) fn image(&self, name: &str, layers: &[Vec<u8>]) -> StoredImage {
        let archive = docker_archive(name, layers, "{}");
        self.import(ImportSource::Stream(Box::new(std::io::Cursor::new(archive))), &[]).unwrap();
        self.find(name).unwrap()
    }

    pub(crate) fn find(&self, image: &str) -> Option<StoredImage> {
        self.store.find(&reference(image)).unwrap()
    }

    /// The content of a file in the lowest layer that has it.
    pub(crate) fn read(&self, image: &StoredImage, path: &str) -> Option<String> {
        let rootfs = self.store.rootfs(&image.id).unwrap();
        rootfs.layers.iter().find_map(|layer| std::fs::read_to_string(layer.join(path)).ok())
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.dir.path().join("state/images")
    }

    /// Names in a folder of the store that are not of its own housekeeping.
    pub(crate) fn names_in(&self, folder: &str) -> Vec<String> {
        names_in(&self.images().join(folder))
    }
}

pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

pub(crate) fn reference(text: &str) -> ImageRef {
    text.parse().unwrap()
}

/// A layer with one file.
pub(crate) fn layer(path: &str, content: &str) -> Vec<u8> {
    Tar::default().file(path, content.as_bytes()).end()
}
