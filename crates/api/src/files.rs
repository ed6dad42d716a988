//! Files inside a sandbox.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Encoding;

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileContent {
    /// As `encoding` says.
    pub content: String,
    /// `utf8` where all of it is, else `base64`: exact either way.
    pub encoding: Encoding,
    /// In bytes.
    pub size: u64,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteRequest {
    /// As `encoding` says.
    pub content: String,
    /// How `content` is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// Permissions in octal, such as `0644`, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// A file that a sandbox starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InitialFile {
    /// Absolute, inside.
    pub path: String,
    /// As `encoding` says.
    pub content: String,
    /// How `content` is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// Permissions in octal, such as `0644`, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// A folder to make, with its parents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectoryRequest {
    /// Absolute, inside.
    pub path: String,
    /// Permissions in octal, such as `0755`, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Other,
}

/// One file; links are not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DirectoryEntry {
    /// The last part of its path. What is not UTF-8 is replaced by U+FFFD; `name_base64` is then exact.
    pub name: String,
    /// The name's bytes, where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_base64: Option<String>,
    /// Its kind.
    pub kind: FileKind,
    /// In bytes.
    pub size: u64,
    /// Permissions in octal.
    pub mode: String,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// RFC 3339, UTC.
    pub modified: String,
}
