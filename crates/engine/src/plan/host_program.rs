//! Whether the host's own system can run a command: whether its program lies where image `host` shows it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use agentkernel_model::ByteString;

use super::environment::PATH;

/// The folders of the host that image `host` shows, with the links that merged systems have in their place.
const SHOWN: [&str; 6] = ["/usr", "/opt", "/bin", "/sbin", "/lib", "/lib64"];

/// What a program's name says about where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// The host has it, in a folder that the sandbox will see.
    OnHost,
    /// It is a path that starts in the working folder: a file of the project, which belongs to no image.
    InProject,
    /// Neither.
    Elsewhere,
}

/// Looks for `program` in the system's folders and in `tools`, which are shown too.
pub(super) fn whereabouts(program: &ByteString, tools: &[PathBuf]) -> Whereabouts {
    let name = Path::new(program.as_os_str());
    if program.as_bytes().contains(&b'/') {
        return match name.is_absolute() {
            false => Whereabouts::InProject,
            true if SHOWN.iter().any(|folder| name.starts_with(folder)) && name.is_file() => {
                Whereabouts::OnHost
            }
            true => Whereabouts::Elsewhere,
        };
    }
    let system = PATH.split(':').map(Path::new);
    let found = !name.as_os_str().as_bytes().is_empty()
        && tools.iter().map(PathBuf::as_path).chain(system).any(|folder| folder.join(name).is_file());
    if found { Whereabouts::OnHost } else { Whereabouts::Elsewhere }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_where_the_sandbox_will_see_them() {
        let tools = tempfile::tempdir().unwrap();
        std::fs::write(tools.path().join("mine"), "").unwrap();
        for (program, expected) in [
            ("sh", Whereabouts::OnHost),
            ("/bin/sh", Whereabouts::OnHost),
            ("mine", Whereabouts::OnHost),
            ("./build.sh", Whereabouts::InProject),
            ("scripts/x", Whereabouts::InProject),
            ("no-such-program-anywhere", Whereabouts::Elsewhere),
            ("/usr/no/such", Whereabouts::Elsewhere),
            ("/etc/passwd", Whereabouts::Elsewhere),
            ("", Whereabouts::Elsewhere),
        ] {
            assert_eq!(whereabouts(&program.into(), &[tools.path().to_owned()]), expected, "{program}");
        }
    }
}
