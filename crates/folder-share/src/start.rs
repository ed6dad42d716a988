//! Starting a share's process.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use agentkernel_sys::process::Child;
use agentkernel_sys::steps::{Failure, Program, Step};

use crate::jail::{EXECUTABLE, FAILURES, Given, Jail};
use crate::process::Order;

/// The bytes of what tells the guest's agent from whoever else is in its machine.
pub const TOKEN_BYTES: usize = 32;

/// A program that calls [`crate::share_main`] when it is started with these arguments. Static, since its root has no
/// libraries, and executable for whose folders are shared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShareProgram {
    /// Where it is.
    pub path: PathBuf,
    /// The arguments behind its name.
    pub arguments: Vec<OsString>,
}

/// What is shared, and with whom.
#[derive(Debug)]
pub struct ShareSpec<'a> {
    /// A folder or a regular file: an absolute path without links. One that became a link is refused.
    pub source: PathBuf,
    /// Whether it can only be read.
    pub read_only: bool,
    /// A listening unix socket, on which the machine's VMM connects for the guest. Exactly one connection is taken.
    pub listener: BorrowedFd<'a>,
    /// What the guest says first.
    pub token: [u8; TOKEN_BYTES],
}

/// Why a folder can't be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// Neither a folder nor a file.
    #[error("{} is neither a folder nor a regular file", path.display())]
    Kind {
        /// Where it is.
        path: PathBuf,
    },
    /// The jail can't be built.
    #[error("share {}: {step}", path.display())]
    Jail {
        /// What was to be shared.
        path: PathBuf,
        /// What failed.
        step: String,
        /// Why.
        source: io::Error,
    },
    /// Something else failed.
    #[error("share {}: {action}", path.display())]
    Start {
        /// What was to be shared.
        path: PathBuf,
        /// What was done.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// A share's process. Once its guest has connected it lives until the guest has gone, whoever else ends; before that, until
/// `waits` is dropped.
#[derive(Debug)]
pub struct Share {
    /// The process, to be reaped.
    pub child: Child,
    /// Whether it is a folder, and not a file.
    pub is_folder: bool,
    /// As long as this is held, the process waits for its guest.
    pub waits: io::PipeWriter,
}

impl Share {
    /// Starts it. When this returns, the jail stands and the program runs, or nothing is left.
    ///
    /// # Errors
    /// [`ShareError`], with the step of the jail that failed.
    pub fn start(program: &ShareProgram, spec: &ShareSpec<'_>) -> Result<Self, ShareError> {
        let path = || spec.source.clone();
        let failed = |action| move |source| ShareError::Start { path: path(), action, source };
        let found = std::fs::symlink_metadata(&spec.source).map_err(failed("look at it"))?;
        if !found.is_dir() && !found.is_file() {
            return Err(ShareError::Kind { path: path() });
        }
        let is_root = rustix::process::geteuid().is_root();
        let jail = Jail {
            source: &spec.source,
            is_folder: found.is_dir(),
            read_only: spec.read_only,
            becomes: is_root.then(|| (found.uid(), found.gid())),
        };
        let executable = File::open(&program.path).map_err(failed("open the program that serves it"))?;
        let (order, mut waits) = io::pipe().map_err(failed("make a pipe"))?;
        let (wait, mut go) = io::pipe().map_err(failed("make a pipe"))?;
        let (failures, report) = io::pipe().map_err(failed("make a pipe"))?;
        let given = Given {
            listener: spec.listener,
            order: order.as_fd(),
            report: report.as_fd(),
            executable: executable.as_fd(),
        };
        let mut steps = vec![Step::AwaitGo(wait.as_raw_fd())];
        steps.extend(jail.steps(&given).map_err(failed("describe its jail"))?);
        let arguments = arguments(program).map_err(failed("describe its program"))?;
        let program = Program::new(steps, EXECUTABLE, arguments, FAILURES);
        let child = program
            .spawn(jail.namespaces(), None, report.as_raw_fd())
            .map_err(failed("make the namespaces of its jail"))?;
        drop((wait, report, order));
        let order = Order { read_only: spec.read_only, token: spec.token };
        let begun = jail
            .map_users(&child)
            .and_then(|()| waits.write_all(&order.encode()))
            .and_then(|()| go.write_all(b"g"))
            .map_err(failed("begin"))
            .and_then(|()| {
                jailed(failures, &program).map_err(|(step, source)| ShareError::Jail {
                    path: path(),
                    step,
                    source,
                })
            });
        match begun {
            Ok(()) => Ok(Self { child, is_folder: found.is_dir(), waits }),
            Err(error) => {
                child.kill().and_then(|()| child.reap()).map_err(failed("end what failed to start"))?;
                Err(error)
            }
        }
    }
}

fn arguments(program: &ShareProgram) -> io::Result<Vec<CString>> {
    let name = program.path.file_name().unwrap_or(program.path.as_os_str()).to_owned();
    let all = std::iter::once(name).chain(program.arguments.iter().cloned());
    Ok(all.map(|argument| CString::new(argument.into_vec())).collect::<Result<_, _>>()?)
}

/// Waits until the jail stands: the pipe closes by itself when the program is executed. Nothing but the host's own is waited
/// for.
fn jailed(mut failures: io::PipeReader, program: &Program) -> Result<(), (String, io::Error)> {
    let mut bytes = Vec::new();
    failures.read_to_end(&mut bytes).map_err(|error| ("wait for its jail".to_owned(), error))?;
    let Some(Failure { step, errno }) = Failure::decode(&bytes) else { return Ok(()) };
    let step = program.steps().get(step).map_or("execute its program".to_owned(), Step::to_string);
    Err((step, errno.into()))
}
