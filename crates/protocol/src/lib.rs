//! What the host and the guest agent say to each other: frames, messages, and many channels over one byte stream.
//! Shared by both sides, and knows nothing of either. Whatever the other side sends, nothing here panics, allocates by
//! a claimed length, or keeps more than a fixed number of bytes.

pub use minicbor::bytes::{ByteArray, ByteVec};
pub use minicbor::{Decode, Encode};

mod entry;
mod frame;
mod gate;
mod log_record;
pub mod machine;
mod message;
mod mux;

pub use entry::{Entry, EntryKind, ExecutionEntry, ProcessEntry};
pub use frame::{Frame, FrameError, HEADER_LENGTH, Kind, MAX_PAYLOAD, Stream};
pub use gate::{GateError, Setup, ask_setup, needs_setup, say_failed, say_ready, send_setup};
pub use log_record::{LOG_RECORD_HEADER, LogRecord, MAX_LOG_RECORD, NoLogRecord};
pub use message::{
    Control, EnvEntry, Event, Exec, Failure, FailureKind, Hello, MAGIC, MAJOR, MINOR, MessageError, Request,
    State, TerminalSize, decode, decode_records, encode, encode_record,
};
pub use mux::{
    Accepted, Channel, ConnectionError, Guest, Host, MAX_CHANNELS, MAX_OPEN_LENGTH, Machine, Role,
    StreamReader, StreamWriter, WINDOW,
};
