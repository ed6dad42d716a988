//! Who connects to the agent's own socket. Only what the engine has put into the box may: such a process has no parent in
//! the box. Commands have one, and would otherwise get the agent's hand for what they may not do themselves.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};

/// The user that the engine starts the relay as.
const RELAY_USER: u32 = 65534;

/// Listens on `path`, which appears only once it does so.
pub(crate) fn listen(path: &Path) -> std::io::Result<UnixListener> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let fresh = path.with_extension("new");
    for old in [&fresh, path] {
        match std::fs::remove_file(old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = UnixListener::bind(&fresh)?;
    // The relay is nobody, and watches the folder; who else comes is told by its process.
    std::fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o666))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

/// Whether the other end is the relay, from outside.
pub(crate) fn is_from_outside(stream: &UnixStream) -> bool {
    let Ok(peer) = stream.peer_cred() else { return false };
    matches!(peer.uid(), 0 | RELAY_USER) && peer.pid().is_some_and(|pid| pid == 0 || parent(pid) == Some(0))
}

/// The parent as this namespace sees it: 0 where it is in none of its processes (pid_namespaces(7)).
fn parent(pid: i32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_parent_is_not_from_outside() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(parent(own).unwrap() > 0);
        assert_eq!(parent(1), Some(0), "the first process has none");
        assert_eq!(parent(i32::MAX), None);
    }

    #[tokio::test]
    async fn this_process_is_turned_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/socket");
        let listener = listen(&path).unwrap();
        let client = UnixStream::connect(&path).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(!is_from_outside(&stream));
        drop(client);
        drop(listener);
        listen(&path).unwrap();
    }
}
