//! The user's mounts: where they may go, whose files they show, and what an engine can't keep of them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use agentkernel_backend::{BackendError, check_mount_target};
use agentkernel_model::{Access, Mount};
use bollard::models::{Mount as EngineMount, MountBindOptions, MountType};

use crate::facts::Facts;
use crate::program;

/// Refuses mounts that can't be made as asked, before anything is.
pub(crate) fn check(mounts: &[Mount], facts: &Facts) -> Result<(), BackendError> {
    let table = match mounts.is_empty() {
        true => return Ok(()),
        false => std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
    };
    mounts.iter().try_for_each(|mount| {
        check_mount_target(&mount.target, &[program::FOLDER])?;
        let unsupported = |fix: String| BackendError::Unsupported {
            backend: facts.kind.name().to_owned(),
            what: format!("the mount of {}", mount.source.display()),
            fix,
        };
        if !facts.local {
            return Err(unsupported(format!(
                "{} runs on another machine or in a virtual machine and can't see this folder; copy it in with \
                 `agentkernel cp`",
                facts.kind.title()
            )));
        }
        check_source(&mount.source)?;
        match mount.access {
            Access::ReadWrite if facts.writes_as_somebody_else() => Err(unsupported(format!(
                "this {title} runs as root, so files that the sandbox writes there would belong to root and not to \
                 you; use --backend native or rootless {title}, or mount it read-only (:ro)",
                title = facts.kind.title()
            ))),
            Access::ReadOnly => match mount_below(&table, &mount.source) {
                Some(below) => Err(unsupported(format!(
                    "{below} is mounted below it, and {} would leave that writable; mount it apart",
                    facts.kind.title()
                ))),
                None => Ok(()),
            },
            Access::ReadWrite => Ok(()),
        }
    })
}

/// As the engine takes them.
pub(crate) fn engine_mounts(mounts: &[Mount]) -> Vec<EngineMount> {
    let one = |mount: &Mount| bind(&mount.source, mount.target.as_path(), mount.access);
    mounts.iter().map(one).collect()
}

/// A folder or file of the host, which must exist: with this form of the request an engine never makes it.
pub(crate) fn bind(source: &Path, target: &Path, access: Access) -> EngineMount {
    EngineMount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.display().to_string()),
        read_only: Some(access == Access::ReadOnly),
        bind_options: Some(MountBindOptions {
            propagation: Some(bollard::models::MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..EngineMount::default()
    }
}

/// Refuses a source that isn't there, whose name an engine can't be told, or that has become a link since its links were
/// resolved: whoever may write to a folder above it, a box perhaps, could have put it there to see more of the host.
fn check_source(source: &Path) -> Result<(), BackendError> {
    let now = source.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => BackendError::NotFound { what: source.display().to_string() },
        _ => BackendError::runtime(format!("mount {}", source.display()), error),
    })?;
    let invalid = |what: String| Err(BackendError::Invalid { what });
    if source.to_str().is_none() {
        return invalid(format!("{} can't be mounted: its name is not UTF-8", source.display()));
    }
    if now != source {
        return invalid(format!(
            "{} was a path without links and now leads to {}: if you moved it yourself, make the sandbox anew with the \
             new path; if not, what ran in a sandbox may have",
            source.display(),
            now.display()
        ));
    }
    Ok(())
}

/// Another file system mounted somewhere below `source`, by the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).
fn mount_below<'a>(table: &'a str, source: &Path) -> Option<&'a str> {
    let points = table.lines().filter_map(|line| line.split_ascii_whitespace().nth(4));
    points.into_iter().find(|point| {
        let path = Path::new(point);
        path != source && path.starts_with(source)
    })
}

/// The owner of the engine's socket: whom a rootless engine belongs to.
pub(crate) fn owner_of(socket: &Path) -> Option<u32> {
    std::fs::metadata(socket).ok().map(|meta| meta.uid())
}

#[cfg(test)]
mod tests {
    use agentkernel_model::BoxPath;

    use super::*;
    use crate::EngineKind;

    fn mount(source: &Path, target: &str, access: Access) -> Mount {
        Mount { source: source.to_owned(), target: BoxPath::new(target).unwrap(), access }
    }

    fn refusal(mount: Mount, facts: &Facts) -> Option<String> {
        check(&[mount], facts).err().map(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let facts = Facts::for_tests(EngineKind::Docker);
        assert_eq!(refusal(mount(&path, "/data", Access::ReadWrite), &facts), None);
        let nope = refusal(mount(&path.join("nope"), "/data", Access::ReadWrite), &facts);
        assert!(nope.unwrap().contains("nope does not exist"));
        let ordinary = Facts { caller: 1000, ..facts.clone() };
        let root = refusal(mount(&path, "/data", Access::ReadWrite), &ordinary).unwrap();
        assert!(root.contains("would belong to root") && root.contains("--backend native"), "{root}");
        assert_eq!(refusal(mount(&path, "/data", Access::ReadOnly), &ordinary), None);
        let rootless = Facts { rootless: true, ..ordinary };
        assert_eq!(refusal(mount(&path, "/data", Access::ReadWrite), &rootless), None);
        let remote = Facts { local: false, ..facts.clone() };
        assert!(
            refusal(mount(&path, "/data", Access::ReadOnly), &remote).unwrap().contains("agentkernel cp")
        );
        std::os::unix::fs::symlink("/etc", path.join("link")).unwrap();
        assert!(
            refusal(mount(&path.join("link"), "/data", Access::ReadOnly), &facts).unwrap().contains("/etc")
        );
        for target in ["/", "/proc/x", "/etc/passwd", "/.agentkernel/door"] {
            assert!(refusal(mount(&path, target, Access::ReadOnly), &facts).is_some(), "{target}");
        }
    }

    #[test]
    fn mounts_below_are_seen() {
        let table = "22 1 0:5 / /a rw - tmpfs x rw\n23 22 0:6 / /a/b rw - tmpfs x rw\n24 1 0:7 / /ab rw - tmpfs x rw\n";
        assert_eq!(mount_below(table, Path::new("/a")), Some("/a/b"));
        assert_eq!(mount_below(table, Path::new("/a/b")), None);
        assert_eq!(mount_below(table, Path::new("/ab")), None);
    }
}
