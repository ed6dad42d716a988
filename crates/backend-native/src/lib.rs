//! The embedded Linux sandbox: namespaces, cgroups, seccomp and Landlock, without a daemon. It starts from the host's own
//! system folders, read-only and without a download, or from an OCI image.

mod backend;
mod boot;
mod disk;
mod ephemeral;
mod hand_over;
mod host_system;
mod identity;
mod images;
mod instance;
mod layout;
mod lease;
mod machine;
mod mounts;
mod name;
mod process;
mod remains;
mod sandbox;
#[cfg(test)]
mod tests;
mod trees;
mod unpacker;

pub use backend::NativeBackend;
pub use images::{NativeSettings, image_store};
