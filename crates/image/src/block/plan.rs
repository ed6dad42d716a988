//! From layers to a file, in two passes.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use super::contents::{self, ContentError};
use super::format::BLOCK_BYTES;
use super::layout::Layout;
use super::metadata;
use super::tree::Tree;
use crate::tar::{TarError, ended_early};
use crate::unpack::{EntryPath, Ownership, UnpackError, UnpackLimits, each_entry, lay_out};
use crate::{Digest, ImageError};

/// How many times the memory for a layer's folders all names, links and attributes of an image may take: by default
/// enough for five million files.
const REMEMBERED_TIMES: u64 = 4;

/// A layer's blob.
#[derive(Debug)]
pub struct LayerStream<R> {
    /// Read from its start, twice.
    pub blob: R,
    /// Its size.
    pub blob_bytes: u64,
    /// What the uncompressed stream must hash to.
    pub diff_id: Digest,
}

/// An EROFS image of which every place is known, and nothing written yet.
#[derive(Debug)]
pub struct BlockPlan<R> {
    layers: Vec<LayerStream<R>>,
    limits: UnpackLimits,
    tree: Tree,
    layout: Layout,
}

impl<R: Read + Seek + Send> BlockPlan<R> {
    /// Reads `layers`, lowest first. Owners are kept as the image has them, devices are left out. Memory grows with the
    /// number of entries, not with their sizes.
    ///
    /// # Errors
    /// [`ImageError::Layer`] for all that unpacking refuses, and for more names and attributes than memory may hold.
    pub fn of(mut layers: Vec<LayerStream<R>>, limits: UnpackLimits) -> Result<Self, ImageError> {
        let mut tree = Tree::new(limits.remembered_bytes.saturating_mul(REMEMBERED_TIMES));
        for (number, layer) in layers.iter_mut().enumerate() {
            let diff_id = layer.diff_id;
            first_pass(layer, number as u32, limits, &mut tree)
                .map_err(|source| ImageError::Layer { diff_id, source })?;
        }
        let diff_id = layers.last().map_or(Digest::of(b""), |layer| layer.diff_id);
        let layout = Layout::of(&tree).map_err(|source| ImageError::Layer { diff_id, source })?;
        Ok(Self { layers, limits, tree, layout })
    }

    /// How large the image will be: whole blocks of 4096 bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.layout.blocks) * BLOCK_BYTES
    }

    /// Writes the image to `file`, which is empty and called `path`. Not synced.
    ///
    /// # Errors
    /// [`ImageError::Layer`] where a layer isn't any more what it was; [`ImageError::Io`].
    pub fn write(&mut self, file: &File, path: &Path, uuid: [u8; 16]) -> Result<(), ImageError> {
        let failed = ImageError::io("write", path);
        metadata::write(file, &self.tree, &self.layout, uuid).map_err(failed)?;
        for number in 0..self.layers.len() {
            self.second_pass(number, file, path)?;
        }
        metadata::seal(file).map_err(ImageError::io("write", path))
    }

    fn second_pass(&mut self, number: usize, file: &File, path: &Path) -> Result<(), ImageError> {
        let Self { layers, limits, tree, layout } = self;
        let layer = &mut layers[number];
        let mut wanted = layout.contents_of(number as u32).iter().peekable();
        if wanted.peek().is_none() {
            return Ok(());
        }
        let refused = |source| ImageError::Layer { diff_id: layer.diff_id, source };
        layer.blob.rewind().map_err(|source| refused(TarError::from(source).into()))?;
        let mut entries = 0;
        let mut failure = None;
        let read = each_entry(&mut layer.blob, layer.blob_bytes, *limits, |_, content| {
            let this = entries;
            entries += 1;
            let Some(found) = wanted.next_if(|content| content.number == this) else { return Ok(()) };
            let placed = &layout.inodes[found.inode as usize];
            let xattr_bytes = tree.node(placed.node).xattrs.len() as u64;
            match contents::write(file, placed, xattr_bytes, content) {
                Ok(written) if written == placed.size => Ok(()),
                Ok(_) => Err(TarError::Truncated.into()),
                Err(ContentError::Read(source)) => Err(ended_early(source).into()),
                Err(ContentError::Write(source)) => {
                    failure = Some(source);
                    let source = io::Error::other("the image could not be written");
                    Err(UnpackError::Write { path: EntryPath::default(), source })
                }
            }
        });
        match (failure, read) {
            (Some(source), _) => Err(ImageError::io("write", path)(source)),
            (None, read) => check(read.map_err(refused)?, layer.diff_id).map_err(refused),
        }
    }
}

fn first_pass<R: Read + Seek + Send>(
    layer: &mut LayerStream<R>,
    number: u32,
    limits: UnpackLimits,
    tree: &mut Tree,
) -> Result<(), UnpackError> {
    layer.blob.rewind().map_err(TarError::from)?;
    tree.begin_layer(number)?;
    let (report, found) = lay_out(&mut layer.blob, layer.blob_bytes, tree, Ownership::Keep, limits)?;
    check(found, layer.diff_id)?;
    tracing::debug!(layer = %layer.diff_id.short(), ?report, "read a layer for a block image");
    tree.end_layer();
    Ok(())
}

fn check(found: Digest, expected: Digest) -> Result<(), UnpackError> {
    match found == expected {
        true => Ok(()),
        false => Err(UnpackError::WrongContent { expected, found }),
    }
}
