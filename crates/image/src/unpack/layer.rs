//! One layer: entry by entry, in the order of the stream, the last of one name wins.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read};
use std::ops::Bound;
use std::os::fd::OwnedFd;

use super::attributes::Attributes;
use super::entry_path::EntryPath;
use super::folder::{Folder, refused};
use super::ground::{FileEntry, Ground, Made, Present};
use super::stream::each_entry;
use super::whiteout::Meaning;
use super::{UnpackError, UnpackLimits, UnpackReport};
use crate::Digest;
use crate::tar::{Entry, EntryKind, shortened};

/// Whose the files of a layer become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// As the image says: by root, or as root of a user namespace.
    Keep,
    /// The caller's, all of them: by an ordinary user.
    Ignore,
}

/// Unpacks the layer that `blob`, of `compressed` bytes, holds into the empty folder that `target` is open on. Returns
/// what came of it, and the digest of the uncompressed stream, which the caller holds against the image's `diff_id`.
///
/// # Errors
/// Anything that isn't a layer within `limits`; what was made until then stays for the caller to remove.
pub fn unpack_layer(
    blob: impl Read + Send,
    compressed: u64,
    target: OwnedFd,
    ownership: Ownership,
    limits: UnpackLimits,
) -> Result<(UnpackReport, Digest), UnpackError> {
    let mut folder = Folder::new(target);
    let root = |source| UnpackError::Write { path: EntryPath::default(), source };
    let room = folder.room_bytes().map_err(root)?;
    let limits = UnpackLimits { stream_bytes: limits.stream_bytes.min(room), ..limits };
    lay_out(blob, compressed, &mut folder, ownership, limits)
}

/// As [`unpack_layer`], on any ground, which is empty.
pub(crate) fn lay_out(
    blob: impl Read + Send,
    compressed: u64,
    ground: &mut impl Ground,
    ownership: Ownership,
    limits: UnpackLimits,
) -> Result<(UnpackReport, Digest), UnpackError> {
    let mut layer = Layer::new(ground, ownership, limits);
    let digest = each_entry(blob, compressed, limits, |entry, content| layer.entry(entry, content))?;
    layer.finish_folders()?;
    Ok((layer.report, digest))
}

struct Layer<'g, G> {
    ground: &'g mut G,
    ownership: Ownership,
    limits: UnpackLimits,
    /// Folders get their attributes last: filling them changes their time, and their mode may forbid it.
    folders: BTreeMap<EntryPath, Attributes>,
    /// What this layer takes away of lower ones: a folder that it then makes under such a name must be opaque.
    taken_away: BTreeSet<EntryPath>,
    remembered_bytes: u64,
    /// Entries of the stream until now.
    entries: u64,
    report: UnpackReport,
}

impl<'g, G: Ground> Layer<'g, G> {
    fn new(ground: &'g mut G, ownership: Ownership, limits: UnpackLimits) -> Self {
        let root = Attributes::of_unnamed_folder(ownership);
        Self {
            ground,
            ownership,
            limits,
            folders: BTreeMap::from([(EntryPath::default(), root)]),
            taken_away: BTreeSet::new(),
            remembered_bytes: 0,
            entries: 0,
            report: UnpackReport::default(),
        }
    }

    fn entry(&mut self, mut entry: Entry, content: &mut impl BufRead) -> Result<(), UnpackError> {
        let number = self.entries;
        self.entries += 1;
        let path = EntryPath::parse(&entry.path, self.limits.depth)?;
        match Meaning::of(&path)? {
            Meaning::Entry => {}
            Meaning::Gone(gone) => return self.take_away(gone),
            Meaning::Opaque(folder) => return self.hide_lower(folder),
            Meaning::Nothing => return Ok(()),
        }
        if path.is_root() && entry.kind != EntryKind::Directory {
            return Err(UnpackError::Path {
                path: shortened(&entry.path),
                why: "only a folder can be the layer's root",
            });
        }
        let attributes = Attributes::of(&path, &mut entry, self.ownership)?;
        self.report.attributes_left_out += attributes.left_out;
        if entry.kind == EntryKind::Device {
            self.report.devices_left_out += 1;
            return Ok(());
        }
        self.make_parents(&path)?;
        match entry.kind {
            EntryKind::Directory => self.directory(path, attributes),
            EntryKind::File { size } => {
                let made = self.ground.file(&path, FileEntry { size, number }, &attributes, content)?;
                self.made(&path, made);
                self.report.files += 1;
                self.report.bytes += size;
                Ok(())
            }
            EntryKind::Symlink => self.symlink(&path, &entry.link, &attributes),
            EntryKind::HardLink => self.hard_link(&path, &entry.link),
            EntryKind::Fifo => self.pipe(&path, &attributes),
            EntryKind::Device => Ok(()),
        }
    }

    fn directory(&mut self, path: EntryPath, attributes: Attributes) -> Result<(), UnpackError> {
        if self.ground.present(&path)? != Present::Folder {
            self.make_folder(&path)?;
        }
        self.report.folders += 1;
        self.remember(&path)?;
        self.folders.insert(path, attributes);
        Ok(())
    }

