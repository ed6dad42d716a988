//! What this machine offers to native boxes, found out without making any.

use std::path::Path;

use agentkernel_model::{Capabilities, Feature};
use agentkernel_network::{CurrentNetwork, NetworkHost};
use agentkernel_sys::cgroup::{CgroupHost, Resource};
use agentkernel_sys::landlock::LandlockAbi;

use crate::identity::{IdMap, RANGE, Subordinate};

/// Facts of this machine and this caller.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Whether boxes are made without root.
    pub(crate) rootless: bool,
    /// An ordinary caller's subordinate ids, or why there are none.
    pub(crate) subordinate: Result<Subordinate, String>,
    pub(crate) cgroups: CgroupHost,
    network: CurrentNetwork,
    pub(crate) landlock: Option<LandlockAbi>,
    uid: u32,
    gid: u32,
}

impl Machine {
    /// Looks around: a few small files, no processes.
    pub(crate) fn detect() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let rootless = uid != 0 || !maps_all_ids();
        let subordinate = match rootless {
            true => Subordinate::detect(uid, user_name(uid).as_deref()),
            false => Err("not needed".to_owned()),
        };
        Self {
            rootless,
            subordinate,
            cgroups: CgroupHost::detect(),
            network: CurrentNetwork::detect(rootless),
            landlock: LandlockAbi::detect(),
            uid,
            gid,
        }
    }

    /// How boxes get their network now: a process that lives long may see its machine move to another.
    pub(crate) fn network(&self) -> NetworkHost {
        self.network.now()
    }

    /// Ids for a new box.
    pub(crate) fn new_id_map(&self) -> std::io::Result<IdMap> {
        let (uid, gid) = (self.uid, self.gid);
        match (&self.subordinate, self.rootless) {
            (_, false) => IdMap::own(),
            (Ok(given), true) => {
                Ok(IdMap::Subordinate { uid, gid, users: given.users, groups: given.groups })
            }
            (Err(_), true) => Ok(IdMap::Single { uid, gid }),
        }
    }

    /// How many ids a box has for users and for groups each, from 0 on; where there is only root, other users are refused
    /// by [`Feature::OtherUsers`] already.
    pub(crate) fn ids(&self) -> u32 {
        match &self.subordinate {
            Ok(given) => given.users.1.min(given.groups.1).saturating_add(1),
            Err(_) => RANGE,
        }
    }

    /// Why no box can be made here, and the fix; `None` where one can, as far as can be told without trying.
    pub(crate) fn obstacle(&self) -> Option<(String, String)> {
        let sysctl = |path: &str| std::fs::read_to_string(Path::new("/proc/sys").join(path)).ok();
        let is = |path: &str, value: &str| sysctl(path).is_some_and(|text| text.trim() == value);
        if is("user/max_user_namespaces", "0") {
            return Some((
                "user namespaces are switched off (user.max_user_namespaces is 0)".to_owned(),
                "run: sudo sysctl -w user.max_user_namespaces=65536".to_owned(),
            ));
        }
        if self.rootless && is("kernel/unprivileged_userns_clone", "0") {
            return Some((
                "user namespaces are kept from ordinary users (kernel.unprivileged_userns_clone is 0)"
                    .to_owned(),
                "run: sudo sysctl -w kernel.unprivileged_userns_clone=1".to_owned(),
            ));
        }
        if self.rootless && is("kernel/apparmor_restrict_unprivileged_userns", "1") && !apparmor_lets_us() {
            return Some((
                "AppArmor keeps user namespaces from programs without a profile \
                 (kernel.apparmor_restrict_unprivileged_userns is 1)"
                    .to_owned(),
                "install an AppArmor profile with `userns,` for the agentkernel binary, or run: \
                 sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
                    .to_owned(),
            ));
        }
        None
    }

    /// What boxes can have here.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let mut missing = vec![(
            Feature::Snapshots,
            "native sandboxes share the host's kernel and can't be copied while they run; use --backend firecracker"
                .to_owned(),
        )];
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        if !self.rootless && !is_at_least(&release, (5, 19)) {
            missing.push((
                Feature::OciImages,
                format!(
                    "layers with shifted owners can't be overlaid before Linux 5.19, and this is {release}; use --image \
                     host, or run as an ordinary user"
                ),
            ));
        }
        for (feature, resource) in [
            (Feature::MemoryLimit, Resource::Memory),
            (Feature::CpuLimit, Resource::Cpu),
            (Feature::PidsLimit, Resource::Pids),
        ] {
            missing.extend(self.cgroups.can_limit(resource).err().map(|why| (feature, why)));
        }
        if let Err(why) = self.network().available() {
            missing.push((Feature::Network, why));
        }
        if let (true, Err(why)) = (self.rootless, &self.subordinate) {
            missing.push((Feature::OtherUsers, why.clone()));
        }
        if let Err(why) = crate::disk::can_limit(self.rootless) {
            missing.push((Feature::PersistentDiskLimit, why));
        }
        Capabilities::all_but(missing)
    }
}

impl Machine {
    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        let mode = match (&self.subordinate, self.rootless) {
            (_, false) => "as root",
            (Ok(_), true) => "rootless with subordinate ids",
            (Err(_), true) => "rootless with a single id",
        };
        let landlock =
            self.landlock.map_or("no Landlock".to_owned(), |abi| format!("Landlock {}", abi.version()));
        format!("{mode}, {landlock}, {}", self.cgroups.describe())
    }

    /// Removes what a box that has ended, or should have, leaves outside of its namespaces.
    pub(crate) fn remove_box(&self, id: &str) -> std::io::Result<()> {
        if let Some(cgroup) = self.cgroups.open(id).map_err(std::io::Error::other)? {
            cgroup.kill().and_then(|()| cgroup.remove()).map_err(std::io::Error::other)?;
        }
        self.network().reclaim(id).map(drop).map_err(std::io::Error::other)
    }
}

/// Whether a kernel release (`6.1.0-13-amd64`) is `version` or later; one that can't be read counts as later.
fn is_at_least(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= version,
        _ => true,
    }
}

/// Whether this process is root of the machine and not of some user namespace.
fn maps_all_ids() -> bool {
    std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

/// Whether the profile that confines this process, if any, is a named one: those may allow user namespaces.
fn apparmor_lets_us() -> bool {
    std::fs::read_to_string("/proc/self/attr/current").is_ok_and(|label| {
        !label.trim_matches(['\0', '\n', ' ']).is_empty() && !label.starts_with("unconfined")
    })
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        for (release, expected) in [
            ("5.18.9", false),
            ("5.19.0-1-amd64", true),
            ("6.1-rc2", true),
            ("4.19.0", false),
            ("10.0", true),
            ("strange", true),
        ] {
            assert_eq!(is_at_least(release, (5, 19)), expected, "{release}");
        }
    }
}
