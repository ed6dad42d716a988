//! The leases of boxes in containers: what stands in them is how the engine is found again.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::note::{self, Note, Noted};

/// A lease of this process.
#[derive(Debug)]
pub(crate) struct Lease(agentkernel_store::Lease);

impl Lease {
    /// A new one below `folder`, under a new id, of a box on the engine of `note`.
    pub(crate) fn take(folder: &Path, note: &Note) -> io::Result<Self> {
        let lease = agentkernel_store::Lease::take(folder)?;
        lease.file().write_all(&note.line()?)?;
        Ok(Self(lease))
    }

    /// The id of the box.
    pub(crate) fn id(&self) -> &str {
        self.0.id()
    }

    /// What its owner noted; `None` where that died before anything was made.
    pub(crate) fn noted(&self) -> io::Result<Option<Noted>> {
        Noted::read(File::open(self.0.path())?)
    }

    /// Notes that the engine is about to be asked for the container.
    pub(crate) fn ask(&self) -> io::Result<()> {
        note::ask(self.0.file())
    }

    /// Notes that it has answered.
    pub(crate) fn answer(&self) -> io::Result<()> {
        note::answer(self.0.file())
    }

    /// What another process needs to be its owner: the lock goes with the descriptor.
    pub(crate) fn into_parts(self) -> (String, OwnedFd) {
        self.0.into_parts()
    }

    /// One that another process has taken below `folder` under `id` and given away with its lock.
    pub(crate) fn adopt(folder: &Path, id: &str, file: OwnedFd) -> io::Result<Self> {
        agentkernel_store::Lease::adopt(folder, id, file).map(Self)
    }

    /// Ends it: nothing of the box is left.
    pub(crate) fn release(self) -> io::Result<()> {
        self.0.release()
    }

    /// Leaves it to recovery.
    pub(crate) fn abandon(self) {
        drop(self.0);
    }
}

/// The leases below `folder` whose owners are dead, now ours.
pub(crate) fn orphans(folder: &Path) -> io::Result<Vec<Lease>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(agentkernel_store::Lease::claim(&entry?.path())?.map(Lease));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    fn note() -> Note {
        Note { address: Address::Unix("/x.sock".into()), engine: None, runtime: None, image: None }
    }

    #[test]
    fn what_was_noted_is_found_again() {
        let state = tempfile::tempdir().unwrap();
        let lease = Lease::take(state.path(), &note()).unwrap();
        lease.ask().unwrap();
        let noted = |lease: &Lease| lease.noted().unwrap().unwrap();
        assert_eq!(noted(&lease), Noted { note: note(), in_doubt: true });
        lease.answer().unwrap();
        lease.abandon();
        let found = orphans(state.path()).unwrap();
        assert_eq!(noted(&found[0]), Noted { note: note(), in_doubt: false });
    }

    #[test]
    fn a_lease_is_given_away_with_its_lock_and_only_as_itself() {
        let state = tempfile::tempdir().unwrap();
        let other = Lease::take(state.path(), &note()).unwrap();
        let (id, file) = Lease::take(state.path(), &note()).unwrap().into_parts();
        let copy = || file.try_clone().unwrap();
        assert!(Lease::adopt(state.path(), other.id(), copy()).is_err(), "another box's");
        assert!(Lease::adopt(state.path(), "../x", copy()).is_err());
        let adopted = Lease::adopt(state.path(), &id, copy()).unwrap();
        drop(file);
        assert!(orphans(state.path()).unwrap().is_empty(), "it has an owner");
        assert_eq!(adopted.noted().unwrap().unwrap().note, note());
        adopted.release().unwrap();
        other.release().unwrap();
    }

    #[test]
    fn only_dead_owners_are_found() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("leases");
        assert!(orphans(&folder).unwrap().is_empty());
        let alive = Lease::take(&folder, &note()).unwrap();
        let dead = Lease::take(&folder, &note()).unwrap();
        let dead_id = dead.id().to_owned();
        dead.abandon();
        let found = orphans(&folder).unwrap();
        assert_eq!(found.iter().map(Lease::id).collect::<Vec<_>>(), [dead_id]);
        assert!(orphans(&folder).unwrap().is_empty(), "somebody sees to it already");
        found.into_iter().for_each(|lease| lease.release().unwrap());
        alive.release().unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
}