    fn symlink(
        &mut self,
        path: &EntryPath,
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<(), UnpackError> {
        let refuse = |why| Err(UnpackError::Path { path: shortened(path.as_bytes()), why });
        match target {
            [] => return refuse("a symbolic link needs a target"),
            target if target.len() > 4095 => return refuse("its target is longer than 4095 bytes"),
            target if target.contains(&0) => return refuse("its target holds a NUL byte"),
            _ => {}
        }
        let made = self.ground.symlink(path, target, attributes)?;
        self.made(path, made);
        self.report.links += 1;
        Ok(())
    }

    fn pipe(&mut self, path: &EntryPath, attributes: &Attributes) -> Result<(), UnpackError> {
        let made = self.ground.pipe(path, attributes)?;
        self.made(path, made);
        self.report.files += 1;
        Ok(())
    }

    /// Only to what this layer holds under that name now: a lower layer's file can't be shared, and nothing outside can.
    fn hard_link(&mut self, path: &EntryPath, target: &[u8]) -> Result<(), UnpackError> {
        let target = EntryPath::parse(target, self.limits.depth)?;
        let refuse = |why| Err(UnpackError::HardLink { path: path.clone(), target: target.clone(), why });
        if target == *path {
            return refuse("is the link itself");
        }
        if Meaning::of(&target)? != Meaning::Entry {
            return refuse("takes something away");
        }
        match self.ground.present(&target)? {
            Present::File | Present::Symlink | Present::Other => {}
            Present::Nothing => return refuse("is not in this layer"),
            Present::Folder => return refuse("is a folder"),
            Present::Whiteout => return refuse("is taken away"),
        }
        let made = self.ground.hard_link(path, &target)?;
        self.made(path, made);
        self.report.files += 1;
        Ok(())
    }

    fn take_away(&mut self, gone: EntryPath) -> Result<(), UnpackError> {
        self.make_parents(&gone)?;
        match self.ground.present(&gone)? {
            Present::Nothing => {
                let made = self.ground.whiteout(&gone)?;
                self.made(&gone, made);
            }
            // What this layer itself has stays, whichever of the two comes first in the stream (OCI image-spec).
            Present::Folder => self.ground.make_opaque(&gone)?,
            Present::File | Present::Symlink | Present::Whiteout | Present::Other => {}
        }
        self.report.whiteouts += 1;
        self.remember(&gone)?;
        self.taken_away.insert(gone);
        Ok(())
    }

    fn hide_lower(&mut self, folder: EntryPath) -> Result<(), UnpackError> {
        if folder.is_root() {
            self.report.hides_all_lower = true;
        } else {
            self.make_parents(&folder)?;
            self.make_missing_folder(&folder)?;
        }
        self.ground.make_opaque(&folder)?;
        self.report.whiteouts += 1;
        self.remember(&folder)?;
        self.taken_away.insert(folder);
        Ok(())
    }

    /// A stream needn't name the folders it uses.
    fn make_parents(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        if path.is_root() || self.ground.has_parent(path) {
            return Ok(());
        }
        let parent = path.parent();
        let mut done = EntryPath::default();
        for part in parent.components() {
            done = done.join(part);
            self.make_missing_folder(&done)?;
        }
        Ok(())
    }

    fn make_missing_folder(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        match self.ground.present(path)? {
            Present::Folder => return Ok(()),
            Present::Nothing | Present::Whiteout => {}
            Present::Symlink => return Err(refused(path, rustix::io::Errno::LOOP)),
            Present::File | Present::Other => return Err(refused(path, rustix::io::Errno::NOTDIR)),
        }
        self.make_folder(path)?;
        self.remember(path)?;
        self.folders.insert(path.clone(), Attributes::of_unnamed_folder(self.ownership));
        Ok(())
    }

    fn make_folder(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        let made = self.ground.folder(path)?;
        self.made(path, made);
        match self.taken_away.contains(path) {
            true => self.ground.make_opaque(path),
            false => Ok(()),
        }
    }

    fn made(&mut self, path: &EntryPath, made: Made) {
        self.report.attributes_left_out += made.attributes_left_out;
        if made.folder_went {
            self.forget_folders(path);
        }
    }

    /// Of a tree that is gone nothing needs attributes any more. What it took away of lower layers goes with it: whatever
    /// comes in its place, the layer says twice what is there, and the later word counts.
    fn forget_folders(&mut self, path: &EntryPath) {
        self.folders.remove(path);
        let (first, behind) = path.bounds_below();
        let below = (Bound::Included(first), Bound::Excluded(behind));
        let folders: Vec<_> = self.folders.range(below.clone()).map(|(path, _)| path.clone()).collect();
        for path in folders {
            self.folders.remove(&path);
        }
        let taken_away: Vec<_> = self.taken_away.range(below).cloned().collect();
        for path in taken_away {
            self.taken_away.remove(&path);
        }
    }

    fn remember(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        // Twice the path and a constant: about what the tables take.
        self.remembered_bytes += 128 + 2 * path.as_bytes().len() as u64;
        let limit = self.limits.remembered_bytes;
        match self.remembered_bytes > limit {
            true => Err(UnpackError::TooMuch { what: "bytes of the names of folders and whiteouts", limit }),
            false => Ok(()),
        }
    }

    /// Innermost first: what is in a folder comes after it in the table, and a folder's mode may forbid to go in.
    fn finish_folders(&mut self) -> Result<(), UnpackError> {
        for (path, attributes) in self.folders.iter().rev() {
            self.report.attributes_left_out += self.ground.finish_folder(path, attributes)?;
        }
        Ok(())
    }
}
