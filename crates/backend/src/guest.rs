//! What can be done inside a box.

use std::time::Duration;

use agentkernel_model::{BoxPath, ByteString, ExecId, ExecRequest, Outcome, Signal, TtySize};
use async_trait::async_trait;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::BackendError;

/// Bytes from a box. Reading grants the box room to send more; not reading makes its writer wait.
pub type OutputStream = Box<dyn AsyncRead + Send + Unpin>;

/// Bytes into a box. Shutting it down is end-of-file inside.
pub type InputStream = Box<dyn AsyncWrite + Send + Unpin>;

/// Both ways to a TCP port inside a box.
pub trait TcpStreamInside: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> TcpStreamInside for T {}

/// A command that runs in a box. Dropping all of it kills the command's process tree unless it is detached.
pub struct Execution {
    /// Its id in the box.
    pub id: ExecId,
    /// `Some` where the request asked for standard input.
    pub stdin: Option<InputStream>,
    /// Standard output, or the terminal. Ends when every holder of it inside has closed it.
    pub stdout: OutputStream,
    /// Standard error; `None` with a terminal.
    pub stderr: Option<OutputStream>,
    /// The rest.
    pub control: Box<dyn ExecutionControl>,
}

/// Signals, size and end of a running command.
#[async_trait]
pub trait ExecutionControl: Send + Sync {
    /// Sends `signal` to the command's process group; SIGKILL goes to its whole process tree.
    async fn signal(&self, signal: Signal) -> Result<(), BackendError>;

    /// Tells the terminal its new size.
    async fn resize(&self, size: TtySize) -> Result<(), BackendError>;

    /// Waits for the end. Output may still be unread then. May be called again.
    async fn wait(&self) -> Result<Outcome, BackendError>;
}

/// Where a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionState {
    /// It runs.
    Running,
    /// It has ended.
    Ended(Outcome),
}

/// One command of a box, running or lately ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExecutionInfo {
    /// Its id.
    pub id: ExecId,
    /// Its program and arguments.
    pub argv: Vec<ByteString>,
    /// Its process id inside the box.
    pub pid: u32,
    /// Whether it outlives its client and has a log.
    pub detached: bool,
    /// Running or how it ended.
    pub state: ExecutionState,
    /// Since its start.
    pub age: Duration,
}

/// One process of a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessInfo {
    /// Inside the box.
    pub pid: u32,
    /// Inside the box.
    pub parent: u32,
    /// The user id inside the box.
    pub uid: u32,
    /// The state letter of proc(5): R, S, D, Z, T, ...
    pub state: char,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Processor time used.
    pub cpu_time: Duration,
    /// The arguments, or the name in brackets where there are none.
    pub command: ByteString,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

/// What is known of one file; links are not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileInfo {
    /// The last component of its path; never `.`, `..`, empty, or with a slash.
    pub name: ByteString,
    /// Its kind.
    pub kind: FileKind,
    /// In bytes.
    pub size: u64,
    /// Permission bits, 0o7777 at most.
    pub mode: u32,
    /// Owner inside the box.
    pub uid: u32,
    /// Group inside the box.
    pub gid: u32,
    /// Seconds since 1970.
    pub modified: i64,
}

/// A part of a detached command's log.
pub struct LogRead {
    /// The first byte's offset, counted over stdout and stderr together since the command's start. Larger than what was
    /// asked for where older output has been dropped.
    pub start: u64,
    /// Standard output from there on; with `follow` until the command ends.
    pub stdout: OutputStream,
    /// Standard error from there on.
    pub stderr: OutputStream,
    /// How the command ended, once both streams have ended; `Running` without `follow` where it still runs.
    pub state: ExecutionState,
}

/// One of a command's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// Of its first byte, counted as in [`LogRead::start`]. The next chunk's is this plus `bytes.len()`, always: who reads
    /// on from there after an interruption misses nothing and gets nothing twice.
    pub offset: u64,
    /// Which output it is of.
    pub kind: OutputKind,
    /// Never empty, at most 64 KiB.
    pub bytes: Vec<u8>,
}

