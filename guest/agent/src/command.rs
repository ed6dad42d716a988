//! A command made ready before any fork: everything that its process needs is allocated here.

use std::ffi::CString;

use agentkernel_protocol::{Exec, Failure, FailureKind};

use crate::failure::failure;
use crate::identity::Identity;
use crate::raw::{PointerList, ScriptList};

/// Where execvp(3) looks without a PATH (confstr(3), _CS_PATH).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// A command, ready to become a process.
pub(crate) struct Command {
    pub(crate) arguments: PointerList,
    pub(crate) environment: PointerList,
    pub(crate) script: ScriptList,
    /// The files that the program may be, in the order they are tried.
    pub(crate) candidates: Vec<CString>,
    pub(crate) workdir: CString,
    pub(crate) identity: Identity,
    /// The bounding set it may keep.
    pub(crate) capabilities: u64,
}

impl Command {
    /// Checks a request and makes it ready.
    pub(crate) fn prepare(exec: &Exec, capabilities: u64) -> Result<Self, Failure> {
        let invalid = |what: &str| failure(FailureKind::Invalid, format!("{what} holds a NUL byte"));
        let text = |bytes: &[u8], what: &str| CString::new(bytes).map_err(|_| invalid(what));
        let program =
            exec.argv.first().ok_or_else(|| failure(FailureKind::Invalid, "the command is empty"))?;
        let mut arguments = Vec::with_capacity(exec.argv.len());
        for argument in &exec.argv {
            arguments.push(text(argument, "an argument")?);
        }
        let mut environment = Vec::with_capacity(exec.env.len());
        let mut path = None;
        for variable in &exec.env {
            if variable.name.is_empty() || variable.name.contains(&b'=') {
                return Err(failure(FailureKind::Invalid, "a variable's name is empty or holds '='"));
            }
            if variable.name.as_slice() == b"PATH" {
                path = Some(variable.value.as_slice());
            }
            environment
                .push(text(&[&variable.name, b"=".as_slice(), &variable.value].concat(), "a variable")?);
        }
        let mut candidates = Vec::new();
        for file in files(program, path.unwrap_or(DEFAULT_PATH)) {
            candidates.push(text(&file, "PATH")?);
        }
        let arguments = PointerList::new(arguments);
        Ok(Self {
            script: ScriptList::new(&arguments),
            arguments,
            environment: PointerList::new(environment),
            candidates,
            workdir: text(&exec.workdir, "the working directory")?,
            identity: Identity::resolve(exec.user.as_deref(), exec.group.as_deref())?,
            capabilities,
        })
    }

    /// What was asked for, for error messages.
    pub(crate) fn program(&self) -> String {
        self.arguments
            .strings()
            .first()
            .map(|program| program.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}

/// The files that `program` may be, as execvp(3) has it: itself with a slash in it, else one in each folder of `path`,
/// where an empty one is the working directory.
fn files(program: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    if program.is_empty() {
        return Vec::new();
    }
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    path.split(|byte| *byte == b':')
        .map(|folder| if folder.is_empty() { program.to_vec() } else { [folder, b"/", program].concat() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_searched_as_execvp_does() {
        assert_eq!(
            files(b"sh", b"/bin::/usr/bin"),
            [b"/bin/sh".to_vec(), b"sh".to_vec(), b"/usr/bin/sh".to_vec()]
        );
        assert_eq!(files(b"./sh", b"/bin"), [b"./sh".to_vec()]);
        assert!(files(b"", b"/bin").is_empty());
    }
}
