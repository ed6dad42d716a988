//! `cargo xtask test-bed`: the real components that tests and benchmarks need, made from local files: Docker, Podman
//! (root's and an ordinary user's), three registries, and four images in all of them. All of it lies in one folder,
//! beside whatever engines the machine has, and goes away with it.

mod arguments;
mod bed;
mod certificate;
mod daemon;
mod docker;
mod firewall;
mod guard;
mod images;
mod packages;
mod place;
mod podman;
mod processes;
mod push;
mod registry;
mod remains;
mod removal;
mod rootless;

pub(crate) use arguments::run;
pub(crate) use bed::is_quick_to_start;
pub(crate) use guard::Guard;
pub(crate) use packages::FOR_BED;
pub(crate) use place::{Variables, for_ordinary_user, for_root, is_variable};
