//! The verbs: one file each, with its arguments and its `run`.

mod agents;
mod attach;
mod completions;
mod cp;
mod create;
mod doctor;
mod exec;
mod help;
mod image;
mod images;
mod info;
mod init;
mod internal_docs;
mod internal_forward;
mod internal_steps;
mod internal_unpack;
mod kill;
mod list;
mod logs;
mod man;
mod missing_command;
mod ps;
mod remove;
mod run;
mod setup;
mod several;
mod start;
mod stop;
mod verbs;
mod version;

pub(crate) use image::import_stream;
pub(crate) use verbs::{Command, GROUP, Json, augment, with_one};
