//! The only writers of our own words.

use std::io::{self, Write};

use serde::Serialize;

use super::CliError;
use crate::stdio::refuse_closed_output;

/// Writes to standard output.
pub(crate) fn print_text(text: &str) -> Result<(), CliError> {
    if !text.is_empty() {
        refuse_closed_output().map_err(|source| CliError::io("write the result", source))?;
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(closed)
}

/// Writes one JSON document, indented, and a line's end.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::io("write the result as JSON", io::Error::other(error)))?;
    text.push('\n');
    print_text(&text)
}

/// Tells people something on standard error.
pub(crate) fn warn_line(text: &str) {
    if let Err(error) = writeln!(io::stderr(), "{text}") {
        tracing::debug!(%error, "nobody reads standard error");
    }
}

fn closed(source: io::Error) -> CliError {
    if source.kind() == io::ErrorKind::BrokenPipe {
        return CliError::OutputClosed;
    }
    CliError::io("write to standard output", source)
}
