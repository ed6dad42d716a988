//! The user's mounts: where they may go, and whose files they show.

use std::path::Path;

use agentkernel_backend::{BackendError, check_mount_target};
use agentkernel_model::Mount;

/// Refuses mounts that can't be made, before anything is.
pub(crate) fn check(mounts: &[Mount]) -> Result<(), BackendError> {
    mounts.iter().try_for_each(|mount| {
        check_mount_target(&mount.target, &[])?;
        look_at(&mount.source).map(drop)
    })
}

/// What is mounted.
pub(crate) fn look_at(source: &Path) -> Result<std::fs::Metadata, BackendError> {
    std::fs::metadata(source).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => BackendError::NotFound { what: source.display().to_string() },
        _ => BackendError::runtime(format!("mount {}", source.display()), error),
    })
}

/// Refuses a source that has become a link, or lies behind one, since its links were resolved: whoever may write to a
/// folder above it, a box perhaps, could have put it there to see more of the host at its next start.
pub(crate) fn check_source(source: &Path) -> Result<(), BackendError> {
    let now = source
        .canonicalize()
        .map_err(|error| BackendError::runtime(format!("mount {}", source.display()), error))?;
    if now == source {
        return Ok(());
    }
    Err(BackendError::Invalid {
        what: format!(
            "{} was a path without links and now leads to {}: if you moved it yourself, make the sandbox anew with the new \
             path; if not, what ran in a sandbox may have",
            source.display(),
            now.display()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_became_a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(path.join("real/inner")).unwrap();
        std::os::unix::fs::symlink("real", path.join("link")).unwrap();
        assert!(check_source(&path.join("real/inner")).is_ok());
        for swapped in ["link", "link/inner", "gone"] {
            assert!(check_source(&path.join(swapped)).is_err(), "{swapped}");
        }
    }
}
