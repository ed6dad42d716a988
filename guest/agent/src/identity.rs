//! Who a command runs as: names are looked up in the box's own `/etc/passwd` and `/etc/group`, which the box may have
//! written, so they are read like anything hostile.

use agentkernel_protocol::{Failure, FailureKind};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::thread::{Gid, Uid};

use crate::failure::failure;

/// The largest user database that is read.
const MAX_LENGTH: usize = 4 << 20;

/// The most groups of one user: what setgroups(2) allows.
const MAX_GROUPS: usize = 65_536;

/// A user with its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) groups: Vec<Gid>,
}

impl Identity {
    /// Root without further groups.
    pub(crate) const ROOT: Self = Self { uid: Uid::ROOT, gid: Gid::ROOT, groups: Vec::new() };

    /// The user of a request.
    pub(crate) fn resolve(user: Option<&str>, group: Option<&str>) -> Result<Self, Failure> {
        match (user, group) {
            (None, None) => Ok(Self::ROOT),
            _ => find(user.unwrap_or("0"), group, &database("/etc/passwd")?, &database("/etc/group")?),
        }
    }
}

/// A missing database is an empty one: numbers still work.
fn database(path: &str) -> Result<Vec<u8>, Failure> {
    let fail = |why: String| failure(FailureKind::User, format!("{path}: {why}"));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(fail(error.to_string())),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| fail(error.to_string()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(fail("it is not a regular file".to_owned()));
    }
    let mut content = Vec::new();
    let mut limited = std::io::Read::take(std::fs::File::from(file), MAX_LENGTH as u64 + 1);
    std::io::Read::read_to_end(&mut limited, &mut content).map_err(|error| fail(error.to_string()))?;
    if content.len() > MAX_LENGTH {
        return Err(fail(format!("it is longer than {MAX_LENGTH} bytes")));
    }
    Ok(content)
}

/// The lines of a database of passwd(5)'s form, split at colons; what isn't UTF-8 is nobody's.
fn lines(database: &[u8]) -> impl Iterator<Item = Vec<&str>> {
    database
        .split(|byte| *byte == b'\n')
        .filter_map(|line| Some(std::str::from_utf8(line).ok()?.split(':').collect()))
}

/// Numbers that mean "no change" to the kernel are nobody's.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != u32::MAX)
}

fn find(user: &str, group: Option<&str>, passwd: &[u8], groups: &[u8]) -> Result<Identity, Failure> {
    let nobody = |what: &str, name: &str, file: &str| {
        failure(FailureKind::User, format!("{what} {name:?} is not in the sandbox's {file}"))
    };
    // A name first, as useradd allows names of digits nowhere and chown(1) has it so.
    let by_name = lines(passwd).find(|line| line.first() == Some(&user) && line.len() >= 4);
    let by_number = || {
        lines(passwd)
            .find(|line| line.len() >= 4 && number(line[2]) == number(user) && number(user).is_some())
    };
    let known = by_name.or_else(by_number);
    let (name, uid, own_gid) = match &known {
        Some(line) => (Some(line[0]), number(line[2]), number(line[3])),
        None => (None, number(user), Some(0)),
    };
    let uid = uid.ok_or_else(|| nobody("user", user, "/etc/passwd"))?;
    if let Some(group) = group {
        let by_name = lines(groups).find(|line| line.first() == Some(&group) && line.len() >= 3);
        let gid = by_name.and_then(|line| number(line[2])).or_else(|| number(group));
        let gid = gid.ok_or_else(|| nobody("group", group, "/etc/group"))?;
        return Ok(Identity { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups: Vec::new() });
    }
    let gid = own_gid.ok_or_else(|| nobody("user", user, "/etc/passwd"))?;
    let is_member = |line: &Vec<&str>| {
        let member =
            |name: &str| line.get(3).is_some_and(|members| members.split(',').any(|other| other == name));
        name.is_some_and(member)
    };
    let mut others: Vec<Gid> = lines(groups)
        .filter(is_member)
        .filter_map(|line| number(line[2]))
        .filter(|other| *other != gid)
        .map(Gid::from_raw)
        .take(MAX_GROUPS)
        .collect();
    others.dedup();
    Ok(Identity { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups: others })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1001::/home/node:/bin/sh\n\xff:x:7:7\nbad\n";
    const GROUP: &[u8] = b"root:x:0:\nnode:x:1001:\ndocker:x:99:other,node\nadm:x:4:\n";

    fn ids(user: &str, group: Option<&str>) -> Option<(u32, u32, Vec<u32>)> {
        let identity = find(user, group, PASSWD, GROUP).ok()?;
        let groups = identity.groups.iter().map(|group| group.as_raw()).collect();
        Some((identity.uid.as_raw(), identity.gid.as_raw(), groups))
    }

    #[test]
    fn names_and_numbers_are_found() {
        assert_eq!(ids("node", None), Some((1000, 1001, vec![99])));
        assert_eq!(ids("1000", None), Some((1000, 1001, vec![99])));
        assert_eq!(ids("node", Some("adm")), Some((1000, 4, vec![])));
        assert_eq!(ids("4242", None), Some((4242, 0, vec![])));
        assert_eq!(ids("4242", Some("4243")), Some((4242, 4243, vec![])));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for (user, group) in [("nope", None), ("node", Some("nope")), ("4294967295", None), ("-1", None)] {
            assert_eq!(ids(user, group), None, "{user} {group:?}");
        }
    }
}
