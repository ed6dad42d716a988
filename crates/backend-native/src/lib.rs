//! The embedded Linux sandbox: namespaces, cgroups, seccomp and Landlock, without a daemon and without a download. The
//! host's own system folders, read-only, are its image.

mod backend;
mod boot;
mod disk;
mod ephemeral;
mod host_system;
mod identity;
mod instance;
mod layout;
mod lease;
mod machine;
mod mounts;
mod name;
mod network;
mod sandbox;

pub use backend::NativeBackend;
