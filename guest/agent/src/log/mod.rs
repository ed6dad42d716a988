//! The logs of detached commands, and what is kept of a command for as long as its sandbox.
//!
//! In the folder of logs each command has a note (`command-ID`: what it is, when it started, how it ended) and at most two
//! segments of output (`log-ID.N`). An agent that starts finds those of its forerunner and answers for them as for its
//! own; a command whose end nobody noted was killed with its box.
//!
//! The folder lies outside of the box with the native backend. In a container it belongs to root of the box, who may have
//! put anything there: whatever is read from it is checked, and what doesn't hold is removed.

mod collect;
mod folder;
mod note;
mod read;
mod ring;
mod walk;

pub(crate) use collect::{collect, drain};
pub(crate) use folder::{Kept, LogFolder};
pub(crate) use read::{send, send_ordered};
pub(crate) use ring::Log;
