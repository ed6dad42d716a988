//! Getting what machines are made with onto this computer: from a folder or a mirror that the user names, each file held
//! against a digest, put in place whole or not at all. No address of anybody is known here.

mod error;
mod install;
mod kernel_file;
mod manifest;
mod part;
mod program_version;
mod source;
mod survey;
#[cfg(test)]
mod tests;

pub use error::ProvisionError;
pub use install::{InstallRequest, Installed, install};
pub use kernel_file::check_kernel;
pub use manifest::MANIFEST;
pub use part::Part;
pub(crate) use program_version::version_of;
pub use source::Source;
pub use survey::{PartState, survey, whole_probe};
