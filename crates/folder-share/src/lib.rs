//! A folder of the host, shown live to a machine: the guest's kernel asks by FUSE messages over a vsock stream, and a process
//! of ours answers them, jailed so that it has that one folder and nothing else.
//!
//! Whoever asks is hostile: each message is bounded and checked, names are single components, no link is followed, and what
//! a message refers to is a node or a handle that was given before. The jail is the second wall: the process's root is an
//! empty file system with the folder in it, it has no network, no capability and a system call filter, and it is the
//! folder's owner.

mod attributes;
mod changes;
mod connection;
mod files;
mod folders;
mod handles;
mod jail;
mod nodes;
mod process;
mod server;
mod start;
mod wire;

pub use connection::serve;
pub use process::{own_descriptors, share_main};
pub use server::{FolderServer, MAX_REQUEST, MAX_TRANSFER};
pub use start::{Share, ShareError, ShareProgram, ShareSpec, TOKEN_BYTES};
pub use wire::Broken;
