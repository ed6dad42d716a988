//! Where things are below `images`.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use agentkernel_model::ImageId;

use crate::{Digest, ImageError};

/// The paths of one store. Makes nothing by itself.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    images: PathBuf,
}

impl Place {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { images: state_dir.join("images") }
    }

    pub(crate) fn images(&self) -> &Path {
        &self.images
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.images.join("records")
    }

    pub(crate) fn record(&self, id: &ImageId) -> PathBuf {
        self.records().join(format!("{}.json", id.hex()))
    }

    pub(crate) fn names(&self) -> PathBuf {
        self.images.join("names")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.images.join("layers")
    }

    pub(crate) fn kind(&self, kind: &str) -> PathBuf {
        self.layers().join(kind)
    }

    pub(crate) fn layer(&self, kind: &str, diff_id: &Digest) -> PathBuf {
        self.kind(kind).join(diff_id.hex())
    }

    pub(crate) fn ready_layer(&self, kind: &str, diff_id: &Digest) -> PathBuf {
        self.kind(kind).join(format!(".ready-{}", diff_id.hex()))
    }

    pub(crate) fn blocks(&self) -> PathBuf {
        self.images.join("block")
    }

    pub(crate) fn block(&self, id: &ImageId) -> PathBuf {
        self.blocks().join(format!("{}.erofs", id.hex()))
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.images.join("lock")
    }

    /// Makes the folders that adding needs, for their owner alone.
    pub(crate) fn make(&self, kind: &str) -> Result<(), ImageError> {
        for path in [self.images.clone(), self.records(), self.names(), self.kind(kind)] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(ImageError::io("create", &path))?;
        }
        Ok(())
    }
}
