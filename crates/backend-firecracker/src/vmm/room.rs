//! The folder that a VMM works in, and what it is given there. A file gets a short name: a link where the VMM is the user
//! itself, else a mount in a namespace of the VMM's own, so that it need not be able to reach the file's real place.

use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use agentkernel_sys::remove_tree;
use rustix::fs::{Gid, Mode, OFlags, Uid};

use super::{Owner, Site, VmmError};
use crate::socket;

/// A room; what stays of it when it is dropped goes, unless it was kept.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    top: PathBuf,
    folder: OwnedFd,
    owner: Option<Owner>,
    mounts: Vec<Placed>,
    kept: bool,
}

/// A file that is mounted into a room.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

impl Room {
    /// A new one at `below` in the site's folder; what an earlier machine left there goes.
    pub(super) fn make(site: &Site, below: &Path) -> Result<Self, VmmError> {
        let first = below.components().next().map_or(Path::new("machine"), |it| Path::new(it.as_os_str()));
        let (path, top) = (site.folder.join(below), site.folder.join(first));
        let failed = || VmmError::prepare(format!("make the machine's folder {}", path.display()));
        clear(&top).map_err(failed())?;
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed())?;
        let folder = match socket::open_folder(&path) {
            Ok(folder) => folder,
            Err(error) => {
                clear(&top).map_err(failed())?;
                return Err(failed()(error));
            }
        };
        let this =
            Self { path: path.clone(), top, folder, owner: site.owner, mounts: Vec::new(), kept: false };
        if let Some(owner) = site.owner {
            std::os::unix::fs::chown(&path, Some(owner.user), Some(owner.group)).map_err(failed())?;
        }
        Ok(this)
    }

    /// The one of a machine that was found again.
    pub(super) fn found(path: &Path, top: &Path) -> io::Result<Self> {
        let folder = socket::open_folder(path)?;
        let (path, top) = (path.to_owned(), top.to_owned());
        Ok(Self { path, top, folder, owner: None, mounts: Vec::new(), kept: true })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn top(&self) -> &Path {
        &self.top
    }

    pub(super) fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    pub(super) fn mounts(&self) -> &[Placed] {
        &self.mounts
    }

    /// Gives the VMM a file, as `name`.
    pub(super) fn place(&mut self, name: &str, source: &Path, read_only: bool) -> Result<(), VmmError> {
        let failed = || VmmError::prepare(format!("give the machine {}", source.display()));
        let target = self.path.join(name);
        let meta = std::fs::metadata(source).map_err(failed())?;
        if !meta.is_file() {
            return VmmError::invalid(format!("{} is not a file", source.display()));
        }
        let Some(owner) = self.owner else {
            return std::os::unix::fs::symlink(source, &target).map_err(failed());
        };
        match read_only {
            true if !may_read(&meta, owner) => {
                return VmmError::invalid(format!(
                    "{} can't be read by user {}, who the machine runs as (it is user {}'s, mode {:03o})",
                    source.display(),
                    owner.user,
                    meta.uid(),
                    meta.mode() & 0o777
                ));
            }
            true => {}
            false => {
                std::os::unix::fs::chown(source, Some(owner.user), Some(owner.group)).map_err(failed())?
            }
        }
        File::create_new(&target).map_err(failed())?;
        self.mounts.push(Placed { source: source.to_owned(), target, read_only });
        Ok(())
    }

    /// Belongs to a machine from here on.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Removes it and all that is in it. Nothing works in it any more.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        clear(&self.top)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = self.clear() {
            tracing::warn!(%error, folder = %self.top.display(), "a machine's folder was left behind");
        }
    }
}

fn may_read(meta: &Metadata, owner: Owner) -> bool {
    let bit = match (meta.uid() == owner.user, meta.gid() == owner.group) {
        (true, _) => 0o400,
        (false, true) => 0o040,
        (false, false) => 0o004,
    };
    meta.mode() & bit != 0
}

/// Removes a folder whatever is in it; fine if there is none.
pub(super) fn clear(top: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(top, flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    // An owner of files in it may have taken rights away from the folder itself; only root is another than the owner.
    if rustix::process::geteuid().is_root() {
        rustix::fs::fchown(&folder, Some(Uid::ROOT), Some(Gid::ROOT))?;
    }
    remove_tree::remove_contents(std::os::fd::AsFd::as_fd(&folder))?;
    std::fs::remove_dir(top)
}

#[cfg(test)]
mod tests {
    use super::super::Life;
    use super::*;

    fn site(folder: &Path, owner: Option<Owner>) -> Site {
        Site {
            id: "m".to_owned(),
            folder: folder.to_owned(),
            owner,
            network_namespace: None,
            cgroup_birth: None,
            cgroup_entries: Vec::new(),
            life: Life::WithOwner,
        }
    }

    #[test]
    fn a_room_goes_with_all_that_was_made_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernel file");
        std::fs::write(&kernel, "k").unwrap();
        let below = Path::new("firecracker/m/root");
        let mut room = Room::make(&site(folder.path(), None), below).unwrap();
        room.place("kernel", &kernel, true).unwrap();
        assert_eq!(std::fs::read(room.path().join("kernel")).unwrap(), b"k");
        assert!(room.place("folder", folder.path(), true).unwrap_err().to_string().contains("not a file"));
        assert!(room.place("none", &folder.path().join("none"), true).is_err());
        std::fs::create_dir_all(room.path().join("dev/net")).unwrap();
        drop(room);
        assert!(!folder.path().join("firecracker").exists());
        assert!(kernel.exists(), "what was given is not its own");
        // What an earlier one left is not found by the next.
        std::fs::create_dir_all(folder.path().join("machine/old")).unwrap();
        let mut room = Room::make(&site(folder.path(), None), Path::new("machine")).unwrap();
        assert!(!room.path().join("old").exists());
        room.keep();
        drop(room);
        assert!(folder.path().join("machine").exists());
    }

    #[test]
    fn another_user_is_given_only_what_it_can_read() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root runs machines as other users");
            return;
        }
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner { user: 700_007, group: 700_007 };
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let mut room = Room::make(&site(folder.path(), Some(owner)), Path::new("machine")).unwrap();
        mode(0o600);
        let refused = room.place("a", &file, true).unwrap_err().to_string();
        assert!(refused.contains("700007") && refused.contains("mode 600"), "{refused}");
        mode(0o604);
        room.place("a", &file, true).unwrap();
        mode(0o600);
        room.place("b", &file, false).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().uid(), owner.user);
        assert_eq!(room.mounts().len(), 2);
    }
}
