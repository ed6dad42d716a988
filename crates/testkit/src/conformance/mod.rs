//! The conformance suite: the definition of a backend. Each case is a promise that users rely on. Where a backend has
//! the features that a case needs, the case must hold; where it lacks one, the same request must be refused with
//! `Unsupported` that names the feature. Nothing passes by doing nothing.
//!
//! A backend's `tests/conformance.rs` is a factory and one line:
//!
//! ```ignore
//! async fn subject() -> Result<Subject, Skipped> { ... }
//! agentkernel_testkit::conformance_suite!(subject);
//! ```
//!
//! which makes one `#[test]` a case, named `group::case`. [`CASES`] is the table for the documentation.

mod ask;
mod cases;
mod record;
mod refusal;
mod runner;
mod scene;
mod subject;
mod table;

pub use ask::{
    Done, TCP_ECHO_SCRIPT, collect, command, eventually, read_until, request, run, script, shell, within,
};
pub use record::record;
pub use runner::{Verdict, check};
pub use scene::Scene;
pub use subject::{Skipped, Subject};
pub use table::{CASES, Case};
