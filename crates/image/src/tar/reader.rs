//! From bytes to entries.

use std::io::{self, BufRead, Read};

use super::TarError;
use super::header::{BLOCK_BYTES, Header};
use super::pax::{Pax, Xattr};

/// How much a stream may ask of its reader. The bytes of files are bounded by whoever gives the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TarLimits {
    /// Headers of any kind: entries, and the extra headers before them.
    pub headers: u64,
    /// Bytes of one extra header (pax or GNU long name); Go's reader, and so Docker's, accepts as much.
    pub extra_header_bytes: u64,
}

impl Default for TarLimits {
    fn default() -> Self {
        Self { headers: 4_000_000, extra_header_bytes: 1 << 20 }
    }
}

/// When a file was changed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModifiedTime {
    /// Since 1970; may be negative.
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Bytes of its content, which [`TarReader`] gives by [`BufRead`] until the next entry is asked for.
        size: u64,
    },
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A character or block device.
    Device,
}

/// One entry as the stream has it: paths unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Target of a link, as written.
    pub link: Vec<u8>,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Last change.
    pub modified: ModifiedTime,
    /// Extended attributes, name and value.
    pub xattrs: Vec<Xattr>,
}

/// A tar stream.
pub struct TarReader<R> {
    source: R,
    limits: TarLimits,
    headers: u64,
    /// Unread bytes of the current file.
    left: u64,
    /// Zeros after it, up to the next block.
    padding: u64,
    ended: bool,
}

/// What extra headers said about the entry that follows them.
#[derive(Default)]
struct Extras {
    pax: Pax,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    any: bool,
}

impl<R: BufRead> TarReader<R> {
    /// Reads nothing yet.
    pub fn new(source: R, limits: TarLimits) -> Self {
        Self { source, limits, headers: 0, left: 0, padding: 0, ended: false }
    }

    /// The next entry; `None` at the end mark. After an error the stream is of no more use.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator couldn't lend out the file's bytes between items"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let rest = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        self.pass_over(rest)?;
        let mut extras = Extras::default();
        loop {
            let mut block = [0u8; BLOCK_BYTES];
            if !self.fill_header(&mut block)? {
                // Some programs leave the end mark out; Docker takes such layers.
                return self.finish(&extras);
            }
            let Some(header) = Header::parse(&block)? else { return self.finish(&extras) };
            self.headers += 1;
            if self.headers > self.limits.headers {
                return Err(TarError::TooMuch { what: "entries", limit: self.limits.headers });
            }
            match header.kind {
                b'x' => extras.pax = Pax::parse(&self.extra(header.size)?)?,
                b'g' => {
                    if Pax::parse(&self.extra(header.size)?)?.reshapes() {
                        return Err(TarError::Header {
                            what: "a global header renames, resizes or gives away",
                        });
                    }
                    continue;
                }
                b'L' => extras.path = Some(long_name(self.extra(header.size)?)),
                b'K' => extras.link = Some(long_name(self.extra(header.size)?)),
                _ => return self.entry(header, extras).map(Some),
            }
            extras.any = true;
        }
    }

    /// What it reads from.
    pub fn get_ref(&self) -> &R {
        &self.source
    }

    /// What is behind the end mark, or behind the last entry that was read.
    pub fn into_inner(self) -> R {
        self.source
    }

    fn finish(&mut self, extras: &Extras) -> Result<Option<Entry>, TarError> {
        self.ended = true;
        match extras.any {
            true => Err(TarError::Header { what: "an extra header stands before nothing" }),
            false => Ok(None),
        }
    }

    fn entry(&mut self, header: Header, extras: Extras) -> Result<Entry, TarError> {
        let Extras { pax, path, link, .. } = extras;
        let path = pax.path.or(path).unwrap_or(header.path);
        let unsupported = |what| Err(TarError::Unsupported { path: shortened(&path), what });
        if pax.sparse {
            return unsupported("a sparse file");
        }
        let size = pax.size.unwrap_or(header.size);
        let kind = match header.kind {
            // Before ustar a folder was a file whose name ends with a slash.
            0 if path.ends_with(b"/") => EntryKind::Directory,
            b'0' | b'7' | 0 => EntryKind::File { size },
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' | b'4' => EntryKind::Device,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'S' => return unsupported("a sparse file"),
            _ => return unsupported("an entry of unknown kind"),
        };
        // The others have no content whatever their size field says: so Docker's reader has it.
        if let EntryKind::File { size } = kind {
            self.left = size;
            self.padding = padding(size);
        }
        Ok(Entry {
            kind,
            link: pax.link.or(link).unwrap_or(header.link),
            mode: header.mode,
            uid: pax.uid.unwrap_or(header.uid),
            gid: pax.gid.unwrap_or(header.gid),
            modified: pax.modified.unwrap_or(ModifiedTime { seconds: header.modified, nanoseconds: 0 }),
            xattrs: pax.xattrs,
            path,
        })
    }

    /// The content of an extra header, whole.
    fn extra(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let limit = self.limits.extra_header_bytes;
        if size > limit {
            return Err(TarError::TooMuch { what: "bytes in one extra header", limit });
        }
        // Small by the check above.
        let mut content = vec![0; size as usize];
        self.source.read_exact(&mut content).map_err(ended_early)?;
        self.pass_over(padding(size))?;
        Ok(content)
    }

    /// `false` where the stream ended before the block began.
    fn fill_header(&mut self, block: &mut [u8; BLOCK_BYTES]) -> Result<bool, TarError> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(false);
        }
        self.source.read_exact(block).map_err(ended_early)?;
        Ok(true)
    }

    fn pass_over(&mut self, mut count: u64) -> Result<(), TarError> {
        while count > 0 {
            let there = self.source.fill_buf()?.len();
            if there == 0 {
                return Err(TarError::Truncated);
            }
            let step = there.min(usize::try_from(count).unwrap_or(usize::MAX));
            self.source.consume(step);
            count -= step as u64;
        }
        Ok(())
    }
}

impl<R: BufRead> BufRead for TarReader<R> {
    /// Bytes of the current file; empty at its end. A stream that ends within it is an error.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.source.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, TarError::Truncated));
        }
        Ok(&bytes[..bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))])
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        self.source.consume(count);
    }
}

impl<R: BufRead> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// What an error means that reading an entry's content gave.
pub(crate) fn ended_early(error: io::Error) -> TarError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => TarError::Truncated,
        _ => TarError::Read { source: error },
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK_BYTES as u64 - size % BLOCK_BYTES as u64) % BLOCK_BYTES as u64
}

/// GNU tar ends long names with a NUL.
fn long_name(mut content: Vec<u8>) -> Vec<u8> {
    if content.last() == Some(&0) {
        content.pop();
    }
    content
}

/// For messages: what a stranger wrote, cut; `Debug` makes it harmless for a terminal.
pub(crate) fn shortened(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}
