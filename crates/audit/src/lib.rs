//! The audit log: who asked for what, as JSON lines in a folder of the state directory. Every line carries the SHA-256 of
//! the line before it and of itself, so that a line that was changed, removed or put in shows ([`verify`]). Any number of
//! processes append to one log. Secrets in arguments are masked before they are written ([`redact_arguments`]).
//!
//! What the chain can't show: the removal of the newest lines, and a whole log that was written anew by somebody who may
//! write the files. Who fears that notes the last hash elsewhere from time to time and asks for it ([`VerifyOptions`]).

mod append;
mod chain;
mod entry;
mod error;
mod head;
mod log;
mod place;
mod redact;
mod rotation;
mod settings;
mod tail;
#[cfg(test)]
mod tests;
mod verify;

pub use entry::{Entry, FieldValue, Outcome};
pub use error::AuditError;
pub use log::AuditLog;
pub use redact::{MASK, redact_arguments, redact_text};
pub use settings::{Arguments, AuditSettings};
pub use tail::tail;
pub use verify::{Broken, Torn, Verified, VerifyOptions, verify};
