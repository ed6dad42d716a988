//! Why a request fails, on its way to the host.

use agentkernel_protocol::{Failure, FailureKind};
use rustix::io::Errno;

/// A failure of `kind`.
pub(crate) fn failure(kind: FailureKind, why: impl Into<String>) -> Failure {
    Failure { kind, why: why.into() }
}

/// What the kernel says, in its own words.
pub(crate) fn reason(error: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(error.raw_os_error()).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// The failure of a system call on something that has a name.
pub(crate) fn system(what: &str, error: Errno) -> Failure {
    let kind = match error {
        Errno::NOENT => FailureKind::NotFound,
        Errno::EXIST => FailureKind::AlreadyExists,
        Errno::NOTDIR | Errno::ISDIR | Errno::INVAL | Errno::NOTEMPTY | Errno::NAMETOOLONG | Errno::LOOP => {
            FailureKind::Invalid
        }
        Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE => FailureKind::NoRoom,
        _ => FailureKind::Other,
    };
    failure(kind, format!("{what}: {}", reason(error)))
}

/// [`system`] for an error of the standard library.
pub(crate) fn io(what: &str, error: &std::io::Error) -> Failure {
    match Errno::from_io_error(error) {
        Some(errno) => system(what, errno),
        None => failure(FailureKind::Other, format!("{what}: {error}")),
    }
}
