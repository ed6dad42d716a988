//! The root filesystem of a box, as steps for its first process.

mod builder;
mod host_root;
mod image_root;
mod made_files;
mod plan;
mod process_files;
#[cfg(test)]
mod tests;

pub(crate) use image_root::ImageFolders;
pub(crate) use plan::{AGENT_SLOT, Backing, Base, LOG_SLOT, Layout, UserMount, c_string};
