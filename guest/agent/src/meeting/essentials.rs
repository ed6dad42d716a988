//! Folders that every box has, where its image was made by somebody who didn't think of them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// With their modes.
const FOLDERS: [(&str, u32); 4] =
    [("/tmp", 0o1777), ("/root", 0o700), ("/home", 0o755), ("/workspace", 0o755)];

/// Makes those that are missing. Best effort: a root that can't be written keeps what its image has.
pub(crate) fn make() {
    make_below(Path::new("/"));
}

/// [`make`] in a root that is not this process's own yet.
pub(crate) fn make_below(root: &Path) {
    for (folder, mode) in FOLDERS {
        make_one(&root.join(folder.trim_start_matches('/')), mode);
    }
}

fn make_one(folder: &Path, mode: u32) {
    if std::fs::create_dir(folder).is_ok() {
        // Whatever the umask.
        std::fs::set_permissions(folder, Permissions::from_mode(mode)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_left_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
        let new = place.path().join("new");
        make_one(&new, 0o1777);
        assert_eq!(mode(&new), 0o1777);
        make_one(&new, 0o700);
        assert_eq!(mode(&new), 0o1777);
        let link = place.path().join("link");
        std::os::unix::fs::symlink("/nonexistent", &link).unwrap();
        make_one(&link, 0o700);
        assert!(link.is_symlink());
    }
}
