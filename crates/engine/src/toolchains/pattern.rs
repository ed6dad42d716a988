//! Paths of the catalogue against a folder.

use std::path::{Path, PathBuf};

/// Most names of one folder that are looked at.
const FOLDER_LIMIT_ENTRIES: usize = 1_000;

/// The paths below `root` that match `pattern` (`versions/*/{bin,lib}`) and exist, sorted. A `*` matches any one name
/// but those with a leading dot; symlinks are matched by their own name.
pub(super) fn matches(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    for part in pattern.split('/') {
        found = found.iter().flat_map(|dir| step(dir, part)).collect();
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort();
    found
}

fn step(dir: &Path, part: &str) -> Vec<PathBuf> {
    if part == "*" {
        let entries = std::fs::read_dir(dir).into_iter().flatten().take(FOLDER_LIMIT_ENTRIES);
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
        return names
            .filter(|name| !name.as_encoded_bytes().starts_with(b"."))
            .map(|name| dir.join(name))
            .collect();
    }
    let choices = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(part);
    choices.split(',').map(|name| dir.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_choices_match_what_exists() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["v/1/bin", "v/2/bin", "v/2/lib", "v/2/etc", "v/.hidden/bin"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let found = |pattern| -> Vec<String> {
            let below = |path: PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
            matches(dir.path(), pattern).into_iter().map(below).collect()
        };
        assert_eq!(found("v/*/{bin,lib}"), ["v/1/bin", "v/2/bin", "v/2/lib"]);
        assert_eq!(found("v/2"), ["v/2"]);
        assert!(found("w/*/bin").is_empty());
    }
}
