//! Requests as they come over the wire, turned into types that can't hold a wrong value. Every refusal names the field.

mod bytes;
mod command;
mod field;
mod sandbox;

pub(crate) use bytes::{decode, initial_files, mode};
pub(crate) use command::CommandWish;
pub(crate) use field::{box_path, exec_id, parse, sandbox_name, signal, snapshot_name};
pub(crate) use sandbox::{Extras, SandboxWish};
