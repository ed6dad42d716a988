//! The real program on this machine's native backend, as a user runs it. Where no sandbox can be made, the tests that
//! need one print SKIPPED and the reason.
#![cfg(test)]

mod bad_input;
mod engines;
mod help;
mod image_archive;
mod images;
mod json;
mod lab;
mod lifecycle;
mod microvm;
mod pool;
mod run;
mod signals;
mod snapshots;
mod streams;
mod terminal;
mod weaknesses;
