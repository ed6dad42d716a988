//! The protocol as its users see it: one test binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod golden;
mod machine;
mod mux;
