//! Entries into POSIX tar: ustar headers, pax records for what they can't hold.

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

/// What a ustar header can hold of a size.
const USTAR_SIZE_MAX: u64 = 0o77_777_777_777;

/// Writes one stream. Owners are left at 0: who unpacks decides.
pub(crate) struct TarWriter<W: Write> {
    builder: Builder<W>,
}

/// What entries have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) modified: i64,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { builder: Builder::new(output) }
    }

    pub(crate) fn directory(&mut self, path: &[u8], attributes: Attributes) -> io::Result<()> {
        self.entry(EntryType::Directory, path, b"", attributes, 0, &mut io::empty())
    }

    /// `content` must give `size` bytes; fewer are an error, more are left alone.
    pub(crate) fn file(
        &mut self,
        path: &[u8],
        attributes: Attributes,
        size: u64,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        self.entry(EntryType::Regular, path, b"", attributes, size, content)
    }

    pub(crate) fn symlink(&mut self, path: &[u8], target: &[u8], modified: i64) -> io::Result<()> {
        self.entry(
            EntryType::Symlink,
            path,
            target,
            Attributes { mode: 0o777, modified },
            0,
            &mut io::empty(),
        )
    }

    pub(crate) fn hard_link(&mut self, path: &[u8], target: &[u8]) -> io::Result<()> {
        let attributes = Attributes { mode: 0o644, modified: 0 };
        self.entry(EntryType::Link, path, target, attributes, 0, &mut io::empty())
    }

    /// Writes the end mark.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.builder.into_inner()?.flush()
    }

    fn entry(
        &mut self,
        kind: EntryType,
        path: &[u8],
        link: &[u8],
        attributes: Attributes,
        size: u64,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let size_text = size.to_string();
        let mut records: Vec<(&str, &[u8])> = Vec::new();
        if path.len() > 100 {
            records.push(("path", path));
        }
        if link.len() > 100 {
            records.push(("linkpath", link));
        }
        if size > USTAR_SIZE_MAX {
            records.push(("size", size_text.as_bytes()));
        }
        if !records.is_empty() {
            self.builder.append_pax_extensions(records)?;
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(attributes.mode & 0o777);
        header.set_mtime(u64::try_from(attributes.modified).unwrap_or(0).min(0o77_777_777_777));
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        let fields = header.as_old_mut();
        put(&mut fields.name, path);
        put(&mut fields.linkname, link);
        header.set_cksum();
        let mut exact = Exact { content, left: size };
        self.builder.append(&header, &mut exact)
    }
}

fn put(field: &mut [u8; 100], bytes: &[u8]) {
    let count = bytes.len().min(field.len());
    field[..count].copy_from_slice(&bytes[..count]);
}

/// Gives exactly so many bytes: a file that grows while it is read is cut, one that shrinks is an error.
struct Exact<'a> {
    content: &'a mut dyn Read,
    left: u64,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        match self.content.read(&mut buffer[..room])? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it shrank while it was copied")),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}
