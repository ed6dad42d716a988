//! Firecracker's jailer: a root folder, devices and a user of its own for each VMM. Only root can.

use std::path::{Path, PathBuf};

use super::{Owner, Site, VmmError};

/// Firecracker as the jailer sees it: without links. It names a machine's folder after that.
pub(super) fn resolve(firecracker: &Path) -> Result<PathBuf, VmmError> {
    let failed = |source| VmmError::NoProgram { program: firecracker.to_owned(), source };
    std::fs::canonicalize(firecracker).map_err(failed)
}

/// The room of a jailed machine, below the site's folder, as the jailer wants it: the program's name, the id, `root`.
pub(super) fn room_of(firecracker: &Path, site: &Site) -> Result<PathBuf, VmmError> {
    match resolve(firecracker)?.file_name() {
        Some(name) => Ok(Path::new(name).join(&site.id).join("root")),
        None => VmmError::invalid(format!("{} is not a program", firecracker.display())),
    }
}

/// The jailer's arguments, before those of Firecracker. Groups and networks are entered before it runs: version 1 without a
/// group of its own makes it leave them alone on every host.
pub(super) fn arguments(firecracker: &Path, site: &Site, owner: Owner) -> Result<Vec<String>, VmmError> {
    let text = |path: &Path| match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => VmmError::invalid(format!("{} is not text, which the jailer needs", path.display())),
    };
    let mut list =
        vec!["--id".to_owned(), site.id.clone(), "--exec-file".to_owned(), text(&resolve(firecracker)?)?];
    list.extend(["--uid".to_owned(), owner.user.to_string(), "--gid".to_owned(), owner.group.to_string()]);
    list.extend(["--chroot-base-dir".to_owned(), text(&site.folder)?]);
    list.extend(["--cgroup-version", "1", "--"].map(str::to_owned));
    Ok(list)
}
