//! The tools: arguments into the service's verbs, and their results into answers.

mod call;
mod command;
mod files;
mod logs;
mod running;
mod sandboxes;
mod snapshots;

pub(crate) use call::Call;
use call::text_of;
