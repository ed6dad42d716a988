//! Files and folders that the guest knows, each held by a descriptor that can do nothing but be referred to.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

/// The number of what is shared itself.
pub(crate) const ROOT: u64 = 1;

/// What the guest knows.
#[derive(Debug)]
pub(crate) struct Node {
    /// Opened with `O_PATH`.
    pub(crate) place: OwnedFd,
    pub(crate) kind: FileType,
}

impl Node {
    pub(crate) fn stat(&self) -> Result<Stat, Errno> {
        rustix::fs::fstat(&self.place)
    }
}

/// A file's device and number: what makes two names one file, as long as a node holds it.
type Identity = (u64, u64);

/// All of them.
#[derive(Debug)]
pub(crate) struct Nodes {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    /// Never used again.
    next: u64,
    by_number: HashMap<u64, Known>,
    by_identity: HashMap<Identity, u64>,
}

#[derive(Debug)]
struct Known {
    node: Arc<Node>,
    identity: Identity,
    /// How often the guest was told of it and hasn't forgotten that.
    told: u64,
}

impl Nodes {
    /// With `root`, which is never forgotten.
    pub(crate) fn new(root: OwnedFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(&root)?;
        let mut table = Table { next: ROOT + 1, by_number: HashMap::new(), by_identity: HashMap::new() };
        let identity = identity(&stat);
        let node = Arc::new(Node { place: root, kind: kind(&stat) });
        table.by_identity.insert(identity, ROOT);
        table.by_number.insert(ROOT, Known { node, identity, told: 1 });
        Ok(Self { table: Mutex::new(table) })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that the guest was told as `number`.
    pub(crate) fn get(&self, number: u64) -> Result<Arc<Node>, Errno> {
        self.lock().by_number.get(&number).map(|known| Arc::clone(&known.node)).ok_or(Errno::STALE)
    }

    /// The number that the guest is told of `place`.
    pub(crate) fn tell(&self, place: OwnedFd) -> Result<(u64, Stat), Errno> {
        let stat = rustix::fs::fstat(&place)?;
        let identity = identity(&stat);
        let mut table = self.lock();
        if let Some(number) = table.by_identity.get(&identity).copied()
            && let Some(known) = table.by_number.get_mut(&number)
        {
            known.told = known.told.saturating_add(1);
            return Ok((number, stat));
        }
        let number = table.next;
        table.next += 1;
        let node = Arc::new(Node { place, kind: kind(&stat) });
        table.by_identity.insert(identity, number);
        table.by_number.insert(number, Known { node, identity, told: 1 });
        Ok((number, stat))
    }

    /// The guest forgets that it was told so many times.
    pub(crate) fn forget(&self, number: u64, times: u64) {
        let mut table = self.lock();
        if number == ROOT {
            return;
        }
        let Some(known) = table.by_number.get_mut(&number) else { return };
        known.told = known.told.saturating_sub(times);
        if known.told == 0
            && let Some(known) = table.by_number.remove(&number)
        {
            table.by_identity.remove(&known.identity);
        }
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        let table = self.lock();
        assert_eq!(table.by_number.len(), table.by_identity.len());
        table.by_number.len()
    }
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, OFlags};

    use super::*;

    fn open(path: &std::path::Path) -> OwnedFd {
        rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn a_file_is_one_node_until_it_is_forgotten_as_often_as_it_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        std::fs::hard_link(&file, folder.path().join("other")).unwrap();
        let nodes = Nodes::new(open(folder.path())).unwrap();
        let (first, _) = nodes.tell(open(&file)).unwrap();
        let (second, _) = nodes.tell(open(&folder.path().join("other"))).unwrap();
        assert_eq!(first, second);
        nodes.forget(first, 1);
        assert_eq!(nodes.get(first).unwrap().kind, FileType::RegularFile);
        nodes.forget(first, u64::MAX);
        assert_eq!(nodes.get(first).err(), Some(Errno::STALE));
        nodes.forget(first, 1);
        nodes.forget(ROOT, u64::MAX);
        nodes.forget(99, 1);
        assert!(nodes.get(ROOT).is_ok());
        let (again, _) = nodes.tell(open(&file)).unwrap();
        assert_ne!(again, first, "numbers are never used again");
        assert_eq!(nodes.count(), 2);
    }
}
