//! Mounts that the parent makes while the box's first process is under way: copies whose files belong inside to whom they
//! belong outside, root's to root, and so on. Only root can make them (mount_setattr(2), ID-mapped mounts), and they take
//! the box's own user namespace for the shift.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use agentkernel_backend::BackendError;
use agentkernel_model::Access;
use agentkernel_sys::mount::{MountAttributes, clone_resolved_tree, clone_tree, set_attributes};
use agentkernel_sys::process::Child;
use rustix::io::Errno;

use crate::layout::c_string;
use crate::name::NAME;

/// What a box may do with a mount.
pub(crate) fn attributes(access: Access) -> MountAttributes {
    match access {
        Access::ReadOnly => MountAttributes::PLAIN.read_only(),
        Access::ReadWrite => MountAttributes::PLAIN,
    }
}

/// A mount to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tree {
    /// The layers of the image, below one folder.
    Layers(PathBuf),
    /// A folder or file of the user's; a path without links.
    User {
        /// On the host.
        source: PathBuf,
        /// What the box may do.
        access: Access,
    },
}

/// Makes and sends `trees`, in their order, to the box of `child`, whose ids are mapped.
pub(crate) fn send(trees: &[Tree], child: &Child, channel: &UnixStream) -> Result<(), BackendError> {
    if trees.is_empty() {
        return Ok(());
    }
    let namespace = File::open(format!("/proc/{}/ns/user", child.pid.as_raw_nonzero()))
        .map_err(|source| BackendError::runtime("open a box's user namespace", source))?;
    trees.iter().try_for_each(|tree| {
        let shifted = tree.shifted(namespace.as_fd()).map_err(|errno| tree.refusal(errno))?;
        match agentkernel_sys::tree_channel::send(channel.as_fd(), shifted.as_fd()) {
            // It has failed before it came to them, and says why by its own way.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(BackendError::runtime("give a box its mounts", std::io::Error::from(errno))),
        }
    })
}

impl Tree {
    /// ELOOP where the user's path has become a link.
    fn shifted(&self, namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let (tree, attributes) = match self {
            Self::Layers(common) => {
                let attributes = MountAttributes::PLAIN.read_only();
                (clone_tree(&c_string(common), attributes)?, attributes)
            }
            Self::User { source, access } => {
                let attributes = attributes(*access);
                (clone_resolved_tree(&c_string(source), attributes)?, attributes)
            }
        };
        set_attributes(&tree, attributes, true, Some(namespace))?;
        Ok(tree)
    }

    fn refusal(&self, errno: Errno) -> BackendError {
        let (what, fix) = match self {
            Self::User { source, .. } => (
                format!("the mount of {}", source.display()),
                "mount a folder on ext4, xfs, btrfs or tmpfs with no other filesystem below it, or copy it in with \
                 `agentkernel cp`",
            ),
            Self::Layers(common) => (
                format!("images in {}", common.display()),
                "keep the state on ext4, xfs, btrfs or tmpfs (--state-dir), or run as an ordinary user",
            ),
        };
        BackendError::Unsupported {
            backend: NAME.to_owned(),
            what,
            fix: format!(
                "its filesystem, or one mounted below it, can't shift owners (idmapped mounts: {errno}); {fix}"
            ),
        }
    }
}
