//! A typed client of agentkernel's HTTP API, over TCP and over the daemon's unix socket.
//!
//! ```no_run
//! use agentkernel_sdk::{AgentKernel, CreateRequest, Error, ExecRequest, RunRequest, StreamEvent};
//!
//! # async fn example() -> Result<(), Error> {
//! let client = AgentKernel::builder().build()?;
//!
//! // One command in a sandbox of its own. That it fails is no error: the exit code is in the result.
//! let result = client.run(&RunRequest::new(["python3", "-c", "print(6*7)"])).await?;
//! assert_eq!((result.stdout.as_str(), result.exit_code), ("42\n", 0));
//!
//! // The same with its output as it is written. Dropping the stream ends the command.
//! let mut events = client.run_stream(&RunRequest::new(["sh", "-c", "echo a; sleep 1; echo b"])).await?;
//! while let Some(event) = events.next().await? {
//!     if let StreamEvent::Output { data, .. } = event {
//!         assert!(data == "a\n" || data == "b\n");
//!     }
//! }
//!
//! // A sandbox that stays.
//! let made = client.create_sandbox(&CreateRequest::new("work")).await?;
//! let sandbox = client.sandbox(&made.name);
//! sandbox.write_file("/tmp/note", b"hello".to_vec()).await?;
//! let read = sandbox.exec(&ExecRequest::new(["cat", "/tmp/note"])).await?;
//! assert_eq!(read.stdout, "hello");
//! sandbox.remove().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The crate reads no environment variables by itself: [`Builder::variables`] takes a function that does.
//! Connections are kept open and used again; a client is cheap to clone, and clones share them. All that is read is
//! bounded: a server that answers without end gets an error, not the client's memory.

mod answer;
mod body;
mod builder;
mod call;
mod client;
mod connect;
mod content;
mod error;
mod files;
mod frames;
mod logs;
mod path;
mod sandbox;
mod server;
mod sse;
mod stream;
mod target;

pub use agentkernel_api::*;
pub use body::ByteStream;
pub use builder::{Builder, DEFAULT_BASE_URL, DEFAULT_TIMEOUT};
pub use client::AgentKernel;
pub use content::bytes_of;
pub use error::{Error, Refusal};
pub use frames::{Frame, FrameStream};
pub use logs::{LogChunk, LogStream};
pub use sandbox::SandboxHandle;
pub use sse::{SseEvent, SseParser, TooLong};
pub use stream::{EventStream, ServerEvents};
