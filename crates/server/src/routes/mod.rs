//! The handlers, by what they are about. Each says what it takes and gives in its `utoipa::path`; who may use it stands
//! in `access`.

mod archive;
mod binary;
mod events;
mod exec;
mod executions;
mod files;
mod folders;
mod images;
mod machine;
mod pool;
mod ports;
mod run;
mod sandboxes;
mod server;
mod snapshots;
mod table;
mod terminals;

pub(crate) use binary::{Binary, ServerSentEvent};
pub(crate) use table::{TAGS, all};
