//! Shows the project's folders to an ordinary user even where they lie below a folder that only root may enter (a
//! checkout in root's home): in a mount namespace of the tests' own, so that nothing changes for anybody else.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Arguments: the folder that others can't enter, a folder to stash mounts in, the folders to show, `--`, the command.
const SHOW: &str = r#"
set -eu
closed=$1; stash=$2; shift 2
count=0; folders=
while [ "$1" != -- ]; do
    mkdir -p "$stash/$count"; mount --bind "$1" "$stash/$count"
    eval "folder_$count=\$1"; count=$((count + 1)); shift
done
shift
mount -t tmpfs -o mode=755 tmpfs "$closed"
while [ "$count" -gt 0 ]; do
    count=$((count - 1)); eval "folder=\$folder_$count"
    mkdir -p "$folder"; mount --bind "$stash/$count" "$folder"
done
exec "$@"
"#;

/// What to put before a command so that it sees `folders` whoever it runs as; nothing where that is so already.
pub(crate) fn prefix(folders: &[&Path], stash: &Path) -> Vec<String> {
    let Some(closed) = folders.iter().find_map(|folder| closed_ancestor(folder)) else { return Vec::new() };
    let below = folders.iter().filter(|folder| folder.starts_with(&closed));
    let start =
        ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", SHOW, "sh"].map(str::to_owned);
    let mut arguments = start.to_vec();
    arguments.extend([closed.as_path(), stash].into_iter().chain(below.copied()).map(shown));
    arguments.push("--".to_owned());
    arguments
}

/// The topmost folder on the way to `path` that users in general can't enter.
fn closed_ancestor(path: &Path) -> Option<PathBuf> {
    let mut ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors.reverse();
    let closed =
        |folder: &&&Path| std::fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & 0o001 == 0);
    ancestors.iter().find(closed).map(|folder| folder.to_path_buf())
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_folders_need_no_prefix() {
        assert!(prefix(&[Path::new("/usr/lib")], Path::new("/var/tmp")).is_empty());
    }
}
