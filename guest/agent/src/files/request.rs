//! Requests to what serves them.

use agentkernel_protocol::{Event, Failure, FailureKind, Request};

use super::{content, folder, processes, tar_in, tar_out};
use crate::failure::failure;
use crate::worker::Pipes;

/// Serves `request`; the answer is the last one.
pub(crate) fn perform(pipes: &Pipes, request: Request) -> Result<Event, Failure> {
    match request {
        Request::ReadFile { path } => content::read(pipes, &path),
        Request::WriteFile { path, mode } => content::write(pipes, &path, mode),
        Request::Stat { path } => folder::stat(&path),
        Request::List { path } => folder::list(pipes, &path),
        Request::Remove { path, recursive } => folder::remove(&path, recursive),
        Request::MakeDir { path, mode } => folder::make(&path, mode),
        Request::TarOut { path } => tar_out::pack(pipes, &path),
        Request::TarIn { path } => tar_in::unpack(pipes, &path),
        Request::Processes => processes::list(pipes),
        _ => Err(failure(FailureKind::Invalid, "this is not for a worker")),
    }
}
