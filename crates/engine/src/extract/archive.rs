//! From bytes to checked entries. Holds one header and its extras in memory, never a file.

use std::io::{self, Read};

use super::entry::shortened;
use super::header::{BLOCK, Header};
use super::pax::Pax;
use super::{ArchiveError, Entry, EntryKind, EntryPath, Limits};

/// A tar stream. After [`Archive::next`] gave a file, [`Read`] gives its bytes; what is left unread is skipped.
pub struct Archive<R> {
    source: R,
    limits: Limits,
    headers: u64,
    extra_bytes: u64,
    content_bytes: u64,
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

impl<R: Read> Archive<R> {
    /// Reads nothing yet.
    pub fn new(source: R, limits: Limits) -> Self {
        Self {
            source,
            limits,
            headers: 0,
            extra_bytes: 0,
            content_bytes: 0,
            left: 0,
            padding: 0,
            ended: false,
        }
    }

    /// The next entry; `None` at the end mark. After an error the stream is of no more use.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator couldn't lend out the file's bytes between items"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        self.skip()?;
        let mut extras = Extras::default();
        loop {
            let mut block = [0u8; BLOCK];
            self.fill(&mut block)?;
            let Some(header) = Header::parse(&block)? else {
                self.ended = true;
                return match extras.any {
                    true => Err(ArchiveError::Header { what: "an extra header stands before nothing" }),
                    false => Ok(None),
                };
            };
            self.headers += 1;
            if self.headers > self.limits.headers {
                return Err(ArchiveError::TooMuch { what: "entries", limit: self.limits.headers });
            }
            match header.kind {
                b'x' => {
                    extras.pax = Pax::parse(&self.extra(header.size)?)?;
                    extras.any = true;
                }
                b'g' => {
                    if Pax::parse(&self.extra(header.size)?)?.reshapes() {
                        return Err(ArchiveError::Header { what: "a global header renames or resizes" });
                    }
                }
                b'L' => {
                    extras.path = Some(long_name(self.extra(header.size)?));
                    extras.any = true;
                }
                b'K' => {
                    extras.link = Some(long_name(self.extra(header.size)?));
                    extras.any = true;
                }
                _ => return self.entry(header, extras).map(Some),
            }
        }
    }

    fn entry(&mut self, header: Header, extras: Extras) -> Result<Entry, ArchiveError> {
        let written = extras.pax.path.or(extras.path).unwrap_or(header.path);
        let path = EntryPath::parse(&written, &self.limits)?;
        let link = extras.pax.link.or(extras.link).unwrap_or(header.link);
        let size = extras.pax.size.unwrap_or(header.size);
        if extras.pax.sparse {
            return Err(ArchiveError::Unsupported { path, what: "a sparse file" });
        }
        let kind = match header.kind {
            b'0' | b'7' | 0 => {
                if written.ends_with(b"/") || path.is_root() {
                    return Err(ArchiveError::Path { path: shortened(&written), why: "a file needs a name" });
                }
                self.expect_content(size)?;
                EntryKind::File { size }
            }
            b'1' => EntryKind::HardLink { target: EntryPath::parse(&link, &self.limits)? },
            b'2' => EntryKind::Symlink { target: symlink_text(link, &self.limits)? },
            b'3' | b'4' | b'6' => EntryKind::Special,
            b'5' => EntryKind::Directory,
            b'S' => return Err(ArchiveError::Unsupported { path, what: "a sparse file" }),
            _ => return Err(ArchiveError::Unsupported { path, what: "an entry of unknown kind" }),
        };
        if path.is_root() && kind != EntryKind::Directory {
            return Err(ArchiveError::Path {
                path: shortened(&written),
                why: "only a folder can be the root",
            });
        }
        if size != 0 && !matches!(kind, EntryKind::File { .. }) {
            return Err(ArchiveError::Header { what: "something other than a file has content" });
        }
        Ok(Entry { path, kind, mode: header.mode, modified: extras.pax.modified.unwrap_or(header.modified) })
    }

    fn expect_content(&mut self, size: u64) -> Result<(), ArchiveError> {
        let limit = self.limits.content_bytes;
        self.content_bytes = self.content_bytes.saturating_add(size);
        if self.content_bytes > limit {
            return Err(ArchiveError::TooMuch {
                what: "bytes of files, for the room in the destination",
                limit,
            });
        }
        self.left = size;
        self.padding = padding(size);
        Ok(())
    }

    /// The content of an extra header, whole.
    fn extra(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let limits = &self.limits;
        self.extra_bytes = self.extra_bytes.saturating_add(size);
        if size > limits.extra_header_bytes {
            return Err(ArchiveError::TooMuch {
                what: "bytes in one extra header",
                limit: limits.extra_header_bytes,
            });
        }
        if self.extra_bytes > limits.extra_headers_bytes {
            return Err(ArchiveError::TooMuch {
                what: "bytes in extra headers",
                limit: limits.extra_headers_bytes,
            });
        }
        // Small by the check above.
        let mut content = vec![0; size as usize];
        self.fill(&mut content)?;
        let mut zeros = [0u8; BLOCK];
        self.fill(&mut zeros[..padding(size) as usize])?;
        Ok(content)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        self.source.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
            _ => ArchiveError::Read { source: error },
        })
    }

    /// Goes to the next header.
    fn skip(&mut self) -> Result<(), ArchiveError> {
        let rest = self.left.saturating_add(self.padding);
        self.left = 0;
        self.padding = 0;
        let skipped = io::copy(&mut (&mut self.source).take(rest), &mut io::sink())?;
        if skipped == rest { Ok(()) } else { Err(ArchiveError::Truncated) }
    }
}

impl<R: Read> Read for Archive<R> {
    /// The bytes of the file that [`Archive::next`] gave last. A stream that ends within them is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        match self.source.read(&mut buffer[..room])? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, ArchiveError::Truncated)),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// GNU tar ends long names with a NUL.
fn long_name(mut content: Vec<u8>) -> Vec<u8> {
    if content.last() == Some(&0) {
        content.pop();
    }
    content
}

fn symlink_text(text: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, ArchiveError> {
    let refuse = |why| Err(ArchiveError::Path { path: shortened(&text), why });
    if text.is_empty() {
        return refuse("a symbolic link needs a target");
    }
    if text.len() > limits.path_bytes {
        return refuse("it is too long");
    }
    if text.contains(&0) {
        return refuse("it holds a NUL byte");
    }
    Ok(text)
}
