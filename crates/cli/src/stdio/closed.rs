//! Standard streams that our caller has closed. By now they are /dev/null: Rust's start-up sees to that, lest a file opened
//! later takes their number.

use std::io;

use agentkernel_sys::standard_streams::{StandardStream, was_closed};

/// Refuses to write where nothing can arrive, as write(2) does. Closed standard error is left to swallow what it is
/// given: no program fails for it.
pub(crate) fn refuse_closed_output() -> io::Result<()> {
    if was_closed(StandardStream::Output) {
        return Err(io::Error::other("standard output is closed"));
    }
    Ok(())
}
