//! What this machine can limit, and the groups that exist on it.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::group::{Cgroup, Folder};
use super::mounts::{self, Version};
use super::place::{self, MayWrite, Missing, Place};
use super::{CgroupError, CgroupLimits, Resource};

/// The folder that holds our groups in each hierarchy.
const PARENT: &str = "agentkernel";
const LONGEST_NAME: usize = 128;
/// More than most machines' list of mounts.
const ROOM: usize = 16 * 1024;

/// The control groups of this machine, as this process may use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupHost {
    places: Vec<Place>,
    missing: Vec<(Resource, Missing)>,
}

impl CgroupHost {
    /// Looks at the mounts and at where this process is; changes nothing. Takes a fraction of a millisecond.
    pub fn detect() -> Self {
        // With room for all of it: files of /proc don't tell their length, and each read makes the list anew.
        let read = |file| {
            let mut bytes = Vec::with_capacity(ROOM);
            // What can't be read says nothing of any group.
            match fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)) {
                Ok(_) => bytes,
                Err(_) => Vec::new(),
            }
        };
        Self::from_parts(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"), &place::may_write)
    }

    /// As [`Self::detect`], with the kernel's answers given.
    pub(super) fn from_parts(mountinfo: &[u8], own_groups: &[u8], may_write: MayWrite<'_>) -> Self {
        let mounts = mounts::parse(mountinfo, own_groups);
        let mut rest = Resource::ALL.to_vec();
        let mut places = Vec::new();
        for mount in mounts.iter().filter(|mount| mount.version == Version::One) {
            if rest.iter().any(|controller| mount.has(*controller)) {
                rest.retain(|controller| !mount.has(*controller));
                places.push(place::of_version_one(mount, may_write));
            }
        }
        let unified = mounts.iter().find(|mount| mount.version == Version::Two);
        if let (Some(mount), false) = (unified, rest.is_empty()) {
            places.push(place::of_version_two(mount, &rest, may_write));
            rest.clear();
        }
        let mut missing: Vec<_> = places.iter_mut().flat_map(|place| place.missing.drain(..)).collect();
        missing.extend(rest.into_iter().map(|controller| (controller, not_mounted(controller))));
        places.retain(|place| !place.controllers.is_empty());
        Self { places, missing }
    }

    /// Whether `resource` can be limited; if not, why, and what the user can do.
    pub fn can_limit(&self, resource: Resource) -> Result<(), String> {
        self.missing(resource).map_or(Ok(()), |missing| Err(missing.to_string()))
    }

    fn missing(&self, resource: Resource) -> Option<&Missing> {
        self.missing.iter().find(|(missing, _)| *missing == resource).map(|(_, why)| why)
    }

    /// In words: `cgroup v1 (memory, cpu, pids)`, `no cgroup`.
    pub fn describe(&self) -> String {
        let versions = [(Version::One, "cgroup v1"), (Version::Two, "cgroup v2")];
        let parts = versions.into_iter().filter_map(|(version, name)| {
            let of_version = |resource: &Resource| {
                self.places
                    .iter()
                    .any(|place| place.version == version && place.controllers.contains(resource))
            };
            let resources: Vec<&str> =
                Resource::ALL.into_iter().filter(of_version).map(Resource::as_str).collect();
            (!resources.is_empty()).then(|| format!("{name} ({})", resources.join(", ")))
        });
        let parts: Vec<String> = parts.collect();
        if parts.is_empty() { "no cgroup".to_owned() } else { parts.join(", ") }
    }

    /// Makes the group `name` with `limits`, in the hierarchies that they need (none without limits). The group and all
    /// in it end with the handle, unless [`Cgroup::keep`] is called.
    ///
    /// # Errors
    /// [`CgroupError::CannotLimit`] before anything is changed; after any other error nothing is left behind.
    pub fn create(&self, name: &str, limits: &CgroupLimits) -> Result<Cgroup, CgroupError> {
        let mut group = self.begin(name, limits)?;
        self.complete(&mut group, name, limits)?;
        Ok(group)
    }

    /// What of it a child has to be born into: the group of version 2, its limits in force. The rest is made by
    /// [`Self::complete`], while a child that will enter it by itself waits.
    pub fn begin(&self, name: &str, limits: &CgroupLimits) -> Result<Cgroup, CgroupError> {
        check_name(name)?;
        for controller in limits.controllers() {
            if let Some(missing) = self.missing(controller) {
                return Err(CgroupError::CannotLimit { resource: controller, missing: missing.clone() });
            }
        }
        let mut group = Cgroup::armed();
        for (place, needed) in self.places_for(Version::Two, limits) {
            let parent = place.parent.join(PARENT);
            let folder = make_in(place, &mut group, &parent, name)?;
            limit_version_two(place, &parent, folder, &needed, limits)?;
        }
        Ok(group)
    }

    /// Makes the parts of version 1 of a group that [`Self::begin`] has begun, their limits in force.
    ///
    /// # Errors
    /// The group may hold a part of them then, which end with it.
    pub fn complete(&self, group: &mut Cgroup, name: &str, limits: &CgroupLimits) -> Result<(), CgroupError> {
        for (place, needed) in self.places_for(Version::One, limits) {
            limits.apply(make_in(place, group, &place.parent.join(PARENT), name)?, &needed)?;
        }
        Ok(())
    }

    /// Where a process enters the parts of version 1 by itself ([`crate::steps::Step::EnterCgroups`]), once they are
    /// complete: one that is moved by another waits for an RCU grace period first, some 10 ms on an idle machine.
    pub fn entries(&self, name: &str, limits: &CgroupLimits) -> Vec<PathBuf> {
        let entry = |(place, _): (&Place, _)| place.parent.join(PARENT).join(name).join("tasks");
        self.places_for(Version::One, limits).map(entry).collect()
    }

    /// The places that `limits` need, each with what it limits.
    fn places_for(
        &self,
        version: Version,
        limits: &CgroupLimits,
    ) -> impl Iterator<Item = (&Place, Vec<Resource>)> {
        self.places.iter().filter(move |place| place.version == version).filter_map(|place| {
            let needed: Vec<Resource> =
                limits.controllers().filter(|controller| place.controllers.contains(controller)).collect();
            (!needed.is_empty()).then_some((place, needed))
        })
    }

    /// The group `name`, whoever made it; `None` where no hierarchy has it. It outlives the handle.
    pub fn open(&self, name: &str) -> Result<Option<Cgroup>, CgroupError> {
        check_name(name)?;
        let mut group = Cgroup::armed();
        for place in &self.places {
            let path = place.parent.join(PARENT).join(name);
            match Folder::open(place.version, path, &place.controllers) {
                Ok(folder) => {
                    group.push(folder);
                }
                Err(CgroupError::System { source: Errno::NOENT, .. }) => {}
                Err(error) => {
                    group.disarm();
                    return Err(error);
                }
            }
        }
        group.disarm();
        Ok((!group.is_empty()).then_some(group))
    }

    /// The names of all groups that exist, of dead owners too.
    pub fn list(&self) -> Result<Vec<String>, CgroupError> {
        let mut names = Vec::new();
        for parent in self.parents() {
            let system = |error: std::io::Error| CgroupError::System {
                action: "list",
                path: parent.clone(),
                source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
            };
            let entries = match fs::read_dir(&parent) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.map_err(system)?,
            };
            for entry in entries {
                let entry = entry.map_err(system)?;
                if entry.file_type().map_err(system)?.is_dir() {
                    names.extend(entry.file_name().into_string());
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Removes the folders that hold our groups where none is left. [`Self::create`] makes them again, so it may be
    /// called at any time.
    pub fn remove_empty_parents(&self) -> Result<(), CgroupError> {
        for path in self.parents() {
            match rustix::fs::rmdir(&path) {
                Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => {}
                Err(source) => return Err(CgroupError::System { action: "remove", path, source }),
            }
        }
        Ok(())
    }

    fn parents(&self) -> impl Iterator<Item = PathBuf> {
        self.places.iter().map(|place| place.parent.join(PARENT))
    }
}

fn make_in<'a>(
    place: &Place,
    group: &'a mut Cgroup,
    parent: &Path,
    name: &str,
) -> Result<&'a Folder, CgroupError> {
    let path = parent.join(name);
    make_folder(parent, &path)?;
    Ok(group.push(Folder::open(place.version, path, &place.controllers)?))
}

