//! The files of an archive by name.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use agentkernel_sys::open_resolved::open_resolved;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::tar::{EntryKind, TarLimits, TarReader};
use crate::unpack::EntryPath;

/// Names that are remembered of a tar. Archives of images have a few hundred; a root folder's may have more, and then
/// only its first matter, since what makes an archive of images one is looked for at the top.
const NAMES_MAX: usize = 50_000;

/// Longest name that is remembered: archives of images have 64 digits and a few letters.
const NAME_BYTES_MAX: usize = 256;

/// Links that lead to links.
const LINKS_MAX: usize = 8;

/// Looks files up by relative paths like `blobs/sha256/…`.
pub(crate) trait Members {
    /// The file `name` and its size; `None` where there is none.
    fn open(&self, name: &str) -> io::Result<Option<(Box<dyn Read + '_>, u64)>>;

    /// A small file, whole; `None` where there is none. A larger one is an error.
    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let Some((source, size)) = self.open(name)? else { return Ok(None) };
        if size > bytes_max {
            let why = format!("{name:?} in it has {size} bytes, at most {bytes_max} are taken");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let mut bytes = Vec::new();
        source.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// A folder, resolved by the kernel below its descriptor; no link is followed.
pub(crate) struct FolderMembers(OwnedFd);

impl FolderMembers {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }
}

impl Members for FolderMembers {
    fn open(&self, name: &str) -> io::Result<Option<(Box<dyn Read + '_>, u64)>> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // Without NONBLOCK a pipe that lies there would make us wait for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match open_resolved(&self.0, name, flags, resolve) {
            Ok(handle) => {
                let file = File::from(handle);
                let metadata = file.metadata()?;
                if !metadata.is_file() {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("{name:?} in it is no file"),
                    ));
                }
                Ok(Some((Box::new(file), metadata.len())))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// An uncompressed tar file, with an index of its names.
pub(crate) struct TarMembers<'a> {
    file: &'a File,
    index: HashMap<Vec<u8>, Member>,
}

enum Member {
    File { offset: u64, size: u64 },
    Link { target: Vec<u8> },
}

impl<'a> TarMembers<'a> {
    /// Reads through all headers. A name that comes twice means the last.
    pub(crate) fn new(file: &'a File) -> io::Result<Self> {
        let source = BufReader::with_capacity(256 << 10, FileReader::new(file));
        let counting = Counting { source, position: 0 };
        let mut reader = TarReader::new(counting, TarLimits::default());
        let mut index = HashMap::new();
        while let Some(entry) = reader.next().map_err(io::Error::other)? {
            let path = match EntryPath::parse(&entry.path, 32) {
                Ok(path) if path.as_bytes().len() <= NAME_BYTES_MAX => path,
                _ => continue,
            };
            let member = match entry.kind {
                EntryKind::File { size } => Member::File { offset: reader.get_ref().position, size },
                EntryKind::Symlink => match beside(&path, &entry.link) {
                    Some(target) => Member::Link { target },
                    None => continue,
                },
                EntryKind::HardLink => Member::Link { target: entry.link },
                _ => continue,
            };
            if index.len() < NAMES_MAX {
                index.insert(path.as_bytes().to_vec(), member);
            }
        }
        Ok(Self { file, index })
    }
}

impl Members for TarMembers<'_> {
    fn open(&self, name: &str) -> io::Result<Option<(Box<dyn Read + '_>, u64)>> {
        let mut name = name.as_bytes();
        for _ in 0..LINKS_MAX {
            match self.index.get(name) {
                None => return Ok(None),
                Some(Member::Link { target }) => name = target,
                Some(Member::File { offset, size }) => {
                    let section = Section { file: self.file, offset: *offset, left: *size };
                    return Ok(Some((Box::new(section), *size)));
                }
            }
        }
        Ok(None)
    }
}

/// Where a symbolic link leads by its text: older `docker save` shares layers by `../<id>/layer.tar`.
fn beside(link: &EntryPath, target: &[u8]) -> Option<Vec<u8>> {
    let parent = link.parent();
    let mut parts: Vec<&[u8]> = parent.components().collect();
    if target.starts_with(b"/") {
        return None;
    }
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// A file from its start, whatever others do who read it.
pub(crate) struct FileReader<'a> {
    file: &'a File,
    position: u64,
}

impl<'a> FileReader<'a> {
    pub(crate) fn new(file: &'a File) -> Self {
        Self { file, position: 0 }
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// A part of a file.
struct Section<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..room], self.offset)?;
        if count == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Knows how far it was read.
struct Counting<R> {
    source: R,
    position: u64,
}

impl<R: BufRead> BufRead for Counting<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.position += count as u64;
        self.source.consume(count);
    }
}

impl<R: BufRead> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}
