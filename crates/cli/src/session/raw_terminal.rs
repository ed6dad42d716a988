//! The user's terminal while a terminal inside is shown in it. It is always put back: on return, on error and on panic.

use std::io;
use std::sync::Mutex;

use agentkernel_model::TtySize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// What the terminal was before, while it is raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A raw terminal on standard input; dropping it puts the terminal back.
pub(crate) struct RawTerminal(());

impl RawTerminal {
    /// Makes the terminal of standard input raw, so that each key, Ctrl-C included, goes to the command.
    pub(crate) fn enter() -> io::Result<Self> {
        let stdin = rustix::stdio::stdin();
        let before = tcgetattr(stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(before);
        tcsetattr(stdin, OptionalActions::Now, &raw)?;
        Ok(Self(()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Puts the terminal back if it is raw. Also called from the panic hook, because a release build aborts without
/// dropping anything.
pub(crate) fn restore_terminal() {
    let before = BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    if let Some(before) = before
        && let Err(error) = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before)
    {
        // The terminal itself is gone (a closed window): there is nothing left to restore.
        tracing::debug!(%error, "the terminal could not be restored");
    }
}

/// The size of the terminal on standard input, output or error, whichever is one.
pub(crate) fn terminal_size() -> Option<TtySize> {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
        .into_iter()
        .find_map(|fd| tcgetwinsize(fd).ok())
        .map(|size| TtySize { rows: size.ws_row.max(1), columns: size.ws_col.max(1) })
}
