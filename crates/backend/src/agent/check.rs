//! What the agent sends, turned into what the host believes: checked, or an error that names what is wrong with it.

use std::time::Duration;

use agentkernel_model::{ByteString, CannotExec, ExecId, ExecRequest, Outcome, Signal};
use agentkernel_protocol::{
    ConnectionError, Entry, EntryKind, Event, ExecutionEntry, Failure, FailureKind, ProcessEntry, State,
};

use crate::{BackendError, ExecutionInfo, ExecutionState, FileInfo, FileKind, ProcessInfo};

/// The longest text for people that is believed.
const MAX_TEXT: usize = 1000;

/// The longest name of a file (NAME_MAX).
const MAX_NAME: usize = 255;

/// The most of a command line that a list shows.
const MAX_COMMAND: usize = 16 * 1024;

/// A [`BackendError::HostileGuest`].
pub(super) fn hostile(what: impl Into<String>) -> BackendError {
    BackendError::HostileGuest { what: what.into() }
}

/// The end of a connection: either the box is gone, or it broke the rules.
pub(super) fn connection(error: ConnectionError) -> BackendError {
    match error {
        ConnectionError::Closed => BackendError::BoxEnded { why: "its agent is gone".to_owned() },
        ConnectionError::Dropped => {
            BackendError::BoxEnded { why: "the connection to it was closed".to_owned() }
        }
        ConnectionError::Io { why } => BackendError::BoxEnded { why },
        ConnectionError::TooManyChannels | ConnectionError::RequestTooLong => {
            BackendError::Invalid { what: format!("the request is too large for the sandbox: {error}") }
        }
        ConnectionError::Version { .. } => {
            BackendError::Invalid { what: format!("{error}: stop the sandbox and start it again") }
        }
        other => hostile(other.to_string()),
    }
}

/// An answer where none of its kind is expected.
pub(super) fn unexpected(event: Option<Event>) -> BackendError {
    match event {
        Some(Event::Failed(failure)) => failed("the request", failure),
        Some(_) => hostile("an answer to another question"),
        None => hostile("no answer"),
    }
}

