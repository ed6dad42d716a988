//! The long-lived use-cases that HTTP and MCP share: requests into runs, with policy, limits, events and audit.
//!
//! Takes requests in the words of `agentkernel-api` and answers in them. Knows no HTTP status line, no frame and no tool;
//! decides nothing about a sandbox that the command line would decide otherwise: both go through `agentkernel-config` and
//! `agentkernel-engine`.

mod activity;
mod admission;
mod audit;
mod audit_log;
mod batch;
mod caller;
mod collected;
mod error;
mod events;
mod exec;
mod executions;
mod files;
mod held;
mod histogram;
mod input;
mod limits;
mod listing;
mod logs;
mod machine;
mod numbers;
mod planning;
mod policy;
mod ports;
mod pump;
mod request;
mod run;
mod sandboxes;
mod service;
mod settings;
mod snapshots;
mod started;
mod statistics;
mod terminal;
mod view;
mod warm_pool;

pub use agentkernel_backend::{InputStream, OutputKind, OutputStream, TcpStreamInside};
pub use audit::{AuditEntry, AuditSink, NoAudit, Verdict};
pub use caller::{Caller, Quota, Scope};
pub use error::ServiceError;
pub use events::EventStream;
pub use exec::ExecExtra;
pub use input::Input;
pub use limits::Limits;
pub use logs::{LogEvent, Logs};
pub use service::Service;
pub use settings::ServiceSettings;
pub use started::{CommandControl, OutputEvent, OutputEvents, Started, StartedInfo};
pub use terminal::{Attached, TerminalEvent, TerminalInput};
pub use warm_pool::WarmPool;

#[cfg(test)]
mod tests;
