//! Starting a process of a machine: without a shell or an environment, with no descriptor but its own, in a session of its
//! own, and let go only once it is noted and, where it must not outlive its owner, watched.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use agentkernel_sys::companion;
use agentkernel_sys::mount::MountAttributes;
use agentkernel_sys::process::Namespaces;
use agentkernel_sys::rlimit::Limit;
use agentkernel_sys::steps::{Descriptor, Failure, Origin, Program, Step};

use super::process::Process;
use super::room::Room;
use super::{Owner, Site, VmmError};

/// Numbers of the new process's descriptors.
const OUTPUT: RawFd = 1;
const ERRORS: RawFd = 2;
/// What it holds open for another's sake, where it does.
pub(super) const HELD: RawFd = 3;
const FAILURES: RawFd = 4;
const EXECUTABLE: RawFd = 5;

/// A VMM opens some files per device and connection.
const OPEN_FILES: u32 = 4096;

/// A process to start.
pub(super) struct Launch<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: Vec<String>,
    pub(super) site: &'a Site,
    pub(super) room: &'a Room,
    /// Who it becomes; `None` where it stays who we are, or does that itself.
    pub(super) becomes: Option<Owner>,
    /// Groups that it has besides, for devices.
    pub(super) groups: Vec<u32>,
    /// Its standard output and error.
    pub(super) output: BorrowedFd<'a>,
    /// Stays open in it as long as it lives.
    pub(super) held: Option<BorrowedFd<'a>>,
    /// It is killed when this has no more writers; the reading end of a pipe.
    pub(super) ends_with: Option<BorrowedFd<'a>>,
}

impl Launch<'_> {
    /// Starts it. `before_go` is called with the process while nothing of its program has run yet.
    pub(super) fn start(
        self,
        before_go: impl FnOnce(&Process) -> Result<(), VmmError>,
    ) -> Result<Process, VmmError> {
        let name = self.name();
        let failed = |action: &str| VmmError::prepare(format!("{action} {name}"));
        let executable = File::open(self.program)
            .map_err(|source| VmmError::NoProgram { program: self.program.to_owned(), source })?;
        let (wait, go) = io::pipe().map_err(failed("make a pipe for"))?;
        let (mut failures, report) = io::pipe().map_err(failed("make a pipe for"))?;
        let mut steps = vec![Step::AwaitGo(wait.as_raw_fd())];
        steps.extend(self.steps(&executable, report.as_raw_fd()).map_err(failed("describe"))?);
        let arguments: Vec<CString> = [name.clone()]
            .into_iter()
            .chain(self.arguments.iter().cloned())
            .map(CString::new)
            .collect::<Result<_, _>>()
            .map_err(|error| failed("describe")(error.into()))?;
        let program = Program::new(steps, EXECUTABLE, arguments, FAILURES);
        let namespaces = match self.room.mounts().is_empty() {
            true => Namespaces::NONE,
            false => Namespaces::MOUNT,
        };
        let birth = self.site.cgroup_birth.as_ref().map(std::os::fd::AsFd::as_fd);
        let child = program.spawn(namespaces, birth, report.as_raw_fd()).map_err(failed("start"))?;
        drop((wait, report));
        let process = Process::of_child(&name, child).map_err(failed("refer to"))?;
        let watched = match self.ends_with {
            Some(life) => companion::end_with(life, process.pidfd().as_fd()).map_err(failed("watch")),
            None => Ok(()),
        };
        let gone = watched.and_then(|()| before_go(&process)).and_then(|()| {
            (&go).write_all(b"g").map_err(failed("let go"))?;
            await_program(&mut failures, &program, &name, self.program)
        });
        match gone {
            Ok(()) => Ok(process),
            Err(error) => {
                process.end().map_err(failed("end"))?;
                Err(error)
            }
        }
    }

    fn name(&self) -> String {
        self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned()
    }

    fn steps(&self, executable: &File, report: RawFd) -> io::Result<Vec<Step>> {
        let mut steps = vec![Step::NewSession];
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
        let entries = self.site.cgroup_entries.iter().map(|path| text(path));
        steps.push(Step::EnterCgroups(entries.collect::<io::Result<_>>()?));
        if !self.room.mounts().is_empty() {
            steps.push(Step::PrivateMounts);
        }
        for placed in self.room.mounts() {
            let attributes = match placed.read_only {
                true => MountAttributes::PLAIN.no_exec().read_only(),
                false => MountAttributes::PLAIN.no_exec(),
            };
            steps.push(Step::CloneTree { slot: 0, source: text(&placed.source)?, attributes });
            steps.push(Step::Attach { slot: 0, target: text(&placed.target)? });
        }
        if let Some(namespace) = &self.site.network_namespace {
            steps.push(Step::EnterNetwork(namespace.as_raw_fd()));
        }
        steps.push(Step::WorkingFolder(text(self.room.path())?));
        let descriptor =
            |from: RawFd, to, close_on_exec| Descriptor { from: Origin::Parent(from), to, close_on_exec };
        let mut descriptors = vec![
            descriptor(self.output.as_raw_fd(), OUTPUT, false),
            descriptor(self.output.as_raw_fd(), ERRORS, false),
            descriptor(report, FAILURES, true),
            descriptor(executable.as_raw_fd(), EXECUTABLE, true),
        ];
        descriptors.extend(self.held.map(|held| descriptor(held.as_raw_fd(), HELD, false)));
        steps.push(Step::Descriptors(descriptors));
        steps.push(Step::ResourceLimit(Limit::NO_CORE_DUMPS));
        steps.push(Step::ResourceLimit(Limit::open_files(OPEN_FILES)));
        if let Some(Owner { user, group }) = self.becomes {
            steps.push(Step::BecomeUser { user, group, groups: self.groups.clone() });
        }
        steps.push(Step::NoNewPrivileges);
        Ok(steps)
    }
}

/// The pipe closes by itself when the program is executed; what comes before is a failure. That takes a millisecond, and
/// nothing that is not the host's own is waited for.
fn await_program(
    failures: &mut io::PipeReader,
    program: &Program,
    name: &str,
    path: &Path,
) -> Result<(), VmmError> {
    let mut bytes = Vec::new();
    failures.read_to_end(&mut bytes).map_err(VmmError::prepare(format!("wait for {name}")))?;
    let Some(Failure { step, errno }) = Failure::decode(&bytes) else { return Ok(()) };
    match program.steps().get(step) {
        Some(step) => {
            Err(VmmError::Prepare { action: format!("start {name}: {step}"), source: errno.into() })
        }
        None => Err(VmmError::NoProgram { program: path.to_owned(), source: errno.into() }),
    }
}

/// What a machine's life hangs on: as long as somebody holds it, the processes that end with it live.
pub(super) struct Lifeline {
    /// For the watchers.
    pub(super) life: io::PipeReader,
    /// For the owner.
    pub(super) holder: OwnedFd,
}

impl Lifeline {
    pub(super) fn new() -> Result<Self, VmmError> {
        let (life, holder) = io::pipe().map_err(VmmError::prepare("make a pipe for a machine's life"))?;
        Ok(Self { life, holder: holder.into() })
    }
}
