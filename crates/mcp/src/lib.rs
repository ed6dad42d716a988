//! The Model Context Protocol: tools over stdio and streamable HTTP.
//!
//! Every tool is one of [`agentkernel_service::Service`]'s verbs; here its arguments are read and its result is put into
//! words. Nothing here decides what may be done.

mod address;
mod answers;
mod arguments;
mod caller;
mod catalogue;
mod failure;
mod file_part;
mod handler;
mod http;
mod kept;
mod progress;
mod resources;
mod schema;
mod sessions;
mod settings;
mod stdio;
mod tools;

pub use http::HttpService;
pub use settings::McpSettings;
pub use stdio::{StdioError, serve, serve_stdio};
