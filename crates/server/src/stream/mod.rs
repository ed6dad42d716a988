//! Bodies that leave as they are made. All of them are pulled by the connection: a slow reader makes the command wait,
//! and a body that is dropped (the client has gone) drops the command with it.

mod command;
mod event_feed;
mod frames;
mod keep_alive;
mod log;
mod pull;
mod sse;
mod text;
mod transfer;

pub(crate) use command::{Format, of_command};
pub(crate) use event_feed::of_events;
pub(crate) use frames::MEDIA_TYPE as FRAMES;
pub(crate) use log::{LogFormat, of_log};
pub(crate) use pull::{Reports, of_pull};
pub(crate) use sse::MEDIA_TYPE as EVENT_STREAM;
pub(crate) use transfer::{from_body, of_bytes};
