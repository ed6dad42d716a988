//! What a box or a stranger may send, thrown at the code that reads it. Each target is a module with `check`, which
//! panics where a promise is broken, and `seeds`, inputs to start from. `cargo +nightly fuzz run --features libfuzzer
//! TARGET` searches for as long as one likes; `cargo test` runs each target for a few seconds with a fixed random seed.

pub mod archive;
pub mod config;
pub mod connection;
pub mod frames;
pub mod layer;
pub mod machine;
pub mod mutation;
pub mod names;
mod samples;
pub mod share;
