//! A hint after a command failed for a reason that a flag would have helped against.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkernel_config::Environment;
use agentkernel_model::{ByteString, exit_code as codes};

/// A command that died of SIGKILL, as a shell shows it.
const KILLED: u8 = 128 + 9;

/// What was run, and how it was run.
pub(crate) struct Attempt<'a> {
    /// The command.
    pub(crate) argv: &'a [ByteString],
    /// Its exit code.
    pub(crate) exit_code: u8,
    /// Whether tool folders of the home were shown.
    pub(crate) toolchains: bool,
    /// Whether the current folder was shown.
    pub(crate) sees_cwd: bool,
    /// Its `--timeout`.
    pub(crate) timeout: Option<Duration>,
}

/// One line, or nothing.
pub(crate) fn hint(attempt: &Attempt<'_>, environment: &Environment) -> Option<String> {
    if attempt.exit_code == 0 {
        return None;
    }
    let program = attempt.argv.first()?.as_os_str();
    if attempt.exit_code == codes::NOT_FOUND
        && !attempt.toolchains
        && let Some(found) = in_home(program, environment)
    {
        return Some(format!(
            "hint: {} is on this machine: --toolchains shows the tool folders of your home read-only",
            found.display()
        ));
    }
    if let (codes::TIMED_OUT, Some(timeout)) = (attempt.exit_code, attempt.timeout) {
        return Some(format!(
            "hint: it was killed because its --timeout of {} passed",
            humantime::format_duration(timeout)
        ));
    }
    if attempt.exit_code == KILLED {
        return Some(
            "hint: SIGKILL ended it, which is how a sandbox runs out of memory: --memory gives it more"
                .to_owned(),
        );
    }
    if attempt.sees_cwd {
        return None;
    }
    let file = attempt.argv.iter().map(ByteString::as_os_str).find(|text| is_in(&environment.cwd, text))?;
    Some(format!(
        "hint: the sandbox doesn't see the current folder, where {} is: add --mount-cwd, or --mount-cwd=ro to read only",
        Path::new(file).display()
    ))
}

/// The program, where the host's PATH finds it below the home folder.
fn in_home(program: &OsStr, environment: &Environment) -> Option<PathBuf> {
    let home = environment.home.as_deref()?;
    if program.is_empty() || Path::new(program).components().count() != 1 {
        return None;
    }
    let found =
        environment.path_dirs().into_iter().map(|dir| dir.join(program)).find(|path| path.is_file())?;
    found.starts_with(home).then_some(found)
}

/// Whether `text` is a relative path to something in `folder`.
fn is_in(folder: &Path, text: &OsStr) -> bool {
    let path = Path::new(text);
    !text.is_empty()
        && path.is_relative()
        && !text.as_encoded_bytes().starts_with(b"-")
        && folder.join(path).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(cwd: &Path) -> Environment {
        Environment {
            cwd: cwd.to_owned(),
            home: Some(cwd.to_owned()),
            user: None,
            uid: 1000,
            vars: vec![("PATH".into(), cwd.join("bin").into())],
            interactive_stdin: false,
            interactive_stdout: false,
            interactive_stderr: false,
        }
    }

    #[test]
    fn each_hint_has_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        std::fs::write(dir.path().join("bin/cargo"), "").unwrap();
        std::fs::write(dir.path().join("script.py"), "").unwrap();
        let environment = environment(dir.path());
        let ask = |argv: &[&str], exit_code, toolchains, sees_cwd| {
            let argv: Vec<ByteString> = argv.iter().map(|text| (*text).into()).collect();
            let timeout = Some(Duration::from_millis(1500));
            hint(&Attempt { argv: &argv, exit_code, toolchains, sees_cwd, timeout }, &environment)
        };
        assert!(ask(&["cargo", "build"], 127, false, false).unwrap().contains("--toolchains"));
        assert_eq!(ask(&["cargo", "build"], 127, true, false), None);
        assert!(ask(&["python3", "script.py"], 2, false, false).unwrap().contains("--mount-cwd"));
        assert_eq!(ask(&["python3", "script.py"], 2, false, true), None);
        assert_eq!(ask(&["python3", "script.py"], 0, false, false), None);
        assert_eq!(ask(&["python3", "other.py"], 2, false, false), None);
        assert_eq!(
            ask(&["make"], 124, false, true).unwrap(),
            "hint: it was killed because its --timeout of 1s 500ms passed"
        );
        assert!(ask(&["make"], 137, false, true).unwrap().contains("--memory"));
    }
}
