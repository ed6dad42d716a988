//! The agent as a file that boxes can be started from.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The agent's program file.
pub static AGENT: &[u8] = include_bytes!(env!("AGENTKERNEL_AGENT_BINARY"));

/// Its permissions once it is complete.
const MODE: u32 = 0o555;

/// Why the agent could not be put in place.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}: {source}", path.display())]
pub struct InstallError {
    action: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// A name for the content, made when it was built: another version is another file, so that boxes that run keep theirs.
const FILE_NAME: &str = env!("AGENTKERNEL_AGENT_FILE_NAME");

/// Puts the agent into `dir`, which is made where it is missing, and returns the file's path. Cheap where it is there
/// already: one stat(2). Several processes may do so at once.
pub fn install(dir: &Path) -> Result<PathBuf, InstallError> {
    let path = dir.join(FILE_NAME);
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
    std::fs::rename(&fresh, &path).map_err(fail("put in place", &path)).map_err(remove_half)?;
    Ok(path)
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
}
