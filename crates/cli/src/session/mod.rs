//! One command's life as seen from this process: its streams, signals and terminal joined to ours, or its output kept
//! for a JSON answer.

mod conduct;
mod ending;
mod raw_terminal;
mod signals;
mod sink;

pub(crate) use conduct::{SessionError, conduct, pump_log};
pub(crate) use ending::Ending;
pub(crate) use raw_terminal::{RawTerminal, restore_terminal, terminal_size};
pub(crate) use sink::{KeptStream, Sink};
