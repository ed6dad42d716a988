//! What a program is made of.

use std::ffi::CString;
use std::os::fd::RawFd;

use crate::capability::CapabilitySet;
use crate::mount::MountAttributes;
use crate::overlay::OverlayFolders;
use crate::{landlock, rlimit, seccomp};

/// How many detached mounts a program may hold at once.
pub const SLOTS: usize = 128;

/// One thing to do. Paths are resolved where the program stands at that moment: before [`Step::PivotRoot`] that is the
/// host's tree, afterwards the box's own, so that a link left by an earlier tenant can't lead out.
#[derive(Debug)]
pub enum Step {
    /// Waits for a byte from the parent; end-of-file means that the parent died, and the child exits.
    AwaitGo(RawFd),
    /// Takes mounts into slots that the parent makes meanwhile and sends by [`crate::tree_channel::send`], in this order.
    /// End-of-file means that the parent died, and the child exits.
    AwaitTrees {
        /// The channel.
        from: RawFd,
        /// Where they are kept until attached.
        slots: Vec<usize>,
    },
    /// A session of its own, without a controlling terminal.
    NewSession,
    /// Makes a folder the working directory; by its path, since a descriptor of the parent's would lead around what is
    /// mounted in a namespace of the child's own.
    WorkingFolder(CString),
    /// Enters a network namespace of the parent's (setns(2)).
    EnterNetwork(RawFd),
    /// Becomes an ordinary user of this machine, for good: real, effective and saved ids (credentials(7)).
    BecomeUser {
        /// The user.
        user: u32,
        /// The group.
        group: u32,
        /// The supplementary groups, instead of the parent's.
        groups: Vec<u32>,
    },
    /// Enters cgroups of v1 by their `tasks` files, with the parent's rights. Done by the process itself and for one thread,
    /// which the kernel does at once (Linux 5.5 and later); anything else waits for all processors.
    EnterCgroups(Vec<CString>),
    /// The cgroup that the process is in becomes the root of what it sees.
    CgroupNamespace,
    /// Nothing that is mounted here shows outside, nor the other way round.
    PrivateMounts,
    /// Takes a private copy of the tree at `source` into a slot.
    CloneTree {
        /// Where it is kept until attached.
        slot: usize,
        /// A path of the host.
        source: CString,
        /// Added to all of it.
        attributes: MountAttributes,
    },
    /// The same for a path whose links were resolved before: one in it now fails with ELOOP. For what a box could have
    /// exchanged: folders that others may write above, and what an earlier tenant left.
    CloneResolvedTree {
        /// Where it is kept until attached.
        slot: usize,
        /// A path without links.
        source: CString,
        /// Added to all of it.
        attributes: MountAttributes,
    },
    /// Puts a detached mount that the parent made into a slot.
    AdoptTree {
        /// Where it is kept until attached.
        slot: usize,
        /// The parent's descriptor.
        tree: RawFd,
    },
    /// Opens a folder into a slot.
    OpenFolder {
        /// Where it is kept.
        slot: usize,
        /// Its path; not a link.
        path: CString,
    },
    /// Becomes root of the user namespace.
    BecomeRoot {
        /// Whether supplementary groups can be dropped (they can't in a namespace with setgroups denied).
        drop_groups: bool,
    },
    /// Is killed when the thread that cloned it ends; after [`Step::BecomeRoot`], which would take that back (prctl(2),
    /// PR_SET_PDEATHSIG).
    DieWithParent,
    /// A new filesystem in a slot.
    NewFilesystem {
        /// Where it is kept until attached.
        slot: usize,
        /// `tmpfs`, `overlay`, `proc`, `devpts`.
        kind: CString,
        /// Options of the filesystem; an empty value is a flag.
        options: Vec<(CString, CString)>,
        /// What its mount forbids.
        attributes: MountAttributes,
    },
    /// An overlay in a slot; its folders are relative to the working directory.
    NewOverlay {
        /// Where it is kept until attached.
        slot: usize,
        /// What it is made of.
        folders: OverlayFolders,
        /// What its mount forbids.
        attributes: MountAttributes,
    },
    /// Attaches a slot at a path that exists.
    Attach {
        /// The slot, empty afterwards.
        slot: usize,
        /// Where.
        target: CString,
    },
    /// Attaches a slot over a folder and makes it the working directory.
    AttachAndEnter {
        /// The slot, still held afterwards.
        slot: usize,
        /// The slot of the folder, opened by [`Step::OpenFolder`].
        stage: usize,
    },
    /// Attaches a slot over a folder, which may not be a link.
    AttachToFolder {
        /// The slot, empty afterwards.
        slot: usize,
        /// The folder.
        folder: CString,
    },
    /// Attaches a slot over a file or folder and holds it. A detached mount that is held only is unmounted when the last
    /// descriptor goes, which waits for an RCU grace period; one that goes with the old root is not.
    AttachAndHold {
        /// The slot, still held afterwards.
        slot: usize,
        /// Where; the mount is out of sight once the root is changed.
        target: CString,
    },
    /// Makes the folder `root` of the working directory the root of everything and lets go of the old one.
    PivotRoot,
    /// Attaches a slot to the folder `root` of the working directory and makes it the root of everything instead.
    PivotInto {
        /// The slot, empty afterwards.
        slot: usize,
    },
    /// A folder that is one: fine if it is there, and whatever else is there is replaced. For what an image or an earlier
    /// tenant may have put in its place.
    OwnFolder {
        /// Where.
        path: CString,
        /// Its permissions where it is new.
        mode: u32,
    },
    /// A file to mount on, in the same way; a folder in its place is left, and the mount on it will fail.
    OwnFile(CString),
    /// A folder without anything in it, whatever an earlier tenant has put there.
    EmptyFolder {
        /// Where; not a link.
        path: CString,
        /// Its permissions where it is new.
        mode: u32,
    },
    /// A folder; fine if it is there.
    Directory {
        /// Where.
        path: CString,
        /// Its permissions.
        mode: u32,
    },
    /// Gives something another name.
    Rename {
        /// Before.
        from: CString,
        /// After.
        to: CString,
    },
    /// A symbolic link; fine if something is there.
    Symlink {
        /// What it says.
        target: CString,
        /// Where.
        path: CString,
    },
    /// A file with this content, replacing another.
    File {
        /// Where.
        path: CString,
        /// Its permissions where it is new.
        mode: u32,
        /// All of it.
        content: Vec<u8>,
    },
    /// A file with this content where none is.
    FileOnce {
        /// Where.
        path: CString,
        /// Its permissions.
        mode: u32,
        /// All of it.
        content: Vec<u8>,
    },
    /// Writes a kernel setting.
    Setting {
        /// A file below `/proc/sys`.
        path: CString,
        /// The value.
        value: CString,
    },
    /// The permissions that new files lack.
    Umask(u32),
    /// An empty file to mount on; fine if it is there.
    MountPoint(CString),
    /// Makes the root mount read-only (not what is mounted below it).
    ReadOnlyRoot,
    /// The host name of the box.
    HostName(Vec<u8>),
    /// Brings the loopback interface up.
    Loopback,
    /// A limit that holds for each process.
    ResourceLimit(rlimit::Limit),
    /// Removes all that is in a folder of the parent's.
    RemoveContents(RawFd),
    /// Ends well, without an exec.
    Finish,
    /// Puts descriptors of the parent at their final numbers and closes all others; standard streams become /dev/null.
    Descriptors(Vec<Descriptor>),
    /// Gives up all capabilities but these, for good: no exec brings them back.
    Capabilities(CapabilitySet),
    /// No exec gives more rights than there were before it, for good (prctl(2), PR_SET_NO_NEW_PRIVS).
    NoNewPrivileges,
    /// Restricts files and scopes. Needs [`Step::Capabilities`] before it. What no path leads to is named by its number
    /// after [`Step::Descriptors`], as `/proc/self/fd/N`.
    Landlock(landlock::Policy),
    /// Restricts system calls.
    Seccomp(seccomp::Filter),
}

