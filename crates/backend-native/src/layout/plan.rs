//! What decides the layout, and the order of it all.

use std::ffi::CString;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use agentkernel_model::{Access, Mib};
use agentkernel_sys::mount::MountAttributes;
use agentkernel_sys::steps::Step;

use super::builder::{Builder, Point};
use super::{ImageFolders, host_root, image_root};

/// Where the files that a box writes are kept.
#[derive(Debug, Clone)]
pub(crate) enum Backing {
    /// In memory, at most so much; gone with the box.
    Memory {
        /// Its size.
        size: Mib,
    },
    /// In a folder of the host (made by [`crate::disk`]): kept.
    Folder(PathBuf),
    /// In a detached mount that the parent made.
    Tree(RawFd),
}

/// What a box starts from.
#[derive(Debug, Clone)]
pub(crate) enum Base {
    /// The host's own system.
    Host,
    /// An image.
    Image(ImageFolders),
}

impl Base {
    /// The folder that a first start makes last, beside the root.
    pub(crate) fn mark(&self) -> &'static str {
        match self {
            Self::Host => "usr",
            Self::Image(_) => "upper",
        }
    }
}

/// A host folder or file that the user wants inside.
#[derive(Debug, Clone)]
pub(crate) struct UserMount {
    /// On the host.
    pub(crate) source: PathBuf,
    /// Inside.
    pub(crate) target: PathBuf,
    /// What the box may do.
    pub(crate) access: Access,
    /// Whether it is a folder (else a file).
    pub(crate) is_folder: bool,
}

/// What decides the layout.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    /// What it starts from.
    pub(crate) base: &'a Base,
    /// The installed guest agent.
    pub(crate) agent: &'a Path,
    /// Where writes go.
    pub(crate) backing: Backing,
    /// Whether no box has run on it yet. What a box has written is never walked through again from outside of its root: a
    /// link in it could lead anywhere.
    pub(crate) fresh: bool,
    /// Whether the root can't be written.
    pub(crate) read_only: bool,
    /// An empty folder of the host to build on: in the box's mount namespace only, nothing is written to it.
    pub(crate) stage: &'a Path,
    /// Where the parent's start signal comes from, and mounts that it makes.
    pub(crate) go: RawFd,
    /// What the first process enters its limits by.
    pub(crate) cgroup_entries: Vec<PathBuf>,
    /// The box's host name.
    pub(crate) hostname: &'a str,
    /// Its resolver configuration.
    pub(crate) resolv_conf: Vec<u8>,
    /// Where its commands start.
    pub(crate) workdir: &'a Path,
    /// Whether supplementary groups can be dropped and group 5 owns terminals.
    pub(crate) many_ids: bool,
    /// Whether the parent sends the mounts of the image and of the user, in this order, with owners shifted.
    pub(crate) shifts_owners: bool,
    /// The user's mounts.
    pub(crate) mounts: Vec<UserMount>,
}

/// Devices of every box, by name.
pub(super) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// The slot that holds the folder for logs: beside the root, where no path of the box leads.
pub(crate) const LOG_SLOT: usize = 0;
/// The slot that holds the agent's program: a mount of its own, read-only for good, so that root of the box can't change
/// what other boxes run even where it is the file's owner.
pub(crate) const AGENT_SLOT: usize = 1;
const STAGE_SLOT: usize = 2;
pub(super) const PROC_SLOT: usize = 3;
pub(super) const FIRST_FREE_SLOT: usize = 4;

/// A text for the kernel. What comes from outside was checked to hold no NUL when it was parsed.
pub(crate) fn c_string(text: impl AsRef<std::ffi::OsStr>) -> CString {
    let bytes = text.as_ref().as_bytes();
    CString::new(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).unwrap_or_default()
}

