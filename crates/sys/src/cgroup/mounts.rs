//! Where control groups are mounted and where this process is in them: `/proc/self/mountinfo` and `/proc/self/cgroup`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::Resource;

/// Of the control group interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// One hierarchy for each controller or some of them.
    One,
    /// One hierarchy for all.
    Two,
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) version: Version,
    /// Where it is mounted.
    pub(super) top: PathBuf,
    /// Which part of the hierarchy is mounted there.
    pub(super) root: PathBuf,
    /// Of v1: its controllers as the kernel names them.
    pub(super) controllers: Vec<String>,
    /// Where this process is, as a path below `top`; `None` where that isn't mounted.
    pub(super) own: Option<PathBuf>,
}

impl Mount {
    pub(super) fn has(&self, controller: Resource) -> bool {
        self.controllers.iter().any(|name| name == controller.as_str())
    }
}

/// The first mount of each hierarchy.
pub(super) fn parse(mountinfo: &[u8], own_groups: &[u8]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mut mount in mountinfo.split(|byte| *byte == b'\n').filter_map(parse_mount) {
        let known = |other: &Mount| other.version == mount.version && other.controllers == mount.controllers;
        if mounts.iter().any(known) {
            continue;
        }
        mount.own = own_group(own_groups, &mount)
            .and_then(|group| Some(mount.top.join(group.strip_prefix(&mount.root).ok()?)));
        mounts.push(mount);
    }
    mounts
}

/// `31 23 0:28 /root /mounted/at rw,relatime shared:5 - cgroup cgroup rw,memory`, see proc_pid_mountinfo(5).
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = 6 + fields.get(6..)?.iter().position(|field| field == b"-")?;
    let version = match *fields.get(separator + 1)? {
        b"cgroup" => Version::One,
        b"cgroup2" => Version::Two,
        _ => return None,
    };
    let options = String::from_utf8_lossy(fields.get(separator + 3)?).into_owned();
    let controllers = match version {
        Version::One => {
            options.split(',').filter(|it| !matches!(*it, "rw" | "ro")).map(str::to_owned).collect()
        }
        Version::Two => Vec::new(),
    };
    let (root, top) = (unescape(fields[3]), unescape(fields[4]));
    Some(Mount { version, top, root, controllers, own: None })
}

/// The part after the second colon of `4:memory:/group` or `0::/group`.
fn own_group(groups: &[u8], mount: &Mount) -> Option<PathBuf> {
    groups.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
        let (controllers, group) = (String::from_utf8_lossy(fields.next()?), fields.next()?);
        let fits = match mount.version {
            Version::One => controllers
                .split(',')
                .all(|name| !name.is_empty() && mount.controllers.iter().any(|own| own == name)),
            Version::Two => controllers.is_empty(),
        };
        fits.then(|| PathBuf::from(OsString::from_vec(group.to_vec())))
    })
}

/// Space, tab, newline and backslash are written as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = |digits: &[u8]| {
            digits.iter().try_fold(0u8, |value, digit| {
                matches!(digit, b'0'..=b'7').then_some(())?;
                value.checked_mul(8)?.checked_add(digit - b'0')
            })
        };
        match tail.get(..3).filter(|_| first == b'\\').and_then(octal) {
            Some(byte) => {
                path.push(byte);
                rest = &tail[3..];
            }
            None => {
                path.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

/// The folders from `top` down to `own`, both included.
pub(super) fn path_down(top: &Path, own: Option<&Path>) -> Vec<PathBuf> {
    let Some(below) = own.and_then(|own| own.strip_prefix(top).ok()) else { return vec![top.to_owned()] };
    let mut folders = vec![top.to_owned()];
    let mut folder = top.to_owned();
    for component in below.components() {
        folder.push(component);
        folders.push(folder.clone());
    }
    folders
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HYBRID: &[u8] = b"23 1 8:1 / / rw - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
42 31 0:32 /docker/x /mnt/with\\040space rw - cgroup cgroup rw,memory
";

    #[test]
    fn a_hybrid_machine() {
        let own = b"4:memory:/process_api/x\n3:cpuacct,cpu:/\n1:name=systemd:/\n0::/user.slice\n";
        let mounts = parse(HYBRID, own);
        let memory = mounts.iter().find(|mount| mount.has(Resource::Memory)).unwrap();
        assert_eq!(memory.top, Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(memory.own.as_deref(), Some(Path::new("/sys/fs/cgroup/memory/process_api/x")));
        let cpu = mounts.iter().find(|mount| mount.has(Resource::Cpu)).unwrap();
        assert_eq!(cpu.own.as_deref(), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        let unified = mounts.iter().find(|mount| mount.version == Version::Two).unwrap();
        assert_eq!(unified.own.as_deref(), Some(Path::new("/sys/fs/cgroup/unified/user.slice")));
        assert!(!mounts.iter().any(|mount| mount.has(Resource::Pids)));
    }

    #[test]
    fn a_part_of_the_hierarchy_mounted_in_a_container() {
        let info = b"9 8 0:3 /docker/ab /sys/fs/cgroup/with\\040space ro - cgroup2 cgroup rw\n";
        let mounts = parse(info, b"0::/docker/ab/inner\n");
        assert_eq!(mounts[0].own.as_deref(), Some(Path::new("/sys/fs/cgroup/with space/inner")));
        assert_eq!(parse(info, b"0::/elsewhere\n")[0].own, None);
    }

    #[test]
    fn the_way_down() {
        let folders = path_down(Path::new("/c"), Some(Path::new("/c/a/b")));
        assert_eq!(folders, [Path::new("/c"), Path::new("/c/a"), Path::new("/c/a/b")]);
        assert_eq!(path_down(Path::new("/c"), None), [Path::new("/c")]);
    }

    proptest! {
        #[test]
        fn no_input_panics(info in proptest::collection::vec(any::<u8>(), 0..200), own: Vec<u8>) {
            parse(&info, &own);
            let mut line = b"1 2 3 ".to_vec();
            line.extend(info);
            line.extend(b" - cgroup2 a b");
            parse(&line, &own);
        }
    }
}
