//! What the rules of a layer act on: a folder on disk, or a tree in memory that becomes a file system image. The rules
//! themselves, what is refused and what replaces what, are in `layer` and the same for all grounds.

use std::io::BufRead;

use super::UnpackError;
use super::attributes::Attributes;
use super::entry_path::EntryPath;

/// What is under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Present {
    Nothing,
    Folder,
    File,
    Symlink,
    Whiteout,
    Other,
}

/// What making something came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Made {
    /// Whether a folder went for it, with all that was in it.
    pub(crate) folder_went: bool,
    /// Attributes that could not be had.
    pub(crate) attributes_left_out: u64,
}

/// A file's content as the stream has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileEntry {
    /// Bytes.
    pub(crate) size: u64,
    /// Which entry of the stream it is, from 0.
    pub(crate) number: u64,
}

/// Where a layer is laid out. All that makes something replaces what is under the name, in a folder that must exist. A
/// path that leads through anything but folders is an error.
pub(crate) trait Ground {
    /// What is under `path`; nothing where its folder doesn't exist.
    fn present(&mut self, path: &EntryPath) -> Result<Present, UnpackError>;

    /// Whether the folder that `path` is in exists.
    fn has_parent(&mut self, path: &EntryPath) -> bool;

    /// A regular file. A stream that ends within `content` is an error, now or when the next entry is asked for.
    fn file(
        &mut self,
        path: &EntryPath,
        entry: FileEntry,
        attributes: &Attributes,
        content: &mut impl BufRead,
    ) -> Result<Made, UnpackError>;

    /// An empty folder, which gets its attributes last.
    fn folder(&mut self, path: &EntryPath) -> Result<Made, UnpackError>;

    /// A symbolic link; `target` is not empty, at most 4095 bytes and without NUL.
    fn symlink(
        &mut self,
        path: &EntryPath,
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<Made, UnpackError>;

    /// A named pipe.
    fn pipe(&mut self, path: &EntryPath, attributes: &Attributes) -> Result<Made, UnpackError>;

    /// Another name of `target`, which is there and no folder. Of a symbolic link the link itself gets another name.
    fn hard_link(&mut self, path: &EntryPath, target: &EntryPath) -> Result<Made, UnpackError>;

    /// The mark for a name that lower layers have and that is gone.
    fn whiteout(&mut self, path: &EntryPath) -> Result<Made, UnpackError>;

    /// Marks the folder `path` as hiding what lower layers have in it.
    fn make_opaque(&mut self, path: &EntryPath) -> Result<(), UnpackError>;

    /// Gives the folder `path` its attributes; how many could not be had.
    fn finish_folder(&mut self, path: &EntryPath, attributes: &Attributes) -> Result<u64, UnpackError>;
}
