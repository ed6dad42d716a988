//! Paths of the host that the user named: made absolute, resolved, and there.

use std::path::{Path, PathBuf};

use crate::{ConfigError, Environment};

/// The kind of thing a path must name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whatever can be shown in a sandbox: a file, folder, socket or device.
    Anything,
    /// A regular file.
    RegularFile,
}

/// `path` without symlinks, relative ones starting at `base`, `~/` at the home. `what` names it in errors.
pub(crate) fn resolve(
    path: &Path,
    base: &Path,
    environment: &Environment,
    kind: Kind,
    what: &str,
) -> Result<PathBuf, ConfigError> {
    let named = match path.strip_prefix("~") {
        Ok(below) => {
            let home = environment.home.as_ref();
            home.ok_or_else(|| ConfigError::NoHome { what: format!("{what} {}", path.display()) })?
                .join(below)
        }
        Err(_) => base.join(path),
    };
    let fail = |why: String| ConfigError::HostPath { what: what.to_owned(), path: named.clone(), why };
    let resolved = named.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => fail("it does not exist".to_owned()),
        _ => fail(format!("it can't be used: {error}")),
    })?;
    if kind == Kind::RegularFile {
        let metadata = resolved.metadata().map_err(|error| fail(format!("it can't be used: {error}")))?;
        if !metadata.is_file() {
            return Err(fail("it is not a regular file; show folders with [[mounts]]".to_owned()));
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::environment;

    #[test]
    fn paths_are_resolved_from_their_base_and_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("home/data")).unwrap();
        std::fs::write(base.join("file"), "").unwrap();
        std::os::unix::fs::symlink("file", base.join("link")).unwrap();
        let mut env = environment(Path::new("/"), &[]);
        env.home = Some(base.join("home"));
        let at = |path: &str, kind| resolve(Path::new(path), &base, &env, kind, "mount source");
        assert_eq!(at("link", Kind::RegularFile).unwrap(), base.join("file"));
        assert_eq!(at("~/data", Kind::Anything).unwrap(), base.join("home/data"));
        assert_eq!(at("~", Kind::Anything).unwrap(), base.join("home"));
        assert_eq!(at("home/../file", Kind::Anything).unwrap(), base.join("file"));
        let missing = at("nope", Kind::Anything).unwrap_err().to_string();
        assert!(missing.starts_with("mount source /") && missing.ends_with("it does not exist"), "{missing}");
        assert!(at("home", Kind::RegularFile).is_err());
    }
}
