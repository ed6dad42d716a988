//! `cargo xtask kernel`: the guest kernel of images/kernel, built once from Debian's source package and kept in the
//! tasks' cache under a hash of what decides it. docs/kernel.md tells more.

mod arguments;
mod build;
mod package;
mod source;

pub(crate) use arguments::{Architecture, run};
pub(crate) use build::{Built, cached, ensure, install_for_build};
pub(crate) use package::{Package, remove};
