//! One layer: entry by entry, in the order of the stream, the last of one name wins.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Bound;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::AtFlags;

use super::attributes::Attributes;
use super::entry_path::{EntryPath, c_string};
use super::folder::{
    Folder, Present, create_file, create_folder, create_pipe, create_whiteout, refused, write_all,
};
use super::whiteout::Meaning;
use super::{Decoder, UnpackError, UnpackLimits, UnpackReport, pipeline};
use crate::Digest;
use crate::tar::{Entry, EntryKind, TarError, TarLimits, TarReader, shortened};

/// Bytes that are read from a blob at once.
const READ_BYTES: usize = 256 << 10;

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
    let folder = Folder::new(target);
    let root = |source| UnpackError::Write { path: EntryPath::default(), source };
    let room = folder.room_bytes().map_err(root)?;
    let limits = UnpackLimits { stream_bytes: limits.stream_bytes.min(room), ..limits };
    let decoder = Decoder::new(BufReader::with_capacity(READ_BYTES, blob))?;
    std::thread::scope(|scope| {
        let (mut chunks, producer) = pipeline::start(scope, decoder, compressed, limits).map_err(root)?;
        let mut layer = Layer::new(folder, ownership, limits);
        let unpacked = layer.unpack(&mut chunks);
        let failure = chunks.failure();
        // Lets the other thread go where it would wait for us.
        drop(chunks);
        let produced = producer.join();
        unpacked.map_err(|error| failure.unwrap_or(error))?;
        let produced = produced.map_err(|_| UnpackError::Decompress {
            source: io::Error::other("the decompressor gave up on damaged data"),
        })?;
        Ok((layer.report, produced.digest))
    })
}

struct Layer {
    folder: Folder,
    ownership: Ownership,
    limits: UnpackLimits,
    /// Folders get their attributes last: filling them changes their time, and their mode may forbid it.
    folders: BTreeMap<EntryPath, Attributes>,
    /// What this layer takes away of lower ones: a folder that it then makes under such a name must be opaque.
    taken_away: BTreeSet<EntryPath>,
    remembered_bytes: u64,
    report: UnpackReport,
}

impl Layer {
    fn new(folder: Folder, ownership: Ownership, limits: UnpackLimits) -> Self {
        let root = Attributes::of_unnamed_folder(ownership);
        Self {
            folder,
            ownership,
            limits,
            folders: BTreeMap::from([(EntryPath::default(), root)]),
            taken_away: BTreeSet::new(),
            remembered_bytes: 0,
            report: UnpackReport::default(),
        }
    }

    fn unpack(&mut self, chunks: &mut pipeline::Chunks) -> Result<(), UnpackError> {
        let limits = TarLimits { headers: self.limits.headers, ..TarLimits::default() };
        let mut reader = TarReader::new(chunks, limits);
        while let Some(entry) = reader.next()? {
            self.entry(entry, &mut reader)?;
        }
        reader.into_inner().drain().map_err(TarError::from)?;
        self.finish_folders()
    }

    fn entry(&mut self, mut entry: Entry, content: &mut impl BufRead) -> Result<(), UnpackError> {
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
            EntryKind::File { size } => self.file(&path, size, &attributes, content),
            EntryKind::Symlink => self.symlink(&path, &entry.link, &attributes),
            EntryKind::HardLink => self.hard_link(&path, &entry.link),
            EntryKind::Fifo => self.pipe(&path, &attributes),
            EntryKind::Device => Ok(()),
        }
    }

    fn directory(&mut self, path: EntryPath, attributes: Attributes) -> Result<(), UnpackError> {
        if self.folder.present(&path)? != Present::Folder {
            self.make_folder(&path)?;
        }
        self.report.folders += 1;
        self.remember(&path)?;
        self.folders.insert(path, attributes);
        Ok(())
    }

    fn file(
        &mut self,
        path: &EntryPath,
        size: u64,
        attributes: &Attributes,
        content: &mut impl BufRead,
    ) -> Result<(), UnpackError> {
        let mut file = self.replace(path, create_file)?;
        let failed = |source| UnpackError::Write { path: path.clone(), source };
        let written = write_all(content, &mut file).map_err(failed)?;
        if written != size {
            return Err(TarError::Truncated.into());
        }
        let refused_xattrs = attributes.apply(file.as_fd()).map_err(|errno| refused(path, errno))?;
        self.report.attributes_left_out += refused_xattrs;
        self.report.files += 1;
        self.report.bytes += size;
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
        let target = c_string(target);
        self.replace(path, |parent, name| {
            rustix::fs::symlinkat(&target, parent, name)?;
            attributes.apply_at(parent, name, true)
        })?;
        self.report.links += 1;
        Ok(())
    }

    fn pipe(&mut self, path: &EntryPath, attributes: &Attributes) -> Result<(), UnpackError> {
        self.replace(path, |parent, name| {
            create_pipe(parent, name)?;
            attributes.apply_at(parent, name, false)
        })?;
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
        match self.folder.present(&target)? {
            Present::File | Present::Symlink | Present::Other => {}
            Present::Nothing => return refuse("is not in this layer"),
            Present::Folder => return refuse("is a folder"),
            Present::Whiteout => return refuse("is taken away"),
        }
        let Some((_, target_name)) = target.split() else { return refuse("is the layer's root") };
        let from = self.folder.open(&target.parent())?;
        let target_name = c_string(target_name);
        self.replace(path, |parent, name| {
            // Without AT_SYMLINK_FOLLOW: of a symbolic link the link itself gets another name.
            rustix::fs::linkat(&from, &target_name, parent, name, AtFlags::empty())
        })?;
        self.report.files += 1;
        Ok(())
    }

    fn take_away(&mut self, gone: EntryPath) -> Result<(), UnpackError> {
        self.make_parents(&gone)?;
        match self.folder.present(&gone)? {
            Present::Nothing => self.replace(&gone, create_whiteout)?,
            // What this layer itself has stays, whichever of the two comes first in the stream (OCI image-spec).
            Present::Folder => self.folder.make_opaque(&gone)?,
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
        self.folder.make_opaque(&folder)?;
        self.report.whiteouts += 1;
        self.remember(&folder)?;
        self.taken_away.insert(folder);
        Ok(())
    }

    /// A stream needn't name the folders it uses.
    fn make_parents(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        if path.is_root() || matches!(self.folder.parent(path), Ok(Some(_))) {
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
        match self.folder.present(path)? {
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
        self.replace(path, create_folder)?;
        match self.taken_away.contains(path) {
            true => self.folder.make_opaque(path),
            false => Ok(()),
        }
    }

    fn replace<T>(
        &mut self,
        path: &EntryPath,
        make: impl Fn(&std::fs::File, &std::ffi::CStr) -> Result<T, rustix::io::Errno>,
    ) -> Result<T, UnpackError> {
        let (made, folder_went) = self.folder.replace(path, make)?;
        if folder_went {
            self.forget_folders(path);
        }
        Ok(made)
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
            let handle = match path.is_root() {
                true => self.folder.root().try_clone(),
                false => Ok(self.folder.open(path)?),
            };
            let failed = |source| UnpackError::Write { path: path.clone(), source };
            let refused_xattrs =
                attributes.apply(handle.map_err(failed)?.as_fd()).map_err(|errno| refused(path, errno))?;
            self.report.attributes_left_out += refused_xattrs;
        }
        Ok(())
    }
}
