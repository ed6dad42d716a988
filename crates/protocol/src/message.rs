//! Messages: what frames carry besides streams, as CBOR. Fields and variants are known by number, so a later version
//! may add optional ones; numbers are never given a second meaning. Text that Linux doesn't promise to be UTF-8 is bytes.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::Entry;
use crate::machine::Renewal;

/// The first bytes of a [`Hello`].
pub const MAGIC: &[u8] = b"agentkernel";

/// Sides with different major versions can't talk.
pub const MAJOR: u32 = 1;

/// Sides with different minor versions can; the newer one keeps to the older one's requests.
pub const MINOR: u32 = 0;

/// The first message each way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// [`MAGIC`].
    #[n(0)]
    pub magic: ByteVec,
    /// [`MAJOR`] of the sender.
    #[n(1)]
    pub major: u32,
    /// [`MINOR`] of the sender.
    #[n(2)]
    pub minor: u32,
    /// The sender's own version, for people.
    #[n(3)]
    pub software: String,
    /// The longest payload it accepts.
    #[n(4)]
    pub max_payload: u32,
    /// The bytes of each stream that it accepts before it grants more.
    #[n(5)]
    pub window: u32,
}

/// What a host asks for by opening a channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Run a command. [`Event::Started`] or [`Event::Failed`], then [`Event::Ended`].
    #[n(0)]
    Exec(#[n(0)] Box<Exec>),
    /// The commands: records of [`crate::ExecutionEntry`] as output.
    #[n(1)]
    Executions,
    /// Signal a command by its id.
    #[n(2)]
    Kill {
        /// Its id.
        #[n(0)]
        id: String,
        /// signal(7).
        #[n(1)]
        signal: i32,
    },
    /// Wait for a command by its id: [`Event::Ended`].
    #[n(3)]
    Wait {
        /// Its id.
        #[n(0)]
        id: String,
    },
    /// Read a detached command's log: [`Event::Log`], output and error.
    #[n(4)]
    Logs {
        /// Its id.
        #[n(0)]
        id: String,
        /// From this byte on.
        #[n(1)]
        offset: u64,
        /// Until the command ends.
        #[n(2)]
        follow: bool,
    },
    /// All processes: records of [`crate::ProcessEntry`] as output.
    #[n(5)]
    Processes,
    /// A file's content as output.
    #[n(6)]
    ReadFile {
        /// Absolute.
        #[n(0)]
        path: ByteVec,
    },
    /// The input becomes a file's content: [`Event::Written`].
    #[n(7)]
    WriteFile {
        /// Absolute.
        #[n(0)]
        path: ByteVec,
        /// Permission bits.
        #[n(1)]
        mode: Option<u32>,
    },
    /// One file: [`Event::File`].
    #[n(8)]
    Stat {
        /// Absolute.
        #[n(0)]
        path: ByteVec,
    },
    /// A folder: records of [`Entry`] as output.
    #[n(9)]
    List {
        /// Absolute.
        #[n(0)]
        path: ByteVec,
    },
    /// Remove a file or folder.
    #[n(10)]
    Remove {
        /// Absolute.
        #[n(0)]
        path: ByteVec,
        /// With all in it.
        #[n(1)]
        recursive: bool,
    },
    /// Make a folder and its parents.
    #[n(11)]
    MakeDir {
        /// Absolute.
        #[n(0)]
        path: ByteVec,
        /// Permission bits of what is made.
        #[n(1)]
        mode: Option<u32>,
    },
    /// A tar stream as output.
    #[n(12)]
    TarOut {
        /// Absolute.
        #[n(0)]
        path: ByteVec,
    },
    /// The input is a tar stream to unpack.
    #[n(13)]
    TarIn {
        /// Absolute; made where it is missing.
        #[n(0)]
        path: ByteVec,
    },
    /// Connect input and output to a TCP port of the loopback: [`Event::Done`] once connected.
    #[n(14)]
    Connect {
        /// 1 to 65535.
        #[n(0)]
        port: u16,
    },
    /// Read a detached command's log in the order it came: [`Event::Log`], then as output what [`crate::LogRecord`]
    /// describes.
    #[n(15)]
    OrderedLog {
        /// Its id.
        #[n(0)]
        id: String,
        /// From this byte on.
        #[n(1)]
        offset: u64,
        /// Until the command ends.
        #[n(2)]
        follow: bool,
    },
    /// End everything in a box that is a machine of its own, put what was written onto its disk, and switch it off:
    /// [`Event::Done`] before the last, where the stream lives that long.
    #[n(16)]
    PowerOff {
        /// Milliseconds that processes have between SIGTERM and SIGKILL.
        #[n(0)]
        grace_ms: u64,
    },
    /// Stop the time of all commands of a box that is a machine of its own, before the machine itself stands still:
    /// [`Event::Done`] once none of them runs.
    #[n(17)]
    StandStill,
    /// Make new what has to be, and let the commands go on: [`Event::Done`]. Fine where none stands still.
    #[n(18)]
    GoOn(#[n(0)] Box<Renewal>),
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Exec {
    /// Program and arguments.
    #[n(0)]
    pub argv: Vec<ByteVec>,
    /// The whole environment.
    #[n(1)]
    pub env: Vec<EnvEntry>,
    /// Where it starts; absolute.
    #[n(2)]
    pub workdir: ByteVec,
    /// A name of the box's `/etc/passwd` or a number; root where missing.
    #[n(3)]
    pub user: Option<String>,
    /// A name of the box's `/etc/group` or a number; the user's own where missing.
    #[n(4)]
    pub group: Option<String>,
    /// Whether input is its standard input; else that is `/dev/null`.
    #[n(5)]
    pub stdin: bool,
    /// A terminal of this size instead of pipes.
    #[n(6)]
    pub terminal: Option<TerminalSize>,
    /// Milliseconds from its start to the death of its tree.
    #[n(7)]
    pub timeout_ms: Option<u64>,
    /// Detached, with a log of at most so many bytes.
    #[n(8)]
    pub log_limit: Option<u64>,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EnvEntry {
    /// Without `=`.
    #[n(0)]
    pub name: ByteVec,
    /// Anything but NUL.
    #[n(1)]
    pub value: ByteVec,
}

/// The size of a terminal in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TerminalSize {
    /// Lines.
    #[n(0)]
    pub rows: u16,
    /// Characters a line.
    #[n(1)]
    pub columns: u16,
}

/// What a host says to a running command on its channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Control {
    /// signal(7) to the process group; 9 to the whole tree.
    #[n(0)]
    Signal(#[n(0)] i32),
    /// The terminal's new size.
    #[n(1)]
    Resize(#[n(0)] TerminalSize),
}

/// What a guest answers on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// The command runs.
    #[n(0)]
    Started {
        /// Its id.
        #[n(0)]
        id: String,
        /// In the box's pid namespace.
        #[n(1)]
        pid: u32,
    },
    /// The command has ended.
    #[n(1)]
    Ended(#[n(0)] State),
    /// The request could not be done, or not to its end.
    #[n(2)]
    Failed(#[n(0)] Failure),
    /// The request is done.
    #[n(3)]
    Done,
    /// The request is done; so many bytes were written.
    #[n(4)]
    Written(#[n(0)] u64),
    /// The file asked for.
    #[n(5)]
    File(#[n(0)] Entry),
    /// The stream asked for begins; a later event tells how it ended.
    #[n(7)]
    Ready,
    /// A log follows from this offset on.
    #[n(6)]
    Log {
        /// Of the first byte.
        #[n(0)]
        start: u64,
        /// Of the command, now.
        #[n(1)]
        state: State,
    },
}

/// Where a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum State {
    /// Not ended yet.
    #[n(0)]
    Running,
    /// Ended by itself.
    #[n(1)]
    Exited(#[n(0)] u8),
    /// Ended by a signal.
    #[n(2)]
    Signaled(#[n(0)] i32),
    /// Killed for its timeout.
    #[n(3)]
    TimedOut,
    /// Killed with something that nobody could see the status of.
    #[n(4)]
    Lost,
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Failure {
    /// Its kind.
    #[n(0)]
    pub kind: FailureKind,
    /// For people.
    #[n(1)]
    pub why: String,
}

/// The kinds of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum FailureKind {
    /// Something asked for doesn't exist.
    #[n(0)]
    NotFound,
    /// Something is there that must not be.
    #[n(1)]
    AlreadyExists,
    /// The request is wrong.
    #[n(2)]
    Invalid,
    /// The program wasn't found.
    #[n(3)]
    CommandNotFound,
    /// The program can't be executed.
    #[n(4)]
    NotExecutable,
    /// The working directory can't be entered.
    #[n(5)]
    Workdir,
    /// The user can't be become.
    #[n(6)]
    User,
    /// No processes, memory or files left.
    #[n(7)]
    NoRoom,
    /// Anything else.
    #[n(8)]
    Other,
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not the CBOR of the type.
    #[error("a message can't be read: {why}")]
    Malformed {
        /// What the decoder says.
        why: String,
    },
    /// Bytes after the message.
    #[error("a message is followed by {length} bytes that don't belong to it")]
    Trailing {
        /// How many.
        length: usize,
    },
    /// A record claims more bytes than are there.
    #[error("a record is cut off")]
    CutOff,
    /// More records than allowed.
    #[error("there are more than {limit} records")]
    TooMany {
        /// How many are allowed.
        limit: usize,
    },
}

/// The bytes of a message.
pub fn encode<T: Encode<()>>(message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_onto(message, &mut out);
    out
}

fn encode_onto<T: Encode<()>>(message: &T, out: &mut Vec<u8>) {
    // Writing to a Vec can't fail, and no type here has an encoder that fails by itself.
    let result = minicbor::encode(message, out);
    debug_assert!(result.is_ok());
}

/// The message in `bytes`, which must hold nothing else. Memory stays within a small multiple of `bytes.len()`.
pub fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, MessageError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let message = decoder.decode().map_err(|error| MessageError::Malformed { why: error.to_string() })?;
    match bytes.len() - decoder.position() {
        0 => Ok(message),
        length => Err(MessageError::Trailing { length }),
    }
}

/// Appends a record: a message with its length (u32, little-endian) before it. Lists travel as records in a stream, so
/// that they are subject to its flow control.
pub fn encode_record<T: Encode<()>>(message: &T, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    encode_onto(message, out);
    let length = (out.len() - at - 4) as u32;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// All records of a stream that has been read to its end; at most `limit`.
pub fn decode_records<T: for<'b> Decode<'b, ()>>(
    mut bytes: &[u8],
    limit: usize,
) -> Result<Vec<T>, MessageError> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        if records.len() == limit {
            return Err(MessageError::TooMany { limit });
        }
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(MessageError::CutOff)?;
        let length = u32::from_le_bytes(*length) as usize;
        let record = rest.get(..length).ok_or(MessageError::CutOff)?;
        records.push(decode(record)?);
        bytes = &rest[length..];
    }
    Ok(records)
}