/// The chunks of a log, as they come.
#[async_trait]
pub trait LogChunks: Send {
    /// The next one; `None` where the log ends, with `follow` at the command's end. Where a part was dropped before it
    /// could be read, or the box lies, it is an error and never a gap. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Option<LogChunk>, BackendError>;
}

/// A part of a detached command's log, both outputs in the order in which they came.
pub struct OrderedLog {
    /// As [`LogRead::start`]: the offset of the first chunk.
    pub start: u64,
    /// Where the command was when reading began.
    pub state: ExecutionState,
    /// From `start` on. Reading grants the box room to send more.
    pub chunks: Box<dyn LogChunks>,
}

/// What can be done inside one running box. All paths are inside the box and can't leave it. Everything that comes back
/// has been checked: it was sent by a hostile guest until proven otherwise.
#[async_trait]
pub trait Guest: Send + Sync {
    /// Runs a command.
    async fn exec(&self, request: &ExecRequest) -> Result<Execution, BackendError>;

    /// The commands that run, and detached ones that have ended.
    async fn executions(&self) -> Result<Vec<ExecutionInfo>, BackendError>;

    /// Sends a signal to a command by id, as [`ExecutionControl::signal`].
    async fn kill(&self, id: &ExecId, signal: Signal) -> Result<(), BackendError>;

    /// Waits for the end of a command by id.
    async fn wait(&self, id: &ExecId) -> Result<Outcome, BackendError>;

    /// Reads a detached command's log from `offset`; with `follow` until the command ends.
    async fn logs(&self, id: &ExecId, offset: u64, follow: bool) -> Result<LogRead, BackendError>;

    /// The same as [`Guest::logs`], as one stream that keeps the order of the two outputs and says where each piece stands.
    async fn ordered_log(&self, id: &ExecId, offset: u64, follow: bool) -> Result<OrderedLog, BackendError>;

    /// All processes of the box.
    async fn processes(&self) -> Result<Vec<ProcessInfo>, BackendError>;

    /// Reads a file.
    async fn read_file(&self, path: &BoxPath) -> Result<OutputStream, BackendError>;

    /// Writes a file whole or, on failure, not at all; `mode` is its permissions, 0o644 by default. Links are followed
    /// inside the box. Returns the bytes written.
    async fn write_file(
        &self,
        path: &BoxPath,
        mode: Option<u32>,
        content: OutputStream,
    ) -> Result<u64, BackendError>;

    /// One file or folder; links are not followed.
    async fn stat(&self, path: &BoxPath) -> Result<FileInfo, BackendError>;

    /// The entries of a folder, sorted by name; at most 100,000, more is an error.
    async fn list(&self, path: &BoxPath) -> Result<Vec<FileInfo>, BackendError>;

    /// Removes a file, or a folder with all in it where `recursive`.
    async fn remove_file(&self, path: &BoxPath, recursive: bool) -> Result<(), BackendError>;

    /// Makes a folder and its parents; fine if it is there.
    async fn make_dir(&self, path: &BoxPath, mode: Option<u32>) -> Result<(), BackendError>;

    /// A tar stream (POSIX pax) of `path`: its entries are named from `path`'s last component on. A failure after the
    /// stream's start ends the stream with an error.
    async fn tar_out(&self, path: &BoxPath) -> Result<OutputStream, BackendError>;

    /// Unpacks a tar stream into the folder `path`, which is made where it is missing. Owned by root inside.
    async fn tar_in(&self, path: &BoxPath, tar: OutputStream) -> Result<(), BackendError>;

    /// Connects to a TCP port on the box's loopback.
    async fn connect_port(&self, port: u16) -> Result<Box<dyn TcpStreamInside>, BackendError>;
}
