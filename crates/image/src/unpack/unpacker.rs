//! How a layer's blob becomes a folder that belongs to the right ids.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::UnpackLimits;
use crate::{Digest, ImageError};

/// One layer to unpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackRequest {
    /// The blob, whose digest was verified.
    pub blob: PathBuf,
    /// What the manifest says that the blob is; its first bytes decide.
    pub media_type: String,
    /// What the uncompressed stream must hash to.
    pub diff_id: Digest,
    /// Where to: a path that doesn't exist yet, in a folder that does. Made, and left behind half-made on failure.
    pub target: PathBuf,
    /// How much the layer may ask for.
    pub limits: UnpackLimits,
}

/// What came of a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpackReport {
    /// Regular files, further names of them and pipes.
    pub files: u64,
    /// Folders that the stream names.
    pub folders: u64,
    /// Symbolic links.
    pub links: u64,
    /// Names and folders that hide what lower layers have.
    pub whiteouts: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Devices, which are never made.
    pub devices_left_out: u64,
    /// Extended attributes that aren't kept, or that the file system doesn't have.
    pub attributes_left_out: u64,
    /// Whether nothing of any lower layer shows through.
    pub hides_all_lower: bool,
}

/// Makes folders of layers, for one way of owning them. Blocking; called from several threads.
pub trait Unpacker: Send + Sync {
    /// Names the way of owning: part of a folder's name, so that layers of different ways never mix. `root`, `single`,
    /// `sub-<first>-<count>`.
    fn kind(&self) -> String;

    /// Makes `request.target`.
    ///
    /// # Errors
    /// [`ImageError::Layer`] with the reason; what was made until then stays for [`Unpacker::remove`].
    fn unpack(&self, request: &UnpackRequest) -> Result<UnpackReport, ImageError>;

    /// Removes a folder that [`Unpacker::unpack`] made, whole or not, with all that is in it; fine if it isn't there.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    fn remove(&self, folder: &Path) -> Result<(), ImageError>;
}
