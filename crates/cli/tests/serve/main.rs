//! The real program as a server: by the documented routes, by schemathesis, by attackers, by clients that are killed.
//! Where no sandbox can be made, the tests that need one print SKIPPED and the reason.
#![cfg(test)]

mod attacks;
#[path = "../crash/census.rs"]
mod census;
mod connection;
mod daemon;
mod daemon_killed;
mod detached;
mod disconnect;
mod event_stream;
#[path = "../cli/image_archive.rs"]
#[expect(dead_code, reason = "the command line's tests use more of it")]
mod image_archive;
#[path = "../cli/lab.rs"]
#[expect(dead_code, reason = "the command line's tests use more of it")]
mod lab;
mod mcp;
mod place;
mod process;
mod same_results;
mod schema;
mod server;
mod shutdown;
mod single_use;
mod streaming;
mod terminal;
mod version_0_4;
mod web_socket;
