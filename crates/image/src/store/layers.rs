//! Unpacked layers: each once, whoever wants it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{fresh_name, read_file, remove_file, sync_folder, write_once};
use super::lock::FileLock;
use super::{ImageStore, LayerSource, StoredImage};
use crate::unpack::{UnpackReport, UnpackRequest};
use crate::{Digest, ImageError};

/// A report is a few numbers.
const REPORT_BYTES_MAX: u64 = 4096;

impl ImageStore {
    /// What came of a layer, where it is unpacked for this kind of ownership.
    pub(crate) fn unpacked(&self, diff_id: &Digest) -> Result<Option<UnpackReport>, ImageError> {
        let (whole, ready) =
            (self.place().layer(self.kind(), diff_id), self.place().ready_layer(self.kind(), diff_id));
        // In this order: another process may make the one of the other meanwhile.
        if !is_there(&ready)? && !is_there(&whole)? {
            return Ok(None);
        }
        let path = self.report_path(diff_id);
        let Some((_, bytes)) = read_file(&path, REPORT_BYTES_MAX)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(report) => Ok(Some(report)),
            Err(error) => Err(ImageError::Damaged { path, why: error.to_string() }),
        }
    }

    /// Unpacks a layer, unless it is. While another process does, waits and takes that one's.
    pub(crate) fn unpack(&self, layer: &LayerSource) -> Result<UnpackReport, ImageError> {
        let folder = self.place().kind(self.kind());
        let _lock = FileLock::exclusive(&folder.join(format!(".lock-{}", &layer.diff_id.hex()[..2])))?;
        if let Some(report) = self.unpacked(&layer.diff_id)? {
            return Ok(report);
        }
        let target = folder.join(fresh_name(".new-"));
        let request = UnpackRequest {
            blob: layer.path.clone(),
            media_type: layer.media_type.clone(),
            diff_id: layer.diff_id,
            target: target.clone(),
            limits: self.settings().unpack,
        };
        let begun = std::time::Instant::now();
        let unpacked = self.unpacker().unpack(&request).and_then(|report| {
            self.write_report(&layer.diff_id, &report)?;
            let ready = self.place().ready_layer(self.kind(), &layer.diff_id);
            std::fs::rename(&target, &ready).map_err(ImageError::io("rename", &target))?;
            Ok(report)
        });
        match unpacked {
            Ok(report) => {
                tracing::debug!(layer = %layer.diff_id.short(), ?report, seconds = begun.elapsed().as_secs_f64(), "unpacked a layer");
                Ok(report)
            }
            Err(error) => {
                // It can stay: the next sweep gets it. What went wrong first is what matters.
                if let Err(error) = self.unpacker().remove(&target) {
                    tracing::warn!(%error, "a layer that could not be unpacked is left for the next sweep");
                }
                Err(error)
            }
        }
    }

    /// Makes all of `layers`, which are unpacked, durable, and only then gives them their names.
    pub(crate) fn settle(&self, layers: &[Digest]) -> Result<(), ImageError> {
        let mut ready = Vec::new();
        for diff_id in layers {
            let path = self.place().ready_layer(self.kind(), diff_id);
            if is_there(&path)? {
                ready.push((path, self.place().layer(self.kind(), diff_id)));
            }
        }
        if ready.is_empty() {
            return Ok(());
        }
        let folder = self.place().kind(self.kind());
        // Of a file each would take seconds.
        File::open(&folder)
            .and_then(|handle| rustix::fs::syncfs(handle).map_err(io::Error::from))
            .map_err(ImageError::io("write", &folder))?;
        for (from, to) in ready {
            match std::fs::rename(&from, &to) {
                // Another process that added the same layer was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound && is_there(&to)? => {}
                other => other.map_err(ImageError::io("rename", &from))?,
            }
        }
        sync_folder(&folder)
    }

    /// Unpacks what of a stored image isn't unpacked for this kind of ownership.
    pub(crate) fn unpack_missing(&self, image: &StoredImage) -> Result<(), ImageError> {
        let mut missing = Vec::new();
        for layer in &image.layers {
            if !is_there(&self.place().layer(self.kind(), &layer.diff_id))? {
                missing.push(layer);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let adding = self.begin_adding()?;
        for layer in &missing {
            if self.unpacked(&layer.diff_id)?.is_none() && self.blobs().size(&layer.blob)?.is_none() {
                return Err(ImageError::Missing { image: image.id.to_string() });
            }
            adding.unpack(&LayerSource {
                diff_id: layer.diff_id,
                media_type: layer.media_type.clone(),
                path: self.blobs().path(&layer.blob),
            })?;
        }
        self.settle(&missing.iter().map(|layer| layer.diff_id).collect::<Vec<_>>())
    }

    /// Whether all layers of an image are unpacked for this kind of ownership.
    pub(crate) fn is_unpacked(&self, image: &StoredImage) -> Result<bool, ImageError> {
        for layer in &image.layers {
            if !is_there(&self.place().layer(self.kind(), &layer.diff_id))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn report_path(&self, diff_id: &Digest) -> PathBuf {
        self.place().kind(self.kind()).join(format!(".report-{}", diff_id.hex()))
    }

    fn write_report(&self, diff_id: &Digest, report: &UnpackReport) -> Result<(), ImageError> {
        let path = self.report_path(diff_id);
        let bytes = serde_json::to_vec(report)
            .map_err(|error| ImageError::Damaged { path: path.clone(), why: error.to_string() })?;
        // One may be left of a layer that never came to its name.
        remove_file(&path)?;
        write_once(&path, &bytes).map(drop)
    }
}

pub(crate) fn is_there(path: &Path) -> Result<bool, ImageError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(ImageError::io("look at", path)(error)),
    }
}