/// Where a descriptor comes from.
#[derive(Debug, Clone, Copy)]
pub enum Origin {
    /// A number of the parent's.
    Parent(RawFd),
    /// A slot.
    Slot(usize),
}

/// A descriptor and its number in the box's first program.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// What it is a copy of.
    pub from: Origin,
    /// In the program; 1 and 2 are its output, which is lost otherwise.
    pub to: RawFd,
    /// Whether it is closed by exec.
    pub close_on_exec: bool,
}

impl std::fmt::Display for Step {
    /// As a verb phrase, for errors.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AwaitGo(_) => write!(f, "wait for the start signal"),
            Self::AwaitTrees { .. } => write!(f, "wait for mounts with shifted owners"),
            Self::NewSession => write!(f, "start a session"),
            Self::WorkingFolder(path) => write!(f, "enter {}", path.to_string_lossy()),
            Self::EnterNetwork(_) => write!(f, "enter the network"),
            Self::BecomeUser { user, group, .. } => write!(f, "become user {user} of group {group}"),
            Self::EnterCgroups(_) => write!(f, "come under the limits"),
            Self::CgroupNamespace => write!(f, "make a cgroup namespace"),
            Self::PrivateMounts => write!(f, "make the mounts private"),
            Self::CloneTree { source, .. } | Self::CloneResolvedTree { source, .. } => {
                write!(f, "take {}", source.to_string_lossy())
            }
            Self::AdoptTree { .. } => write!(f, "adopt a mount"),
            Self::OpenFolder { path, .. } => write!(f, "open {}", path.to_string_lossy()),
            Self::BecomeRoot { .. } => write!(f, "become root of the user namespace"),
            Self::DieWithParent => write!(f, "die with the parent"),
            Self::NewFilesystem { kind, .. } => write!(f, "make a {} filesystem", kind.to_string_lossy()),
            Self::NewOverlay { folders, .. } => {
                write!(f, "lay the {} layers of the image over each other", folders.count())
            }
            Self::Attach { target, .. } => write!(f, "mount {}", target.to_string_lossy()),
            Self::AttachToFolder { folder, .. } => write!(f, "mount {}", folder.to_string_lossy()),
            Self::AttachAndHold { target, .. } => write!(f, "mount {}", target.to_string_lossy()),
            Self::AttachAndEnter { .. } => write!(f, "enter the new root's filesystem"),
            Self::PivotRoot | Self::PivotInto { .. } => write!(f, "change the root"),
            Self::EmptyFolder { path, .. } => write!(f, "empty the folder {}", path.to_string_lossy()),
            Self::Directory { path, .. } | Self::OwnFolder { path, .. } => {
                write!(f, "make the folder {}", path.to_string_lossy())
            }
            Self::Rename { to, .. } => write!(f, "make {}", to.to_string_lossy()),
            Self::Symlink { path, .. } => write!(f, "make the link {}", path.to_string_lossy()),
            Self::File { path, .. } | Self::FileOnce { path, .. } => {
                write!(f, "write {}", path.to_string_lossy())
            }
            Self::Setting { path, .. } => write!(f, "set {}", path.to_string_lossy()),
            Self::Umask(_) => write!(f, "set the file mode mask"),
            Self::MountPoint(path) | Self::OwnFile(path) => {
                write!(f, "make the file {}", path.to_string_lossy())
            }
            Self::ReadOnlyRoot => write!(f, "make the root read-only"),
            Self::HostName(_) => write!(f, "set the host name"),
            Self::Loopback => write!(f, "bring up the loopback interface"),
            Self::ResourceLimit(limit) => write!(f, "limit {:?}", limit.resource),
            Self::RemoveContents(_) => write!(f, "remove what is in a folder"),
            Self::Finish => write!(f, "finish"),
            Self::Descriptors(_) => write!(f, "place the descriptors"),
            Self::Capabilities(_) => write!(f, "give up capabilities"),
            Self::NoNewPrivileges => write!(f, "give up new privileges"),
            Self::Landlock(_) => write!(f, "restrict files with Landlock"),
            Self::Seccomp(_) => write!(f, "install the system call filter"),
        }
    }
}