/// Text from a box on a terminal: short, and without control characters.
fn plain(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// Why a request failed; `what` is its object.
pub(super) fn failed(what: &str, failure: Failure) -> BackendError {
    let why = plain(&failure.why);
    match failure.kind {
        FailureKind::NotFound => BackendError::NotFound { what: what.to_owned() },
        FailureKind::AlreadyExists => BackendError::AlreadyExists { what: what.to_owned() },
        FailureKind::Invalid => BackendError::Invalid { what: format!("{what}: {why}") },
        FailureKind::NoRoom => BackendError::CannotExec(CannotExec::NoRoom { why }),
        FailureKind::CommandNotFound
        | FailureKind::NotExecutable
        | FailureKind::Workdir
        | FailureKind::User
        | FailureKind::Other => BackendError::runtime(format!("do {what} in the sandbox"), why),
    }
}

/// Why a command didn't start.
pub(super) fn cannot_exec(request: &ExecRequest, failure: Failure) -> BackendError {
    let program = request.argv.first().cloned().unwrap_or_default();
    let why = plain(&failure.why);
    let user = || request.user.as_ref().map_or_else(|| "root".to_owned(), ToString::to_string);
    BackendError::CannotExec(match failure.kind {
        FailureKind::CommandNotFound => CannotExec::NotFound { program },
        FailureKind::NotExecutable => CannotExec::NotExecutable { program, why },
        FailureKind::Workdir => CannotExec::Workdir { path: request.workdir.clone(), why },
        FailureKind::User => CannotExec::User { user: user(), why },
        FailureKind::NoRoom => CannotExec::NoRoom { why },
        _ => return failed("the command", failure),
    })
}

/// How a command ended.
pub(super) fn outcome(state: State) -> Result<Outcome, BackendError> {
    match execution_state(state)? {
        ExecutionState::Ended(outcome) => Ok(outcome),
        ExecutionState::Running => Err(hostile("a command's end while it runs")),
    }
}

/// Where a command is.
pub(super) fn execution_state(state: State) -> Result<ExecutionState, BackendError> {
    let signal = |number| Signal::try_from(number).map_err(|_| hostile(format!("signal {number}")));
    Ok(match state {
        State::Running => ExecutionState::Running,
        State::Exited(code) => ExecutionState::Ended(Outcome::Exited(code)),
        State::Signaled(number) => ExecutionState::Ended(Outcome::Signaled(signal(number)?)),
        State::TimedOut => ExecutionState::Ended(Outcome::TimedOut),
        // Nobody saw the status; what lets a process and its supervisor vanish together is SIGKILL.
        State::Lost => ExecutionState::Ended(Outcome::Signaled(Signal::KILL)),
    })
}

/// The id of a command.
pub(super) fn exec_id(id: String) -> Result<ExecId, BackendError> {
    let shown = plain(&id);
    id.try_into().map_err(|_| hostile(format!("the execution id {shown:?}")))
}

/// One command of a list.
pub(super) fn execution(entry: ExecutionEntry) -> Result<ExecutionInfo, BackendError> {
    if entry.argv.iter().map(|argument| argument.len()).sum::<usize>() > MAX_COMMAND {
        return Err(hostile("a command line that is too long"));
    }
    Ok(ExecutionInfo {
        id: exec_id(entry.id)?,
        argv: entry.argv.into_iter().map(|argument| ByteString(argument.into())).collect(),
        pid: entry.pid,
        detached: entry.detached,
        state: execution_state(entry.state)?,
        age: Duration::from_millis(entry.age_ms),
    })
}

/// One process of a list.
pub(super) fn process(entry: ProcessEntry) -> Result<ProcessInfo, BackendError> {
    if !entry.state.is_ascii_alphabetic() {
        return Err(hostile(format!("the process state {}", entry.state)));
    }
    if entry.command.len() > MAX_COMMAND {
        return Err(hostile("a command line that is too long"));
    }
    Ok(ProcessInfo {
        pid: entry.pid,
        parent: entry.parent,
        uid: entry.uid,
        state: char::from(entry.state),
        resident_bytes: entry.resident_bytes,
        cpu_time: Duration::from_millis(entry.cpu_ms),
        command: ByteString(entry.command.into()),
    })
}

/// One file.
pub(super) fn file(entry: Entry) -> Result<FileInfo, BackendError> {
    let name: Vec<u8> = entry.name.into();
    let is_component =
        !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0);
    if !is_component || name.len() > MAX_NAME {
        return Err(hostile(format!("the file name {:?}", plain(&String::from_utf8_lossy(&name)))));
    }
    if entry.mode > 0o7777 {
        return Err(hostile(format!("the file mode {:o}", entry.mode)));
    }
    if entry.size > i64::MAX as u64 {
        return Err(hostile(format!("the file size {}", entry.size)));
    }
    Ok(FileInfo {
        name: ByteString(name),
        kind: match entry.kind {
            EntryKind::File => FileKind::File,
            EntryKind::Directory => FileKind::Directory,
            EntryKind::Symlink => FileKind::Symlink,
            EntryKind::Other => FileKind::Other,
        },
        size: entry.size,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        modified: entry.modified,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], mode: u32, size: u64) -> Entry {
        let name = name.to_vec().into();
        Entry { name, kind: EntryKind::File, size, mode, uid: 0, gid: 0, modified: 0 }
    }

    #[test]
    fn names_that_are_paths_are_refused() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"/etc", b"a\0", &[b'a'; 256]] {
            assert!(matches!(file(entry(bad, 0o644, 1)), Err(BackendError::HostileGuest { .. })), "{bad:?}");
        }
        assert!(file(entry(b"\xff ok", 0o644, 1)).is_ok());
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(file(entry(b"a", 0o10000, 1)).is_err());
        assert!(file(entry(b"a", 0o644, u64::MAX)).is_err());
        assert!(outcome(State::Signaled(65)).is_err());
        assert!(outcome(State::Running).is_err());
        assert!(exec_id("../x".to_owned()).is_err());
    }

    #[test]
    fn text_from_a_box_cannot_move_the_cursor() {
        let failure = Failure { kind: FailureKind::Other, why: "\x1b[2Jgone\n".to_owned() };
        let text = std::error::Error::source(&failed("x", failure)).unwrap().to_string();
        assert_eq!(text, "?[2Jgone?");
    }
}
