//! The agent as a file that boxes can be started from.

use std::fs::Permissions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The agent's program file.
pub static AGENT: &[u8] = include_bytes!(env!("AGENTKERNEL_AGENT_BINARY"));

/// Its permissions once it is complete.
const MODE: u32 = 0o555;

/// How long a file may stay busy after it was written.
const BUSY: Duration = Duration::from_secs(10);

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(1);

/// Threads of one process write the same file.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Why the agent could not be put in place.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}: {source}", path.display())]
pub struct InstallError {
    action: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// A name for the content, made when it was built: another version is another file, so that boxes that run keep theirs.
pub const FILE_NAME: &str = env!("AGENTKERNEL_AGENT_FILE_NAME");

/// Puts the agent into `dir`, which is made where it is missing, and returns the file's path. Cheap where it is there
/// already: one stat(2). Several processes and threads may do so at once. The file can be executed when this returns.
pub fn install(dir: &Path) -> Result<PathBuf, InstallError> {
    let path = dir.join(FILE_NAME);
    if is_complete(&path) {
        return Ok(path);
    }
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if is_complete(&path) {
        return Ok(path);
    }
    let fail = |action, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError { action, path, source }
    };
    std::fs::create_dir_all(dir).map_err(fail("make the folder", dir))?;
    let fresh = dir.join(format!("{FILE_NAME}.{}", std::process::id()));
    let remove_half = |error: InstallError| {
        // The error is what matters; a half file is not used and is replaced by the next try of the same process.
        std::fs::remove_file(&fresh).ok();
        error
    };
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(fail("replace", &fresh)(error));
        }
        _ => {}
    }
    let written = std::fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(&fresh).and_then(
        |mut file| {
            file.write_all(AGENT)?;
            // Whatever the caller's umask: root of a box is somebody else outside, and executes it.
            file.set_permissions(Permissions::from_mode(MODE))?;
            file.sync_all()
        },
    );
    written.map_err(fail("write", &fresh)).map_err(remove_half)?;
    await_writers(&fresh).map_err(fail("execute", &fresh)).map_err(remove_half)?;
    std::fs::rename(&fresh, &path).map_err(fail("put in place", &path)).map_err(remove_half)?;
    Ok(path)
}

/// Waits until nobody has `file` open for writing: as long as anybody does, it can't be executed (execve(2), ETXTBSY). This
/// process has closed it, but a child that another thread has forked meanwhile holds it until it executes something or
/// ends. Once it has its name, nobody ever opens it for writing again.
fn await_writers(file: &Path) -> std::io::Result<()> {
    let deadline = Instant::now() + BUSY;
    loop {
        // Without arguments it has nothing to do and ends.
        let mut command = Command::new(file);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                if Instant::now() > deadline {
                    return Err(error);
                }
                // sleep: nothing tells when the last writer is gone.
                std::thread::sleep(INTERVAL);
            }
            // Where it can't be executed for another reason, who starts a box says so.
            _ => return Ok(()),
        }
    }
}

/// Only whole files ever get the name; the length guards against a disk that lost the end in a crash.
fn is_complete(path: &Path) -> bool {
    std::fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.len() == AGENT.len() as u64 && meta.mode() & 0o777 == MODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_static_program() {
        assert_eq!(&AGENT[..4], b"\x7fELF");
        assert!(!AGENT.windows(9).any(|window| window == b"/ld-linux"), "it names a dynamic loader");
        assert!(AGENT.len() < 2 << 20, "{} bytes", AGENT.len());
    }

    #[test]
    fn it_is_installed_once_and_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("agent");
        let path = install(&folder).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), AGENT);
        let inode = std::fs::metadata(&path).unwrap().ino();
        assert_eq!(install(&folder).unwrap(), path);
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"half").unwrap();
        install(&folder).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), AGENT);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_open_for_writing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        std::fs::copy(install(dir.path()).unwrap(), &path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let begun = Instant::now();
        let writing = std::thread::spawn(move || {
            // sleep: the time that somebody takes to close the file.
            std::thread::sleep(Duration::from_millis(50));
            drop(writer);
        });
        await_writers(&path).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(50));
        writing.join().unwrap();
    }

    #[test]
    fn threads_that_install_and_start_at_once_hurt_nobody() {
        for _ in 0..10 {
            let dir = tempfile::tempdir().unwrap();
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let path = install(dir.path()).unwrap();
                        assert_eq!(std::fs::metadata(&path).unwrap().len(), AGENT.len() as u64);
                        let status = Command::new(&path).stderr(Stdio::null()).status().unwrap();
                        assert_eq!(status.code(), Some(125));
                    });
                }
            });
        }
    }
}
