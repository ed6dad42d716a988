//! The root of an OCI image: its layers over each other, and above them a folder of the box's own, which begins with the
//! places that make a box what it is. An image is hostile: what it has at those places is hidden by ours, and nothing
//! of it is resolved but in the box's own root.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use agentkernel_sys::mount::MountAttributes;
use agentkernel_sys::overlay::OverlayFolders;
use agentkernel_sys::steps::Step;

use super::builder::{Builder, Point};
use super::plan::{DEVICES, Layout, c_string};

/// Where the layers are beside the root, while the overlay is made.
const LAYERS: &str = "image";

/// The folders of ours in every image's root, with the permissions that they get whatever the image says.
const OWN_FOLDERS: [(&str, u32); 5] =
    [("/dev", 0o755), ("/etc", 0o755), ("/proc", 0o555), ("/sys", 0o555), ("/tmp", 0o1777)];

/// Their names alone.
pub(super) const PRESENT: [&str; OWN_FOLDERS.len()] = ["/dev", "/etc", "/proc", "/sys", "/tmp"];

/// An unpacked image on the host.
#[derive(Debug, Clone)]
pub(crate) struct ImageFolders {
    /// A folder that all layers are below: one copy of its mount serves them all.
    pub(crate) common: PathBuf,
    /// The layers, relative to it, topmost first.
    pub(crate) layers: Vec<PathBuf>,
}

impl ImageFolders {
    /// Of layers as the store has them: lowest first, absolute. `None` where there are none, or they have no folder in
    /// common.
    pub(crate) fn of(lowest_first: &[PathBuf]) -> Option<Self> {
        let mut common = lowest_first.first()?.parent()?;
        while !lowest_first.iter().all(|layer| layer.starts_with(common) && layer != common) {
            common = common.parent()?;
        }
        let relative = |layer: &PathBuf| layer.strip_prefix(common).ok().map(Path::to_owned);
        let layers: Option<Vec<PathBuf>> = lowest_first.iter().rev().map(relative).collect();
        Some(Self { common: common.to_owned(), layers: layers? })
    }

    /// The layers as the overlay finds them.
    fn lowers(&self) -> Vec<CString> {
        self.layers.iter().map(|layer| c_string(Path::new(LAYERS).join(layer))).collect()
    }
}

impl Layout<'_> {
    /// The mount of the layers: ours where owners are those on the disk, the parent's where they have to be shifted.
    pub(super) fn take_image(&self, builder: &mut Builder, image: &ImageFolders) -> usize {
        if self.shifts_owners {
            return builder.awaited_slot();
        }
        let slot = builder.slot();
        let attributes = MountAttributes::PLAIN.read_only();
        builder.steps.push(Step::CloneTree { slot, source: c_string(&image.common), attributes });
        slot
    }

    /// The working directory is the box's own filesystem; what is in it now no box can reach by any path.
    pub(super) fn image_root(&self, builder: &mut Builder, image: &ImageFolders, layers: usize) {
        for (folder, mode) in [("root", 0o755), ("work", 0o700), ("sys", 0o555), (LAYERS, 0o755)] {
            builder.folder(folder, mode);
        }
        self.own_devices(builder);
        if self.fresh {
            self.own_places(builder);
        }
        if self.read_only {
            self.writable_places(builder);
        }
        builder.await_trees(self.go);
        builder.steps.push(Step::AttachToFolder { slot: layers, folder: c_string(LAYERS) });
        let root = builder.slot();
        builder.steps.push(Step::NewOverlay {
            slot: root,
            folders: OverlayFolders::new(image.lowers(), c"upper".into(), c"work".into()),
            attributes: MountAttributes::PLAIN,
        });
        let plain = MountAttributes::PLAIN;
        let dev = builder.clone_beside("dev", if self.read_only { plain.read_only() } else { plain });
        let sys = builder.clone_beside("sys", plain.no_exec().read_only());
        builder.steps.push(Step::PivotInto { slot: root });
        if !self.fresh {
            self.own_places_again(builder);
        }
        builder.steps.push(Step::Attach { slot: dev, target: c"/dev".into() });
        builder.steps.push(Step::Attach { slot: sys, target: c"/sys".into() });
        self.workdir(builder);
    }

    /// `/dev` is made anew at each start: nothing that an earlier tenant left there is met.
    fn own_devices(&self, builder: &mut Builder) {
        match self.fresh {
            true => builder.folder("dev", 0o755),
            false => builder.steps.push(Step::EmptyFolder { path: c"dev".into(), mode: 0o755 }),
        }
        builder.folder("dev/pts", 0o755);
        builder.folder("dev/shm", 0o1777);
        for device in DEVICES {
            builder.steps.push(Step::MountPoint(c_string(format!("dev/{device}"))));
        }
        Self::device_links(builder, "dev");
    }

    /// The beginning of the upper folder: no box has run on it, so that plain paths lead nowhere else. A folder here hides
    /// whatever an image has in its place but a folder, and that one's permissions.
    fn own_places(&self, builder: &mut Builder) {
        builder.folder("upper.new", 0o755);
        for (folder, mode) in OWN_FOLDERS {
            builder.folder(format!("upper.new{folder}"), mode);
        }
        self.host_names(builder, "upper.new/etc");
        builder.steps.push(Step::Rename { from: c"upper.new".into(), to: c"upper".into() });
    }

    /// The same in the box's own root, where an earlier tenant may have changed it all.
    fn own_places_again(&self, builder: &mut Builder) {
        for (folder, mode) in OWN_FOLDERS {
            builder.steps.push(Step::OwnFolder { path: c_string(folder), mode });
        }
        self.host_names(builder, "/etc");
    }

    /// Where commands start is there, as with every engine (image-spec, config.md, "WorkingDir"); but not in what is made
    /// anew at each start.
    fn workdir(&self, builder: &mut Builder) {
        let made_anew = ["/dev", "/proc", "/sys"].iter().any(|folder| self.workdir.starts_with(folder));
        if !made_anew && self.workdir.parent().is_some() {
            builder.parents(self.workdir);
            builder.folder(self.workdir, 0o755);
        }
    }

    /// What a user's mount is attached to in an image.
    pub(super) fn point_in_image(is_folder: bool) -> Point {
        if is_folder { Point::OwnFolder } else { Point::OwnFile }
    }
}
