//! Docker and Podman, by the Docker API over a socket and nothing else: no command line of theirs is ever run or read.
//! One implementation for both, since Podman speaks the same API; what differs is in [`EngineKind`].
//!
//! A box is a container whose PID 1 is our agent. On an engine of this machine the agent connects to a socket of ours; on
//! another machine's, or one in a virtual machine, the engine carries the bytes.

mod address;
mod backend;
mod boot;
mod build_context;
mod builder;
mod connection;
mod container;
mod dockerignore;
mod door;
mod environment;
mod ephemeral;
mod facts;
mod failure;
mod far;
mod folder;
mod hijacked;
mod http;
mod images;
mod kind;
mod lease;
mod mounts;
mod network;
mod note;
mod owner;
mod persistent;
mod ping;
mod places;
mod program;
mod seccomp;
mod settle;

pub use backend::{DockerBackend, EngineSettings};
pub use environment::EngineEnvironment;
pub use kind::EngineKind;
