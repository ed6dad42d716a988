//! `images`: what `image list` is, for those who are used to it.

pub(crate) use super::image::list::{Args, run};
