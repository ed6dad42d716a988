//! Which folder of a hierarchy takes our groups, and what can be limited there.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::Resource;
use super::mounts::{Mount, Version, path_down};

/// Why something can't be limited here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The cause.
    pub why: String,
    /// What the user can do.
    pub fix: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.why, self.fix)
    }
}

/// Whether this process may write a path. Injected, since tests run as root, who may write anything.
pub(super) type MayWrite<'a> = &'a dyn Fn(&Path) -> Result<(), Errno>;

/// With the effective user, as the kernel will judge it.
pub(super) fn may_write(path: &Path) -> Result<(), Errno> {
    rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)
}

/// A folder that takes our groups, with the controllers that work there; the others each with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) version: Version,
    pub(super) parent: PathBuf,
    pub(super) controllers: Vec<Resource>,
    pub(super) missing: Vec<(Resource, Missing)>,
}

const DELEGATED_SCOPE: &str = "start it as `systemd-run --user --scope -p Delegate=yes agentkernel ...`";

/// The topmost folder of a v1 hierarchy that may be written.
pub(super) fn of_version_one(mount: &Mount, may_write: MayWrite<'_>) -> Place {
    let offered: Vec<Resource> = Resource::ALL.into_iter().filter(|it| mount.has(*it)).collect();
    let mut refusal = None;
    for folder in path_down(&mount.top, mount.own.as_deref()) {
        match may_write(&folder) {
            Ok(()) => {
                let parent = folder;
                return Place { version: Version::One, parent, controllers: offered, missing: Vec::new() };
            }
            Err(errno) => refusal = Some(errno),
        }
    }
    let missing = Missing {
        why: match refusal {
            Some(Errno::ROFS) => format!("{} is mounted read-only", mount.top.display()),
            _ => format!("this user may not make groups in {} (cgroup v1)", mount.top.display()),
        },
        fix: "run agentkernel as root, or boot with `systemd.unified_cgroup_hierarchy=1` for cgroup v2"
            .to_owned(),
    };
    Place {
        version: Version::One,
        parent: mount.top.clone(),
        controllers: Vec::new(),
        missing: offered.into_iter().map(|controller| (controller, missing.clone())).collect(),
    }
}

/// The folder of the v2 hierarchy, between its top and this process, where most of `wanted` can be limited; the topmost
/// of several: it outlives the session that this process belongs to.
pub(super) fn of_version_two(mount: &Mount, wanted: &[Resource], may_write: MayWrite<'_>) -> Place {
    let mut best: Option<Place> = None;
    let mut refusal = Errno::ACCESS;
    for folder in path_down(&mount.top, mount.own.as_deref()) {
        // Making groups needs the folder; moving a process needs cgroup.procs of the common ancestor, which is it.
        if let Err(errno) = may_write(&folder).and_then(|()| may_write(&folder.join("cgroup.procs"))) {
            refusal = errno;
            continue;
        }
        let place = judge(folder, wanted, may_write);
        if best.as_ref().is_none_or(|best| place.controllers.len() > best.controllers.len()) {
            best = Some(place);
        }
    }
    best.unwrap_or_else(|| {
        let missing = not_writable(mount, refusal);
        Place {
            version: Version::Two,
            parent: mount.top.clone(),
            controllers: Vec::new(),
            missing: wanted.iter().map(|controller| (*controller, missing.clone())).collect(),
        }
    })
}

fn not_writable(mount: &Mount, refusal: Errno) -> Missing {
    if refusal == Errno::ROFS {
        return Missing {
            why: format!("{} is mounted read-only", mount.top.display()),
            fix: format!(
                "mount it read-write (`mount -o remount,rw {}`; in a container, start that one privileged)",
                mount.top.display()
            ),
        };
    }
    let own = mount.own.as_deref().unwrap_or(&mount.top);
    Missing {
        why: format!("this process is in cgroup {}, which is not delegated to this user", own.display()),
        fix: format!("{DELEGATED_SCOPE}, or run it as root"),
    }
}

/// What can be limited in groups below `folder`, which may be written.
fn judge(folder: PathBuf, wanted: &[Resource], may_write: MayWrite<'_>) -> Place {
    let available = words(&folder.join("cgroup.controllers"));
    let control = folder.join("cgroup.subtree_control");
    let enabled = words(&control);
    let listed = |list: &[String], controller: Resource| list.iter().any(|name| name == controller.as_str());
    let (mut controllers, mut missing) = (Vec::new(), Vec::new());
    for controller in wanted.iter().copied() {
        if listed(&enabled, controller) {
            controllers.push(controller);
        } else if !listed(&available, controller) {
            missing.push((controller, not_delegated(&folder, controller)));
        } else if may_write(&control).is_err() {
            missing.push((controller, not_enabled(&folder, controller)));
        } else if is_hierarchy_root(&folder) || !holds_processes(&folder) {
            controllers.push(controller);
        } else {
            missing.push((controller, occupied(&folder, controller)));
        }
    }
    Place { version: Version::Two, parent: folder, controllers, missing }
}

fn not_delegated(folder: &Path, controller: Resource) -> Missing {
    if is_hierarchy_root(folder) {
        return Missing {
            why: format!("the kernel offers no {controller} controller on cgroup v2"),
            fix: format!("boot without `cgroup_disable={controller}`, with `cgroup_enable={controller}`"),
        };
    }
    Missing {
        why: format!("the {controller} controller is not delegated to cgroup {}", folder.display()),
        fix: "as root, write `[Service]` and `Delegate=cpu memory pids` to \
              /etc/systemd/system/user@.service.d/delegate.conf, run `systemctl daemon-reload` and log in again"
            .to_owned(),
    }
}

fn not_enabled(folder: &Path, controller: Resource) -> Missing {
    Missing {
        why: format!("the {controller} controller is not enabled below cgroup {}", folder.display()),
        fix: format!(
            "as root, `echo +{controller} > {}/cgroup.subtree_control`, or {DELEGATED_SCOPE}",
            folder.display()
        ),
    }
}

/// The "no internal processes" rule of cgroups(7).
fn occupied(folder: &Path, controller: Resource) -> Missing {
    Missing {
        why: format!(
            "cgroup {} holds processes itself, so the kernel lets no {controller} controller be enabled for groups in it",
            folder.display()
        ),
        fix: format!("{DELEGATED_SCOPE}, or move its processes to a group of their own"),
    }
}

/// Only the true root has no type, and only it is free of the "no internal processes" rule.
fn is_hierarchy_root(folder: &Path) -> bool {
    !folder.join("cgroup.type").exists()
}

/// Unreadable counts as yes: then nothing is tried.
fn holds_processes(folder: &Path) -> bool {
    fs::read(folder.join("cgroup.procs")).map_or(true, |processes| !processes.is_empty())
}

fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}
