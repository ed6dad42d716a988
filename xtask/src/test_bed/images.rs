//! The four images, made from what Debian packages bring and kept in the user's cache until their recipe changes.

mod busybox;
mod cache;
mod debian;
mod image;
mod layer;
mod layered;
mod program;
mod write;

pub(crate) use cache::{Cached, are_cached, ensure};
