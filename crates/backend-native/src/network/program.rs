//! Running a program of the system for a moment.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use agentkernel_sys::{companion, process};
use rustix::fs::MemfdFlags;

use super::NetworkError;

/// Where programs of the system are looked for: a caller's PATH must not choose what runs as root.
const FOLDERS: [&str; 6] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
/// How much of a failed program's words is passed on.
const MESSAGE_BYTES: u64 = 2048;

/// The path of the program `name`.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// Runs `path` with `input` on its standard input, which must be shorter than a pipe holds, and an empty environment.
/// Killed when it takes longer than `limit`.
pub(super) fn run(
    path: &Path,
    arguments: &[&str],
    input: &[u8],
    action: &'static str,
    limit: Duration,
) -> Result<(), NetworkError> {
    let failed = |source| NetworkError::Program { path: path.to_owned(), source };
    let stdin = scratch().and_then(|mut file| {
        file.write_all(input)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    });
    let output = scratch().map_err(failed)?;
    let mut child = Command::new(path)
        .args(arguments)
        .env_clear()
        .stdin(stdin.map_err(failed)?)
        .stdout(Stdio::null())
        .stderr(output.try_clone().map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    let ended = companion::open_process(child.id())
        .and_then(|pidfd| pidfd.map_or(Ok(true), |pidfd| process::wait_ended(&pidfd, Some(limit))));
    if !matches!(ended, Ok(true)) {
        child.kill().map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    match (ended.map_err(failed)?, status.success()) {
        (true, true) => Ok(()),
        (true, false) => {
            Err(NetworkError::ProgramFailed { path: path.to_owned(), action, message: words(output) })
        }
        (false, _) => Err(NetworkError::ProgramHung { path: path.to_owned(), seconds: limit.as_secs() }),
    }
}

/// A file without a name, in memory.
pub(super) fn scratch() -> std::io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create("agentkernel", MemfdFlags::CLOEXEC)?))
}

/// What a program wrote, on one line, cut to a bearable length.
pub(super) fn words(mut output: File) -> String {
    let mut bytes = Vec::new();
    let read =
        output.seek(SeekFrom::Start(0)).and_then(|_| output.take(MESSAGE_BYTES).read_to_end(&mut bytes));
    match (read, String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ")) {
        (Err(_), _) => "its words could not be read".to_owned(),
        (Ok(_), words) if words.is_empty() => "it said nothing".to_owned(),
        (Ok(_), words) => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_program_s_words_and_a_hang_ends() {
        let shell = Path::new("/bin/sh");
        let second = Duration::from_secs(5);
        run(shell, &["-c", "read line; test \"$line\" = hello"], b"hello\n", "test", second).unwrap();
        let error =
            run(shell, &["-c", "echo no such >&2; echo rule >&2; exit 3"], b"", "test", second).unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh failed to test: no such rule");
        let hang = run(shell, &["-c", "exec sleep 60"], b"", "test", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(hang, NetworkError::ProgramHung { .. }), "{hang}");
    }
}
