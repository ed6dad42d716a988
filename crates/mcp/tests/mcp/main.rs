//! The server over the strict fake backend, spoken to line by line, by the SDK's own client, and over HTTP.
#![cfg(test)]

mod bench;
mod client;
mod commands;
mod detached;
mod files;
mod http;
mod protocol;
mod resources;
mod sandboxes;
mod sdk_client;
mod several;
mod snapshots;
