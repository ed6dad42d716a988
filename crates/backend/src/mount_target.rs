//! Where in a box nothing of the host may be mounted.

use std::path::Path;

use agentkernel_model::BoxPath;

use crate::BackendError;

/// Places that make a box what it is.
const RESERVED: [&str; 4] = ["/proc", "/sys", "/dev", "/etc"];

/// Whether `path` is in a part of every box that is ours.
pub fn is_reserved(path: &Path) -> bool {
    RESERVED.iter().any(|reserved| path.starts_with(reserved))
}

/// Refuses targets that would take the box apart: its root, what is ours in every box, and `own`, the places that are the
/// backend's besides.
pub fn check_mount_target(target: &BoxPath, own: &[&str]) -> Result<(), BackendError> {
    let path = target.as_path();
    if path.parent().is_none() {
        return Err(BackendError::Invalid { what: "nothing can be mounted over / of a sandbox".to_owned() });
    }
    if is_reserved(path) || own.iter().any(|own| path.starts_with(own)) {
        return Err(BackendError::Invalid {
            what: format!("nothing can be mounted at {target}: that part of a sandbox is agentkernel's own"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(target: &str, own: &[&str]) -> Option<String> {
        check_mount_target(&BoxPath::new(target).unwrap(), own).err().map(|error| error.to_string())
    }

    #[test]
    fn the_box_own_places_are_kept() {
        for bad in ["/", "/proc", "/proc/self", "/dev/null", "/etc/passwd", "/sys"] {
            assert!(refusal(bad, &[]).is_some(), "{bad}");
        }
        for good in ["/workspace", "/data", "/usr/local/x", "/development", "/etcetera"] {
            assert_eq!(refusal(good, &["/own"]), None, "{good}");
        }
        assert!(refusal("/own/x", &["/own"]).unwrap().contains("/own/x"));
    }
}