impl Layout<'_> {
    /// All steps from the host's tree to the finished root.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut builder = Builder::new(match self.base {
            Base::Host => &host_root::PRESENT,
            Base::Image(_) => &image_root::PRESENT,
        });
        builder.steps.extend([Step::Umask(0), Step::PrivateMounts]);
        let layers = self.take_sources(&mut builder);
        let backing = self.take_backing(&mut builder);
        // Until here nothing depends on what the parent does meanwhile: id maps, limits, notes.
        builder.steps.push(Step::AwaitGo(self.go));
        let entries = self.cgroup_entries.iter().map(c_string).collect();
        builder.steps.extend([Step::EnterCgroups(entries), Step::CgroupNamespace]);
        builder.steps.push(Step::BecomeRoot { drop_groups: self.many_ids });
        // Made while the host's own is still in sight: a user namespace may see a new one only where it sees one whole.
        builder.steps.push(Step::NewFilesystem {
            slot: PROC_SLOT,
            kind: c"proc".into(),
            options: Vec::new(),
            attributes: MountAttributes::PLAIN.no_exec(),
        });
        self.enter_backing(&mut builder, backing);
        match (self.base, layers) {
            (Base::Image(image), Some(layers)) => self.image_root(&mut builder, image, layers),
            _ => self.host_root(&mut builder),
        }
        builder.put_all();
        // After the user's mounts: no link of an image leads them through a process's own files.
        self.process_files(&mut builder);
        if self.read_only {
            builder.steps.push(Step::ReadOnlyRoot);
        }
        builder.steps.push(Step::Umask(0o022));
        builder.steps
    }

    /// Copies of host folders are taken while the process is still the caller: afterwards private paths are closed to it.
    /// Returns the slot of an image's layers.
    fn take_sources(&self, builder: &mut Builder) -> Option<usize> {
        builder.steps.push(Step::CloneTree {
            slot: AGENT_SLOT,
            source: c_string(self.agent),
            attributes: MountAttributes::PLAIN.read_only(),
        });
        builder.steps.push(Step::OpenFolder { slot: STAGE_SLOT, path: c_string(self.stage) });
        let (layers, device_point) = match self.base {
            Base::Host => {
                self.take_host(builder);
                (None, Point::File)
            }
            Base::Image(image) => (Some(self.take_image(builder, image)), Point::Present),
        };
        for device in DEVICES {
            let path = Path::new("/dev").join(device);
            builder.take(&path, &path, MountAttributes::DEVICE, device_point);
        }
        self.mounts.iter().for_each(|mount| self.take_mount(builder, mount));
        // Over itself, after everything else is taken: so it goes with the old root, not with the descriptor.
        builder.steps.push(Step::AttachAndHold { slot: AGENT_SLOT, target: c_string(self.agent) });
        layers
    }

    fn take_mount(&self, builder: &mut Builder, mount: &UserMount) {
        let slot = match self.shifts_owners {
            true => builder.awaited_slot(),
            false => {
                let (slot, source) = (builder.slot(), c_string(&mount.source));
                let attributes = crate::trees::attributes(mount.access);
                builder.steps.push(Step::CloneResolvedTree { slot, source, attributes });
                slot
            }
        };
        let point = match self.base {
            Base::Image(_) => Self::point_in_image(mount.is_folder),
            Base::Host if mount.is_folder => Point::Folder,
            Base::Host => Point::File,
        };
        builder.attach_for_user(slot, &mount.target, point);
    }

    fn take_backing(&self, builder: &mut Builder) -> usize {
        let slot = builder.slot();
        match &self.backing {
            Backing::Memory { .. } => {}
            Backing::Folder(path) => builder.steps.push(Step::CloneTree {
                slot,
                source: c_string(path),
                attributes: MountAttributes::PLAIN,
            }),
            Backing::Tree(tree) => builder.steps.push(Step::AdoptTree { slot, tree: *tree }),
        }
        slot
    }

    /// Makes the box's own filesystem the working directory, with the folder for logs taken out of it.
    fn enter_backing(&self, builder: &mut Builder, backing: usize) {
        if let Backing::Memory { size } = &self.backing {
            builder.steps.push(Step::NewFilesystem {
                slot: backing,
                kind: c"tmpfs".into(),
                options: vec![
                    (c"size".into(), c_string(format!("{}", size.bytes()))),
                    (c"nr_inodes".into(), c_string(format!("{}", (size.bytes() / 4096).max(4096)))),
                    (c"mode".into(), c"0755".into()),
                ],
                attributes: MountAttributes::PLAIN,
            });
        }
        builder.steps.push(Step::AttachAndEnter { slot: backing, stage: STAGE_SLOT });
        builder.folder("log", 0o700);
        // A mount of its own, so that no `..` leads from the agent's descriptor to what is beside the root: links left
        // there would be met by the next start while the host's tree is still in sight.
        builder.steps.push(Step::CloneResolvedTree {
            slot: LOG_SLOT,
            source: c"log".into(),
            attributes: MountAttributes::PLAIN.no_exec(),
        });
        builder.steps.push(Step::AttachAndHold { slot: LOG_SLOT, target: c"log".into() });
    }

    /// What can be written below a root that can't.
    pub(super) fn writable_places(&self, builder: &mut Builder) {
        for (folder, target) in [("tmp", "/tmp"), ("shm", "/dev/shm")] {
            builder.folder(folder, 0o1777);
            let slot = builder.clone_beside(folder, MountAttributes::PLAIN);
            builder.attach_later(slot, Path::new(target), Point::Folder);
        }
    }
}

impl Builder {
    /// Waits for the mounts that the parent makes, if any.
    pub(super) fn await_trees(&mut self, from: RawFd) {
        let slots = std::mem::take(&mut self.awaited);
        if !slots.is_empty() {
            self.steps.push(Step::AwaitTrees { from, slots });
        }
    }
}
