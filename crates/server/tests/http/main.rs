//! The routes over the strict fake backend: what a client sends and gets, byte by byte where that is promised.
#![cfg(test)]

mod bench;
mod disconnect;
mod document;
mod executions;
mod files;
mod refusals;
mod running;
mod sandboxes;
mod snapshots;
mod sockets;
mod streaming;
