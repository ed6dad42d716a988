//! Tools that are installed below the caller's home (rustup, pyenv, nvm, uv, ...), shown read-only at the same path.
//! Only what is listed in the catalogue is ever shown: an allow-list, so that credentials are left out by nature.

mod catalogue;
mod find;
mod pattern;
#[cfg(test)]
mod tests;

pub use find::{Toolchains, find_toolchains};
