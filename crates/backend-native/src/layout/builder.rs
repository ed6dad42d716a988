//! Collects steps, hands out mount slots and remembers what goes into the new root.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use agentkernel_sys::mount::MountAttributes;
use agentkernel_sys::steps::Step;

use super::plan::{FIRST_FREE_SLOT, c_string};

type Options = Vec<(CString, CString)>;

/// A list of steps in the making.
pub(super) struct Builder {
    pub(super) steps: Vec<Step>,
    next_slot: usize,
    /// Slots of mounts that the parent sends, in the order in which it does.
    pub(super) awaited: Vec<usize>,
    /// Folders that are in the root anyway.
    present: &'static [&'static str],
    /// What goes into the new root once it is entered.
    later: Vec<Later>,
    /// The user's part of that: after the rest, which would hide it.
    users: Vec<Later>,
}

/// Something for the new root.
enum Later {
    Link { path: PathBuf, target: PathBuf },
    Attach { slot: usize, target: PathBuf, point: Point },
}

/// What a mount is attached to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Point {
    /// A folder that is made where it is missing.
    Folder,
    /// A file that is made where it is missing.
    File,
    /// A folder in what somebody else has filled: a link there is replaced.
    OwnFolder,
    /// A file in what somebody else has filled.
    OwnFile,
    /// It is there.
    Present,
}

impl Builder {
    /// `present` are the folders that every root of the kind has, parents first.
    pub(super) fn new(present: &'static [&'static str]) -> Self {
        Self {
            steps: Vec::with_capacity(160),
            next_slot: FIRST_FREE_SLOT,
            awaited: Vec::new(),
            present,
            later: Vec::new(),
            users: Vec::new(),
        }
    }

    pub(super) fn slot(&mut self) -> usize {
        self.next_slot += 1;
        self.next_slot - 1
    }

    /// A slot for a mount that the parent sends.
    pub(super) fn awaited_slot(&mut self) -> usize {
        let slot = self.slot();
        self.awaited.push(slot);
        slot
    }

    /// Takes a copy of a part of the host, for a place in the new root.
    pub(super) fn take(&mut self, source: &Path, target: &Path, attributes: MountAttributes, point: Point) {
        let slot = self.slot();
        self.steps.push(Step::CloneTree { slot, source: c_string(source), attributes });
        self.attach_later(slot, target, point);
    }

    pub(super) fn attach_for_user(&mut self, slot: usize, target: &Path, point: Point) {
        self.users.push(Later::Attach { slot, target: target.to_owned(), point });
    }

    pub(super) fn attach_later(&mut self, slot: usize, target: &Path, point: Point) {
        self.later.push(Later::Attach { slot, target: target.to_owned(), point });
    }

    pub(super) fn link_later(&mut self, path: PathBuf, target: PathBuf) {
        self.later.push(Later::Link { path, target });
    }

    /// Puts everything collected into the new root.
    pub(super) fn put_all(&mut self) {
        let users = std::mem::take(&mut self.users);
        self.own_points(&users);
        for later in std::mem::take(&mut self.later).into_iter().chain(users) {
            match later {
                Later::Link { path, target } => {
                    self.parents(&path);
                    self.steps.push(Step::Symlink { target: c_string(target), path: c_string(path) });
                }
                Later::Attach { slot, target, point } => self.put(slot, &target, point),
            }
        }
    }

    /// What is replaced is replaced before the first of the user's folders is there: in those, by whatever way an image's
    /// links lead there, nothing ever is.
    fn own_points(&mut self, users: &[Later]) {
        for user in users {
            let Later::Attach { target, point: point @ (Point::OwnFolder | Point::OwnFile), .. } = user
            else {
                continue;
            };
            self.parents(target);
            let path = c_string(target);
            self.steps.push(match point {
                Point::OwnFolder => Step::OwnFolder { path, mode: 0o755 },
                _ => Step::OwnFile(path),
            });
        }
    }

    fn put(&mut self, slot: usize, target: &Path, point: Point) {
        if !matches!(point, Point::Present) {
            self.parents(target);
        }
        let target = c_string(target);
        self.steps.extend(match point {
            Point::Folder | Point::OwnFolder => Some(Step::Directory { path: target.clone(), mode: 0o755 }),
            Point::File | Point::OwnFile => Some(Step::MountPoint(target.clone())),
            Point::Present => None,
        });
        self.steps.push(Step::Attach { slot, target });
    }

    /// The folders above `path`, those of every root apart.
    pub(super) fn parents(&mut self, path: &Path) {
        let mut missing: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .take_while(|parent| !self.present.iter().any(|folder| Path::new(folder) == *parent))
            .filter(|parent| parent.parent().is_some())
            .collect();
        while let Some(parent) = missing.pop() {
            self.steps.push(Step::Directory { path: c_string(parent), mode: 0o755 });
        }
    }

    pub(super) fn mount_new(
        &mut self,
        kind: &str,
        target: &str,
        options: Options,
        attributes: MountAttributes,
    ) {
        let slot = self.slot();
        self.steps.push(Step::NewFilesystem { slot, kind: c_string(kind), options, attributes });
        self.steps.push(Step::Attach { slot, target: c_string(target) });
    }

    /// Mounts `source` of the box over `target`, which is there.
    pub(super) fn cover(&mut self, source: &str, target: &str, attributes: MountAttributes) {
        let slot = self.slot();
        self.steps.push(Step::CloneTree { slot, source: c_string(source), attributes });
        self.steps.push(Step::Attach { slot, target: c_string(target) });
    }

    /// A copy of a folder beside the root, in a slot.
    pub(super) fn clone_beside(&mut self, folder: &str, attributes: MountAttributes) -> usize {
        let slot = self.slot();
        self.steps.push(Step::CloneResolvedTree { slot, source: c_string(folder), attributes });
        slot
    }

    pub(super) fn folder(&mut self, path: impl AsRef<std::ffi::OsStr>, mode: u32) {
        self.steps.push(Step::Directory { path: c_string(path), mode });
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.steps.push(Step::Symlink { target: c_string(target), path: c_string(path) });
    }
}
