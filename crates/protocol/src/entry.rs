//! What lists are made of: files, commands, processes.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::State;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// The last component of its path.
    #[n(0)]
    pub name: ByteVec,
    /// Its kind.
    #[n(1)]
    pub kind: EntryKind,
    /// In bytes.
    #[n(2)]
    pub size: u64,
    /// Permission bits.
    #[n(3)]
    pub mode: u32,
    /// Owner.
    #[n(4)]
    pub uid: u32,
    /// Group.
    #[n(5)]
    pub gid: u32,
    /// Seconds since 1970.
    #[n(6)]
    pub modified: i64,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum EntryKind {
    /// A regular file.
    #[n(0)]
    File,
    /// A folder.
    #[n(1)]
    Directory,
    /// A symbolic link.
    #[n(2)]
    Symlink,
    /// Anything else.
    #[n(3)]
    Other,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ExecutionEntry {
    /// Its id.
    #[n(0)]
    pub id: String,
    /// Program and arguments, shortened.
    #[n(1)]
    pub argv: Vec<ByteVec>,
    /// Of its main process.
    #[n(2)]
    pub pid: u32,
    /// Whether it has a log.
    #[n(3)]
    pub detached: bool,
    /// Where it is.
    #[n(4)]
    pub state: State,
    /// Milliseconds since its start.
    #[n(5)]
    pub age_ms: u64,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ProcessEntry {
    /// In the box's pid namespace.
    #[n(0)]
    pub pid: u32,
    /// Its parent.
    #[n(1)]
    pub parent: u32,
    /// Its effective user.
    #[n(2)]
    pub uid: u32,
    /// The letter of proc(5).
    #[n(3)]
    pub state: u8,
    /// Resident bytes.
    #[n(4)]
    pub resident_bytes: u64,
    /// Processor time in milliseconds.
    #[n(5)]
    pub cpu_ms: u64,
    /// Arguments, separated by spaces, shortened.
    #[n(6)]
    pub command: ByteVec,
}