impl Step {
    /// The numbers of the parent's that it uses.
    pub(super) fn of_parent(&self) -> Vec<RawFd> {
        match self {
            Self::AwaitGo(fd)
            | Self::AwaitTrees { from: fd, .. }
            | Self::AdoptTree { tree: fd, .. }
            | Self::EnterNetwork(fd)
            | Self::RemoveContents(fd) => vec![*fd],
            Self::Descriptors(descriptors) => descriptors
                .iter()
                .filter_map(|descriptor| match descriptor.from {
                    Origin::Parent(fd) => Some(fd),
                    Origin::Slot(_) => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What it is part of, for a table of costs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AwaitGo(_) => "wait for the parent: id maps, notes",
            Self::EnterCgroups(_) | Self::CgroupNamespace => "enter the cgroups",
            Self::CloneTree { .. }
            | Self::CloneResolvedTree { .. }
            | Self::AdoptTree { .. }
            | Self::AwaitTrees { .. } => "copies of host folders",
            Self::NewFilesystem { .. } | Self::NewOverlay { .. } => {
                "new filesystems: tmpfs, overlay, proc, devpts"
            }
            Self::Attach { .. }
            | Self::AttachAndEnter { .. }
            | Self::AttachAndHold { .. }
            | Self::AttachToFolder { .. } => "mounts",
            Self::PivotRoot | Self::PivotInto { .. } | Self::PrivateMounts | Self::ReadOnlyRoot => {
                "private mounts, change of root"
            }
            Self::Directory { .. }
            | Self::Rename { .. }
            | Self::Symlink { .. }
            | Self::File { .. }
            | Self::FileOnce { .. }
            | Self::MountPoint(_)
            | Self::OwnFolder { .. }
            | Self::OwnFile(_)
            | Self::EmptyFolder { .. }
            | Self::OpenFolder { .. } => "folders, links and files of the root",
            Self::Loopback => "loopback interface",
            Self::Capabilities(_) | Self::NoNewPrivileges => "capabilities",
            Self::Landlock(_) => "Landlock",
            Self::Seccomp(_) => "seccomp",
            Self::NewSession
            | Self::WorkingFolder(_)
            | Self::EnterNetwork(_)
            | Self::BecomeUser { .. }
            | Self::BecomeRoot { .. }
            | Self::DieWithParent
            | Self::HostName(_)
            | Self::Setting { .. }
            | Self::ResourceLimit(_)
            | Self::Umask(_)
            | Self::RemoveContents(_)
            | Self::Finish
            | Self::Descriptors(_) => "session, ids, host name, descriptors",
        }
    }
}
