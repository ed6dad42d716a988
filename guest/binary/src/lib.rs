//! The guest agent as bytes, built for the target and embedded, and its installation into a private folder.

mod install;

pub use install::{AGENT, FILE_NAME, InstallError, install};
