//! Machines that this one isn't, as folders: what is detected on them, and the files of cgroup v2.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::group::{Cgroup, Folder};
use super::host::enable;
use super::mounts::Version;
use super::{CgroupError, CgroupHost, CgroupLimits, Resource};

/// A cgroup v2 tree at `<folder>/cgroup`.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        machine.group("", "cpuset cpu io memory pids", "cpu memory pids", "");
        // The root of the hierarchy has no type.
        fs::remove_file(machine.path("").join("cgroup.type")).unwrap();
        machine
    }

    fn path(&self, group: &str) -> PathBuf {
        self.folder.path().join("cgroup").join(group)
    }

    fn group(&self, group: &str, controllers: &str, enabled: &str, processes: &str) {
        let path = self.path(group);
        fs::create_dir_all(&path).unwrap();
        for (file, content) in [
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", enabled),
            ("cgroup.procs", processes),
            ("cgroup.type", "domain"),
        ] {
            fs::write(path.join(file), content).unwrap();
        }
    }

    /// What a process in `own` finds that may write the groups `writable` and all in them.
    fn detect(&self, own: &str, writable: &[&str]) -> CgroupHost {
        self.detect_with(own, Errno::ACCESS, writable)
    }

    fn detect_with(&self, own: &str, refusal: Errno, writable: &[&str]) -> CgroupHost {
        let info = format!("1 2 0:3 / {} rw - cgroup2 cgroup2 rw\n", self.path("").display());
        let writable: Vec<PathBuf> = writable.iter().map(|group| self.path(group)).collect();
        let may_write = |path: &Path| {
            let group = if path.is_dir() { path } else { path.parent().unwrap() };
            writable.iter().any(|it| it == group).then_some(()).ok_or(refusal)
        };
        CgroupHost::from_parts(info.as_bytes(), format!("0::/{own}\n").as_bytes(), &may_write)
    }
}

fn why(host: &CgroupHost, resource: Resource) -> String {
    host.can_limit(resource).unwrap_err()
}

const ALL: &str = "cgroup v2 (memory, cpu, pids)";

#[test]
fn root_uses_the_top() {
    let machine = Machine::new();
    machine.group("user.slice/session-1.scope", "memory pids", "", "1\n");
    let host =
        machine.detect("user.slice/session-1.scope", &["", "user.slice", "user.slice/session-1.scope"]);
    assert_eq!(host.describe(), ALL);
    fs::create_dir_all(machine.path("agentkernel/one")).unwrap();
    assert_eq!(host.list().unwrap(), ["one"]);
}

#[test]
fn a_user_uses_the_topmost_delegated_group() {
    let machine = Machine::new();
    let manager = "user.slice/user-1000.slice/user@1000.service";
    let (apps, scope) = (format!("{manager}/app.slice"), format!("{manager}/app.slice/run-1.scope"));
    machine.group(manager, "cpu memory pids", "memory pids cpu", "");
    machine.group(&apps, "cpu memory pids", "memory pids cpu", "");
    machine.group(&scope, "cpu memory pids", "", "77\n");
    let host = machine.detect(&scope, &[manager, &apps, &scope]);
    assert_eq!(host.describe(), ALL);
    fs::create_dir_all(machine.path(manager).join("agentkernel/mine")).unwrap();
    assert_eq!(host.list().unwrap(), ["mine"]);
}

#[test]
fn a_controller_that_systemd_did_not_delegate_is_named_with_the_fix() {
    let machine = Machine::new();
    machine.group("manager", "memory pids", "memory pids", "");
    machine.group("manager/scope", "memory pids", "", "77\n");
    let host = machine.detect("manager/scope", &["manager", "manager/scope"]);
    assert_eq!(host.describe(), "cgroup v2 (memory, pids)");
    let why = why(&host, Resource::Cpu);
    assert!(why.contains("cpu controller is not delegated"), "{why}");
    assert!(why.contains("Delegate=cpu memory pids"), "{why}");
    let limits = CgroupLimits { cpu_millis: Some(500), memory_bytes: Some(1 << 20), pids: None };
    let error = host.create("x", &limits).unwrap_err();
    assert!(matches!(error, CgroupError::CannotLimit { resource: Resource::Cpu, .. }), "{error}");
    assert!(!machine.path("manager/agentkernel").exists(), "refused before anything is changed");
}

#[test]
fn a_login_session_is_told_how_to_get_a_delegated_group() {
    let machine = Machine::new();
    machine.group("user.slice/session-3.scope", "memory pids", "", "1\n");
    let host = machine.detect("user.slice/session-3.scope", &[]);
    assert_eq!(host.describe(), "no cgroup");
    for resource in Resource::ALL {
        let why = why(&host, resource);
        assert!(why.contains("session-3.scope, which is not delegated to this user"), "{why}");
        assert!(why.contains("systemd-run --user --scope -p Delegate=yes agentkernel"), "{why}");
    }
}

#[test]
fn an_occupied_group_cannot_enable_controllers() {
    let machine = Machine::new();
    machine.group("mine", "cpu memory pids", "", "77\n");
    let host = machine.detect("mine", &["mine"]);
    let why = why(&host, Resource::Memory);
    assert!(why.contains("mine holds processes itself"), "{why}");
    assert!(why.contains("move its processes to a group of their own"), "{why}");
}

