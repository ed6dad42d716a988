//! The leases of native boxes: where they are, and what becomes of a dead owner's.

use std::io;
use std::path::{Path, PathBuf};

use agentkernel_store::Lease;

/// Where they are.
pub(crate) fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("leases")
}

/// Calls `clean` for the id of each dead owner's lease and removes the lease where that succeeds. One that fails keeps
/// its lease and doesn't keep others from being cleaned; the last failure is returned.
pub(crate) fn reclaim(state_dir: &Path, mut clean: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let mut result = Ok(());
    for entry in entries {
        if let Err(error) = reclaim_one(&entry?.path(), &mut clean) {
            result = Err(error);
        }
    }
    result
}

/// The same for one lease.
pub(crate) fn reclaim_one(path: &Path, clean: &mut impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let Some(lease) = Lease::claim(path)? else { return Ok(()) };
    clean(lease.id())?;
    lease.release()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_owners_are_reclaimed() {
        let state = tempfile::tempdir().unwrap();
        let alive = Lease::take(&folder(state.path())).unwrap();
        let dead = Lease::take(&folder(state.path())).unwrap();
        let dead_id = dead.id().to_owned();
        drop(dead);
        let mut cleaned = Vec::new();
        reclaim(state.path(), |id| {
            cleaned.push(id.to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(cleaned, [dead_id]);
        assert!(alive.path().exists());
        alive.release().unwrap();
        assert_eq!(std::fs::read_dir(folder(state.path())).unwrap().count(), 0);
    }

    #[test]
    fn a_lease_is_given_away_with_its_lock_and_only_as_itself() {
        let state = tempfile::tempdir().unwrap();
        let other = Lease::take(&folder(state.path())).unwrap();
        let (id, file) = Lease::take(&folder(state.path())).unwrap().into_parts();
        let copy = || file.try_clone().unwrap();
        assert!(Lease::adopt(&folder(state.path()), other.id(), copy()).is_err(), "another box's");
        assert!(Lease::adopt(&folder(state.path()), "../leases", copy()).is_err());
        assert!(Lease::adopt(&folder(state.path()), "0123456789abcdef", copy()).is_err(), "nobody's");
        let adopted = Lease::adopt(&folder(state.path()), &id, copy()).unwrap();
        drop(file);
        reclaim(state.path(), |id| panic!("{id} has an owner")).unwrap();
        adopted.release().unwrap();
        other.release().unwrap();
        assert_eq!(std::fs::read_dir(folder(state.path())).unwrap().count(), 0);
    }

    #[test]
    fn one_failure_does_not_keep_others() {
        let state = tempfile::tempdir().unwrap();
        let dead: Vec<_> =
            (0..3).map(|_| Lease::take(&folder(state.path())).unwrap().id().to_owned()).collect();
        let stuck = &dead[1];
        let result = reclaim(state.path(), |id| match id == stuck {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(()),
        });
        assert!(result.is_err());
        let left: Vec<_> = std::fs::read_dir(folder(state.path())).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].as_ref().unwrap().file_name().to_str(), Some(stuck.as_str()));
    }

    #[test]
    fn what_could_not_be_cleaned_keeps_its_lease() {
        let state = tempfile::tempdir().unwrap();
        drop(Lease::take(&folder(state.path())).unwrap());
        let failed = reclaim(state.path(), |_| Err(io::ErrorKind::PermissionDenied.into()));
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(folder(state.path())).unwrap().count(), 1);
    }
}