fn not_mounted(controller: Resource) -> Missing {
    Missing {
        why: format!("no cgroup hierarchy with the {controller} controller is mounted"),
        fix: "as root, `mount -t cgroup2 none /sys/fs/cgroup`".to_owned(),
    }
}

fn check_name(name: &str) -> Result<(), CgroupError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > LONGEST_NAME || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(CgroupError::BadName { name: name.to_owned() });
    }
    Ok(())
}

/// The parent is there nearly always, so it is made only when it turns out to be missing; and again when somebody
/// removed it in between.
fn make_folder(parent: &Path, path: &Path) -> Result<(), CgroupError> {
    const ATTEMPTS: usize = 8;
    for _ in 0..ATTEMPTS {
        match rustix::fs::mkdir(path, Mode::from(0o755)) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => return Err(CgroupError::AlreadyExists { path: path.to_owned() }),
            Err(Errno::NOENT) => match rustix::fs::mkdir(parent, Mode::from(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(source) => {
                    return Err(CgroupError::System { action: "make", path: parent.to_owned(), source });
                }
            },
            Err(source) => return Err(CgroupError::System { action: "make", path: path.to_owned(), source }),
        }
    }
    Err(CgroupError::System { action: "make", path: path.to_owned(), source: Errno::NOENT })
}

/// On v2, a controller's files are missing until it is enabled in both folders above: once for all groups, so that is
/// tried only when needed.
fn limit_version_two(
    place: &Place,
    parent: &Path,
    folder: &Folder,
    needed: &[Resource],
    limits: &CgroupLimits,
) -> Result<(), CgroupError> {
    match limits.apply(folder, needed) {
        Err(CgroupError::System { source: Errno::NOENT, .. }) => {
            enable(&place.parent, needed)?;
            enable(parent, needed)?;
            limits.apply(folder, needed)
        }
        other => other,
    }
}

pub(super) fn enable(folder: &Path, controllers: &[Resource]) -> Result<(), CgroupError> {
    let path = folder.join("cgroup.subtree_control");
    let system = |error: std::io::Error| CgroupError::System {
        action: "enable controllers in",
        path: path.clone(),
        source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    };
    let enabled = fs::read_to_string(&path).map_err(system)?;
    let is_enabled =
        |controller: &&Resource| enabled.split_ascii_whitespace().any(|name| name == controller.as_str());
    let wanted: Vec<String> =
        controllers.iter().filter(|it| !is_enabled(it)).map(|controller| format!("+{controller}")).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    fs::write(&path, wanted.join(" ")).map_err(system)
}
