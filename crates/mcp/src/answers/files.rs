//! Files inside a sandbox.

use std::fmt::Write as _;

use agentkernel_api::{DirectoryEntry, Encoding, FileKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::file_part::FilePart;

/// Of `sandbox_file_write`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FileWritten {
    /// The file.
    pub(crate) path: String,
    /// How many bytes it has.
    pub(crate) bytes: u64,
    /// Its address as a resource.
    pub(crate) uri: String,
}

/// Of `sandbox_file_read`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FileRead {
    /// The file.
    pub(crate) path: String,
    /// The part of it that was asked for, as encoding says.
    pub(crate) content: String,
    /// How content is written. Exact either way, unless utf8 was asked for of what is not text.
    pub(crate) encoding: Encoding,
    /// The file's size in bytes, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// Where content begins.
    pub(crate) offset: u64,
    /// Where to go on; absent at the end of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_offset: Option<u64>,
}

impl FileRead {
    /// Of a part that begins at `offset`.
    pub(crate) fn new(path: String, part: FilePart, offset: u64, wanted: Option<Encoding>) -> Self {
        let FilePart { mut bytes, at_end, size } = part;
        if !at_end && wanted != Some(Encoding::Base64) {
            // Something is always returned, so that whoever goes on comes to an end.
            bytes.truncate(Some(whole_characters(&bytes)).filter(|whole| *whole > 0).unwrap_or(bytes.len()));
        }
        let next_offset = (!at_end).then(|| offset.saturating_add(bytes.len() as u64));
        let (content, encoding) = match wanted {
            Some(Encoding::Base64) => (STANDARD.encode(&bytes), Encoding::Base64),
            Some(Encoding::Utf8) => (String::from_utf8_lossy(&bytes).into_owned(), Encoding::Utf8),
            None => match String::from_utf8(bytes) {
                Ok(text) => (text, Encoding::Utf8),
                Err(error) => (STANDARD.encode(error.as_bytes()), Encoding::Base64),
            },
        };
        Self { path, content, encoding, size, offset, next_offset }
    }

    /// The content, and how it is written where that isn't plain.
    pub(crate) fn text(&self) -> String {
        let mut text = self.content.clone();
        if self.encoding == Encoding::Base64 {
            text.insert_str(0, "[base64]\n");
        }
        if let Some(next) = self.next_offset {
            let of = self.size.map(|size| format!(" of {size}")).unwrap_or_default();
            write!(text, "\n[{} bytes{of}; go on at offset {next}]", next - self.offset).ok();
        }
        text
    }
}

/// How many of `bytes` come before a character whose rest is missing; all of them where none is torn, and where they
/// are no text anyway.
pub(crate) fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

/// The most entries that one answer holds.
const MOST_ENTRIES: usize = 1_000;

/// Of `sandbox_file_list`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FileList {
    /// The folder.
    pub(crate) path: String,
    /// What is in it, by name; at most 1,000.
    pub(crate) entries: Vec<DirectoryEntry>,
    /// How many there are.
    pub(crate) total: u64,
}

impl FileList {
    pub(crate) fn new(path: String, mut entries: Vec<DirectoryEntry>) -> Self {
        let total = entries.len() as u64;
        entries.truncate(MOST_ENTRIES);
        Self { path, entries, total }
    }

    /// As `ls -l` shows it, more or less.
    pub(crate) fn text(&self) -> String {
        if self.entries.is_empty() {
            return format!("{} is empty.", self.path);
        }
        let mut text = String::new();
        for DirectoryEntry { name, kind, size, mode, .. } in &self.entries {
            let mark = match kind {
                FileKind::Directory => "/",
                FileKind::Symlink => "@",
                FileKind::File | FileKind::Other => "",
            };
            writeln!(text, "{mode} {size:>10} {name}{mark}").ok();
        }
        if self.total > self.entries.len() as u64 {
            writeln!(text, "[the first {} of {}]", self.entries.len(), self.total).ok();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], offset: u64, limit: usize, wanted: Option<Encoding>) -> FileRead {
        let rest: Vec<u8> = bytes.iter().skip(offset as usize).copied().collect();
        let part = FilePart {
            bytes: rest.iter().take(limit).copied().collect(),
            at_end: rest.len() <= limit,
            size: Some(bytes.len() as u64),
        };
        FileRead::new("/f".to_owned(), part, offset, wanted)
    }

    #[test]
    fn parts_of_a_text_join_to_the_whole() {
        let text = "añb\u{1F980}c".repeat(20);
        for limit in 4..12 {
            let (mut whole, mut offset) = (String::new(), Some(0));
            while let Some(at) = offset {
                let part = read(text.as_bytes(), at, limit, None);
                assert_eq!(part.encoding, Encoding::Utf8, "limit {limit} at {at}");
                whole.push_str(&part.content);
                offset = part.next_offset;
            }
            assert_eq!(whole, text, "limit {limit}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_base64_and_exact() {
        let bytes: Vec<u8> = (0..=255).collect();
        let part = read(&bytes, 0, 256, None);
        assert_eq!((part.encoding, part.next_offset), (Encoding::Base64, None));
        assert_eq!(STANDARD.decode(&part.content).unwrap(), bytes);
        let part = read(&bytes, 100, 10, Some(Encoding::Base64));
        assert_eq!(
            (STANDARD.decode(&part.content).unwrap(), part.next_offset),
            (bytes[100..110].to_vec(), Some(110))
        );
    }

    #[test]
    fn an_offset_past_the_end_is_the_end() {
        let part = read(b"abc", 9, 10, None);
        assert_eq!((part.content.as_str(), part.next_offset), ("", None));
    }
}