#[test]
fn an_empty_delegated_group_can() {
    let machine = Machine::new();
    machine.group("mine", "cpu memory pids", "memory", "");
    machine.group("mine/shell", "memory", "", "77\n");
    assert_eq!(machine.detect("mine/shell", &["mine"]).describe(), ALL);
    enable(&machine.path("mine"), &[Resource::Memory, Resource::Pids]).unwrap();
    assert_eq!(fs::read_to_string(machine.path("mine/cgroup.subtree_control")).unwrap(), "+pids");
}

#[test]
fn a_read_only_mount_and_no_mount_are_told_apart() {
    let machine = Machine::new();
    let host = machine.detect_with("", Errno::ROFS, &[]);
    assert!(why(&host, Resource::Pids).contains("is mounted read-only"));
    let nothing = CgroupHost::from_parts(b"", b"", &|_| Ok(()));
    assert!(why(&nothing, Resource::Pids).contains("no cgroup hierarchy with the pids controller"));
    assert_eq!(nothing.describe(), "no cgroup");
}

#[test]
fn a_user_on_version_one_is_refused() {
    let info =
        b"1 2 0:3 / /c/memory rw - cgroup cgroup rw,memory\n1 2 0:4 / /c/pids rw - cgroup cgroup rw,pids\n";
    let host = CgroupHost::from_parts(info, b"4:memory:/\n3:pids:/user\n", &|_| Err(Errno::ACCESS));
    assert!(why(&host, Resource::Memory).contains("cgroup v1"));
    assert!(why(&host, Resource::Pids).contains("run agentkernel as root"));
    assert!(why(&host, Resource::Cpu).contains("no cgroup hierarchy with the cpu controller"));
}

/// A group's folder with version 2's files, empty where the kernel would fill them in.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Folder) {
    let directory = tempfile::tempdir().unwrap();
    for (file, content) in files {
        fs::write(directory.path().join(file), content).unwrap();
    }
    let folder = Folder::open(Version::Two, directory.path().to_owned(), &Resource::ALL).unwrap();
    (directory, folder)
}

#[test]
fn limits_are_written_as_version_two_wants_them() {
    let names = ["memory.max", "memory.swap.max", "cpu.max", "pids.max"];
    let (directory, folder) = folder(&names.map(|name| (name, "")));
    let limits = CgroupLimits { memory_bytes: Some(512 << 20), cpu_millis: Some(1500), pids: Some(100) };
    limits.apply(&folder, &Resource::ALL).unwrap();
    let written = names.map(|name| fs::read_to_string(directory.path().join(name)).unwrap());
    assert_eq!(written, ["536870912", "0", "150000 100000", "100"]);
}

#[test]
fn a_kernel_without_swap_needs_no_limit_of_it() {
    let (directory, folder) = folder(&[("memory.max", "")]);
    let limits = CgroupLimits { memory_bytes: Some(1 << 20), ..CgroupLimits::default() };
    limits.apply(&folder, &[Resource::Memory]).unwrap();
    assert!(!directory.path().join("memory.swap.max").exists());
}

#[test]
fn a_limit_without_its_file_is_an_error() {
    let (_directory, folder) = folder(&[]);
    let limits = CgroupLimits { pids: Some(3), ..CgroupLimits::default() };
    let error = limits.apply(&folder, &[Resource::Pids]).unwrap_err();
    assert!(matches!(error, CgroupError::System { source: Errno::NOENT, .. }), "{error}");
}

#[test]
fn usage_and_events_of_version_two() {
    let (_directory, folder) = folder(&[
        ("memory.current", "4096\n"),
        ("pids.current", "3\n"),
        ("cpu.stat", "usage_usec 1500\nuser_usec 1000\n"),
        ("memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 9\n"),
    ]);
    let mut group = Cgroup::armed();
    group.push(folder);
    group.disarm();
    let usage = group.usage().unwrap();
    assert_eq!((usage.memory_bytes, usage.pids), (Some(4096), Some(3)));
    assert_eq!(usage.cpu, Some(Duration::from_micros(1500)));
    assert_eq!(group.oom_kills().unwrap(), Some(1));
}

#[test]
fn version_two_is_killed_as_one_and_waited_for_by_its_events() {
    let (directory, folder) = folder(&[("cgroup.kill", ""), ("cgroup.events", "populated 0\nfrozen 0\n")]);
    let mut group = Cgroup::armed();
    group.push(folder);
    group.disarm();
    group.kill().unwrap();
    assert_eq!(fs::read_to_string(directory.path().join("cgroup.kill")).unwrap(), "1");
}

#[test]
fn names_that_are_not_plain_are_refused() {
    let host = CgroupHost::from_parts(b"", b"", &|_| Ok(()));
    for bad in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n", "é", &"x".repeat(129)] {
        let error = host.create(bad, &CgroupLimits::default()).unwrap_err();
        assert!(matches!(error, CgroupError::BadName { .. }), "{bad}: {error}");
        assert!(host.open(bad).is_err());
    }
}
