//! Who a box's users are outside: root inside is nobody outside.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agentkernel_sys::process::Child;
use serde::{Deserialize, Serialize};

/// Ids in one box.
pub(crate) const RANGE: u32 = 65_536;
/// The first id of the first range: above all that Debian's policy and login.defs give to people and their subordinate
/// users, below what the kernel reserves; the same part of the space that systemd-nspawn uses.
const FIRST: u32 = 524_288;
/// Ranges to choose from.
const RANGES: u32 = 28_664;

/// How user and group ids inside map to those outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum IdMap {
    /// Made by root: a range of ids that nobody else has.
    Own {
        /// The id outside of root inside.
        base: u32,
    },
    /// Made by an ordinary user with subordinate ids: root inside is the caller, others are subordinate.
    Subordinate {
        /// The caller.
        uid: u32,
        /// The caller's group.
        gid: u32,
        /// First subordinate user id and how many.
        users: (u32, u32),
        /// First subordinate group id and how many.
        groups: (u32, u32),
    },
    /// Made by an ordinary user without: root inside is the caller, and there is nobody else.
    Single {
        /// The caller.
        uid: u32,
        /// The caller's group.
        gid: u32,
    },
}

/// What an ordinary user has been given by newuidmap(1)'s configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subordinate {
    pub(crate) users: (u32, u32),
    pub(crate) groups: (u32, u32),
}

impl Subordinate {
    /// Of the caller; or why not.
    pub(crate) fn detect(uid: u32, user: Option<&str>) -> Result<Self, String> {
        map_program("newuidmap").and_then(|_| map_program("newgidmap"))?;
        let range = |file: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            subordinate_range(&text, uid, user)
                .ok_or_else(|| format!("{file} has no range for you (add one with usermod --add-subuids)"))
        };
        Ok(Self { users: range("/etc/subuid")?, groups: range("/etc/subgid")? })
    }
}

/// Where the system has a program of newuidmap(1)'s; never one that merely comes first in the caller's PATH.
fn map_program(name: &str) -> Result<PathBuf, String> {
    ["/usr/bin", "/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not installed (Debian package uidmap)"))
}

/// The first range of `uid` in the text of subuid(5).
fn subordinate_range(text: &str, uid: u32, user: Option<&str>) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if owner != uid.to_string() && Some(owner) != user {
            return None;
        }
        let first = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        (count > 0).then_some((first, count.min(RANGE - 1)))
    })
}

impl IdMap {
    /// A range of its own, by chance: two boxes may share one, which costs them no wall, since every other namespace
    /// still stands between them.
    pub(crate) fn own() -> io::Result<Self> {
        let mut bytes = [0; 4];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        Ok(Self::Own { base: FIRST + u32::from_ne_bytes(bytes) % RANGES * RANGE })
    }

    /// Whether there are users besides root inside.
    pub(crate) fn has_many(&self) -> bool {
        !matches!(self, Self::Single { .. })
    }

    /// Whether files on the disk belong to others than the box's users, so that its mounts have to shift owners.
    pub(crate) fn shifts_owners(&self) -> bool {
        matches!(self, Self::Own { .. })
    }

    /// Names the owners of files that these ids can use: part of a folder's name.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Own { .. } => "root".to_owned(),
            Self::Single { .. } => "single".to_owned(),
            Self::Subordinate { users, groups, .. } if users == groups => {
                format!("sub-{}-{}", users.0, users.1)
            }
            Self::Subordinate { users, groups, .. } => {
                format!("sub-{}-{}-{}-{}", users.0, users.1, groups.0, groups.1)
            }
        }
    }

    /// Who bears what the kernel counts per user of the host: of a box that root makes, the root inside.
    pub(crate) fn maker(&self) -> Option<u32> {
        match self {
            Self::Own { base } => Some(*base),
            Self::Subordinate { .. } | Self::Single { .. } => None,
        }
    }

    /// The id outside of root inside.
    pub(crate) fn root_outside(&self) -> (u32, u32) {
        match self {
            Self::Own { base } => (*base, *base),
            Self::Subordinate { uid, gid, .. } | Self::Single { uid, gid } => (*uid, *gid),
        }
    }

    /// Writes the maps of the user namespace that `child` was born into.
    pub(crate) fn write(&self, child: &Child) -> io::Result<()> {
        let proc = PathBuf::from(format!("/proc/{}", child.pid.as_raw_nonzero()));
        let line = |base: u32, count: u32| format!("0 {base} {count}\n");
        match self {
            Self::Own { base } => {
                std::fs::write(proc.join("gid_map"), line(*base, RANGE))?;
                std::fs::write(proc.join("uid_map"), line(*base, RANGE))
            }
            Self::Single { uid, gid } => {
                std::fs::write(proc.join("setgroups"), "deny")?;
                std::fs::write(proc.join("gid_map"), line(*gid, 1))?;
                std::fs::write(proc.join("uid_map"), line(*uid, 1))
            }
            Self::Subordinate { uid, gid, users, groups } => {
                let pid = child.pid.as_raw_nonzero().get();
                run_map_program("newgidmap", pid, *gid, *groups)?;
                run_map_program("newuidmap", pid, *uid, *users)
            }
        }
    }
}

fn run_map_program(name: &str, pid: i32, own: u32, (first, count): (u32, u32)) -> io::Result<()> {
    let program = map_program(name).map_err(io::Error::other)?;
    let mut arguments = String::new();
    // Writing to a String can't fail.
    write!(arguments, "{pid} 0 {own} 1 1 {first} {count}").map_err(io::Error::other)?;
    let output = Command::new(program).args(arguments.split(' ')).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ranges_are_found_by_name_and_number() {
        let text = "root:1:2\nalice:100000:65536\n1001:200000:1000\nbroken\nbob:x:y\n";
        assert_eq!(subordinate_range(text, 1000, Some("alice")), Some((100_000, 65_535)));
        assert_eq!(subordinate_range(text, 1001, None), Some((200_000, 1000)));
        assert_eq!(subordinate_range(text, 1002, Some("bob")), None);
    }
}
