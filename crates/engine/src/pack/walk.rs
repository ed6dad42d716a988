//! Files of the host into a stream.
//!
//! A box may be changing the tree meanwhile, through a writable mount of it. So each folder is opened from its parent's
//! descriptor and no link is followed: what is read is below the folder that the user named, whatever is exchanged.

use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::writer::Attributes;
use super::{PackError, TarWriter};
use crate::extract::Counts;

/// Folders in each other; each holds a descriptor open.
const DEPTH_MAX: usize = 200;

/// What is packed, opened or looked at before anything is changed.
#[derive(Debug)]
pub(crate) enum Source {
    /// An open folder.
    Folder(OwnedFd),
    /// An open regular file.
    File(File),
    /// What a symbolic link says.
    Symlink(Vec<u8>),
}

struct Packer<'a, W: Write> {
    writer: TarWriter<W>,
    counts: &'a mut Counts,
}

/// Writes `source` to `output`, named `name`; a folder with an empty name gives its content only. `shown` is for messages.
pub(crate) fn pack(
    source: Source,
    shown: &Path,
    name: &[u8],
    output: impl Write,
    counts: &mut Counts,
) -> Result<(), PackError> {
    let mut packer = Packer { writer: TarWriter::new(output), counts };
    match source {
        Source::Folder(folder) => packer.folder(&folder, shown, name, 0)?,
        Source::File(file) => packer.file(file, shown, name)?,
        Source::Symlink(target) => packer.symlink(&target, shown, name, 0)?,
    }
    packer.writer.finish().map_err(|source| PackError::Write { source })
}

fn read_error(path: &Path) -> impl FnOnce(Errno) -> PackError {
    let path = path.to_owned();
    move |errno| PackError::Read { path, source: errno.into() }
}

impl<W: Write> Packer<'_, W> {
    fn folder(&mut self, folder: &OwnedFd, shown: &Path, name: &[u8], depth: usize) -> Result<(), PackError> {
        if depth > DEPTH_MAX {
            return Err(read_error(shown)(Errno::NAMETOOLONG));
        }
        let stat = rustix::fs::fstat(folder).map_err(read_error(shown))?;
        if !name.is_empty() {
            self.writer.directory(name, attributes(&stat)).map_err(|source| PackError::Write { source })?;
            self.counts.folders += 1;
        }
        let mut entries = Vec::new();
        for entry in Dir::read_from(folder).map_err(read_error(shown))? {
            let entry = entry.map_err(read_error(shown))?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                entries.push(entry.file_name().to_owned());
            }
        }
        entries.sort();
        for entry in entries {
            let inner = join(name, entry.to_bytes());
            self.inner(folder, &entry, &shown.join(as_path(&entry)), &inner, depth + 1)?;
        }
        Ok(())
    }

    fn inner(
        &mut self,
        folder: &OwnedFd,
        entry: &CStr,
        shown: &Path,
        name: &[u8],
        depth: usize,
    ) -> Result<(), PackError> {
        let stat = match rustix::fs::statat(folder, entry, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Removed since the folder was read.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(read_error(shown)(errno)),
        };
        let open = |flags: OFlags| {
            let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            rustix::fs::openat(folder, entry, flags, Mode::empty()).map_err(read_error(shown))
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(&open(OFlags::DIRECTORY)?, shown, name, depth),
            FileType::RegularFile => self.file(File::from(open(OFlags::empty())?), shown, name),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, entry, Vec::new()).map_err(read_error(shown))?;
                self.symlink(target.to_bytes(), shown, name, stat.st_mtime as i64)
            }
            _ => {
                self.counts.skip(shown.display().to_string());
                Ok(())
            }
        }
    }

    fn file(&mut self, mut file: File, shown: &Path, name: &[u8]) -> Result<(), PackError> {
        // Asked of what was opened: it may not be what was looked at.
        let stat = rustix::fs::fstat(&file).map_err(read_error(shown))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.counts.skip(shown.display().to_string());
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut content = Noting { file: &mut file, failed: None };
        let written = self.writer.file(name, attributes(&stat), size, &mut content);
        match (written, content.failed) {
            (Ok(()), _) => {}
            (Err(_), Some(source)) => return Err(PackError::Read { path: shown.to_owned(), source }),
            (Err(source), None) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(PackError::Read { path: shown.to_owned(), source });
            }
            (Err(source), None) => return Err(PackError::Write { source }),
        }
        self.counts.files += 1;
        self.counts.bytes += size;
        Ok(())
    }

    fn symlink(&mut self, target: &[u8], _: &Path, name: &[u8], modified: i64) -> Result<(), PackError> {
        self.writer.symlink(name, target, modified).map_err(|source| PackError::Write { source })?;
        self.counts.links += 1;
        Ok(())
    }
}

/// Tells a failure to read from one to write.
struct Noting<'a> {
    file: &'a mut File,
    failed: Option<std::io::Error>,
}

impl std::io::Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.file.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != std::io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            kind.into()
        })
    }
}

fn attributes(stat: &Stat) -> Attributes {
    Attributes { mode: stat.st_mode & 0o777, modified: stat.st_mtime }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

fn as_path(name: &CStr) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(name.to_bytes()).into()
}
