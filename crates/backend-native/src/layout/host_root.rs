//! The root of image `host`: the host's own system folders, read-only, on a filesystem of the box's own.

use std::path::Path;

use agentkernel_sys::mount::MountAttributes;
use agentkernel_sys::steps::Step;

use super::builder::{Builder, Point};
use super::plan::{Layout, c_string};
use crate::host_system::{self, Part};

/// The folders of every root, parents first.
const BASE_FOLDERS: [(&str, u32); 22] = [
    ("/dev", 0o755),
    ("/dev/pts", 0o755),
    ("/dev/shm", 0o1777),
    ("/etc", 0o755),
    ("/home", 0o755),
    ("/home/user", 0o755),
    ("/media", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/run/lock", 0o1777),
    ("/srv", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/var", 0o755),
    ("/var/cache", 0o755),
    ("/var/lib", 0o755),
    ("/var/log", 0o755),
    ("/var/tmp", 0o1777),
    ("/workspace", 0o755),
];

/// Their names alone.
pub(super) const PRESENT: [&str; BASE_FOLDERS.len()] = {
    let mut names = [""; BASE_FOLDERS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = BASE_FOLDERS[index].0;
        index += 1;
    }
    names
};

impl Layout<'_> {
    /// Copies of the system folders, taken while the process is still the caller.
    pub(super) fn take_host(&self, builder: &mut Builder) {
        let read_only = MountAttributes::PLAIN.read_only();
        for part in host_system::parts() {
            match part {
                Part::Link { path, target } => builder.link_later(path, target),
                Part::Folder(path) => builder.take(&path, &path, read_only, Point::Folder),
                Part::File(path) => builder.take(&path, &path, read_only, Point::File),
            }
        }
        if self.read_only {
            let usr = Path::new(host_system::USR);
            builder.take(usr, usr, read_only, Point::Folder);
        }
    }

    pub(super) fn host_root(&self, builder: &mut Builder) {
        builder.folder("root", 0o755);
        if self.read_only {
            self.writable_places(builder);
        } else {
            self.writable_usr(builder);
        }
        builder.steps.push(Step::PivotRoot);
        for (folder, mode) in BASE_FOLDERS {
            builder.folder(folder, mode);
        }
        for (path, target) in [("/var/run", "/run"), ("/var/lock", "/run/lock")] {
            builder.link(path, target);
        }
        Self::device_links(builder, "/dev");
        self.host_names(builder, "/etc");
        Self::accounts(builder);
        builder.await_trees(self.go);
    }

    /// `/usr` of the host below, a folder of the box's own above.
    fn writable_usr(&self, builder: &mut Builder) {
        if self.fresh {
            for folder in ["usr.new", "usr.new/upper", "usr.new/work"] {
                builder.folder(folder, 0o755);
            }
            for folder in host_system::writable_usr() {
                builder.folder(format!("usr.new/upper/{folder}"), 0o755);
            }
            builder.steps.push(Step::Rename { from: c"usr.new".into(), to: c"usr".into() });
        }
        let slot = builder.slot();
        builder.steps.push(Step::NewFilesystem {
            slot,
            kind: c"overlay".into(),
            options: vec![
                (c"lowerdir".into(), c_string(host_system::USR)),
                (c"upperdir".into(), c"usr/upper".into()),
                (c"workdir".into(), c"usr/work".into()),
                (c"userxattr".into(), c"".into()),
            ],
            attributes: MountAttributes::PLAIN,
        });
        builder.attach_later(slot, Path::new(host_system::USR), Point::Folder);
    }
}
