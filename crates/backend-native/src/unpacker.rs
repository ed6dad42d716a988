//! Layers of images for users with subordinate ids: unpacked by a process of ours in a user namespace with the same ids as
//! boxes, so that every file belongs to whom it belongs inside.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use agentkernel_image::{ImageError, UnpackReport, UnpackRequest, Unpacker};
use agentkernel_sys::process::Namespaces;
use agentkernel_sys::steps::{Descriptor, Failure, Origin, Program, Step};
use rustix::fs::MemfdFlags;

use crate::identity::IdMap;
use crate::layout::c_string;

/// Numbers of the process's descriptors.
const OUTPUT: i32 = 1;
const ERRORS: i32 = 2;
const PROGRAM: i32 = 3;
const FAILURES: i32 = 4;

/// The most that is read of what it says.
const MOST_BYTES: u64 = 64 << 10;

/// Runs `<program> internal-unpack ...`.
#[derive(Debug)]
pub(crate) struct NamespaceUnpacker {
    map: IdMap,
    program: PathBuf,
}

impl NamespaceUnpacker {
    /// `program` understands `internal-unpack` as `agentkernel` does.
    pub(crate) fn new(map: IdMap, program: PathBuf) -> Self {
        Self { map, program }
    }

    /// Runs it as root of its own namespace; what it printed.
    fn run(&self, arguments: Vec<OsString>) -> io::Result<String> {
        let program = File::open(&self.program)?;
        let (wait, go) = io::pipe()?;
        let (mut failures, report) = io::pipe()?;
        // Files and not pipes: whatever it says, it never waits for us to read it.
        let anonymous = || rustix::fs::memfd_create("unpack", MemfdFlags::CLOEXEC).map(File::from);
        let (output, errors) = (anonymous()?, anonymous()?);
        let place =
            |file: i32, to, close_on_exec| Descriptor { from: Origin::Parent(file), to, close_on_exec };
        let steps = vec![
            Step::AwaitGo(wait.as_raw_fd()),
            Step::BecomeRoot { drop_groups: true },
            Step::DieWithParent,
            Step::Descriptors(vec![
                place(output.as_raw_fd(), OUTPUT, false),
                place(errors.as_raw_fd(), ERRORS, false),
                place(program.as_raw_fd(), PROGRAM, true),
                place(report.as_raw_fd(), FAILURES, true),
            ]),
        ];
        let verb = ["agentkernel".into(), "internal-unpack".into()];
        let arguments: Vec<CString> = verb.into_iter().chain(arguments).map(c_string).collect();
        let unpack = Program::new(steps, PROGRAM, arguments, FAILURES);
        let child = unpack.spawn(Namespaces::USER, None, report.as_raw_fd())?;
        drop((wait, report));
        let let_go = self.map.write(&child).and_then(|()| io::Write::write_all(&mut &go, b"g"));
        drop(go);
        let mut bytes = Vec::new();
        failures.read_to_end(&mut bytes)?;
        child.reap()?;
        let_go?;
        if let Some(failure) = Failure::decode(&bytes) {
            return Err(failure.errno.into());
        }
        let said = read(output)?;
        match said.trim().is_empty() {
            false => Ok(said),
            true => Err(io::Error::other(read(errors)?.trim().to_owned())),
        }
    }
}

fn read(mut file: File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> ImageError {
    move |source| ImageError::Io { action, path: path.to_owned(), source }
}

impl Unpacker for NamespaceUnpacker {
    fn kind(&self) -> String {
        self.map.kind()
    }

    fn unpack(&self, request: &UnpackRequest) -> Result<UnpackReport, ImageError> {
        let failed = failed("unpack a layer into", &request.target);
        let said = self.run(request.to_arguments()).map_err(&failed)?;
        serde_json::from_str(&said).map_err(|error| failed(error.into()))
    }

    fn remove(&self, folder: &Path) -> Result<(), ImageError> {
        self.run(UnpackRequest::removal_arguments(folder)).map(drop).map_err(failed("remove", folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacker(program: &str) -> Option<NamespaceUnpacker> {
        if !rustix::process::geteuid().is_root() || !Path::new(program).exists() {
            println!(
                "SKIPPED: only root can try it without subordinate ids of its own, and {program} must be there"
            );
            return None;
        }
        Some(NamespaceUnpacker::new(IdMap::own().unwrap(), program.into()))
    }

    #[test]
    fn it_is_told_everything_and_what_it_complains_of_is_the_error() {
        let Some(echo) = unpacker("/bin/echo") else { return };
        let said = echo.run(UnpackRequest::removal_arguments(Path::new("/some/folder"))).unwrap();
        assert_eq!(said, "internal-unpack remove /some/folder\n");
        let Some(shell) = unpacker("/bin/sh") else { return };
        // The shell takes the verb for its script.
        let folder = tempfile::tempdir().unwrap();
        let error = shell.remove(folder.path()).unwrap_err().to_string();
        assert!(error.contains("internal-unpack"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let unpacker = NamespaceUnpacker::new(IdMap::own().unwrap(), "/no/such/program".into());
        assert!(unpacker.remove(Path::new("/x")).is_err());
    }
}
