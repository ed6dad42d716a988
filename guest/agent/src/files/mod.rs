//! The box's files, as workers touch them. Paths are resolved within the box's root, without the magic links of /proc.

mod content;
mod folder;
mod path;
mod processes;
mod request;
mod tar_in;
mod tar_out;

pub(crate) use processes::records as process_records;
pub(crate) use request::perform;
