//! Groups of this machine's kernel, where this process may make them.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::group::{Cgroup, Folder};
use super::mounts::Version;
use super::{CgroupError, CgroupHost, CgroupLimits, Resource};

const LIMITS: CgroupLimits =
    CgroupLimits { memory_bytes: Some(64 << 20), cpu_millis: Some(500), pids: Some(20) };

/// A name that only this test of this process uses.
fn name(test: &str) -> String {
    format!("test-{test}-{}", std::process::id())
}

/// Leaves no folder behind, whichever test is last.
struct Host(CgroupHost);

impl std::ops::Deref for Host {
    type Target = CgroupHost;
    fn deref(&self) -> &CgroupHost {
        &self.0
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.0.remove_empty_parents().unwrap();
    }
}

fn host() -> Option<Host> {
    let host = Host(CgroupHost::detect());
    for resource in Resource::ALL {
        if let Err(why) = host.can_limit(resource) {
            println!("SKIPPED: {why}");
            return None;
        }
    }
    Some(host)
}

/// A shell that runs `script` once it is in the group.
fn shell_in(group: &Cgroup, script: &str) -> Child {
    let mut shell = Command::new("sh")
        .args(["-c", &format!("read go; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    group.add(Pid::from_child(&shell)).unwrap();
    shell.stdin.take().unwrap().write_all(b"\n").unwrap();
    shell
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_group_has_its_limits_and_goes_with_its_handle() {
    let Some(host) = host() else { return };
    let name = name("guard");
    let group = host.create(&name, &LIMITS).unwrap();
    assert!(matches!(host.create(&name, &LIMITS), Err(CgroupError::AlreadyExists { .. })));
    assert!(host.list().unwrap().contains(&name));
    let shell = shell_in(&group, "sleep 600");
    let pid = Pid::from_child(&shell);
    wait_for("the shell is in it", || group.processes().unwrap().contains(&pid));
    let usage = group.usage().unwrap();
    assert!(usage.pids >= Some(1) && usage.memory_bytes.is_some(), "{usage:?}");
    let paths: Vec<_> = group.paths().map(Path::to_owned).collect();
    assert!(!paths.is_empty() && paths.iter().all(|path| path.is_dir()));
    drop(group);
    assert!(paths.iter().all(|path| !path.exists()));
    assert!(host.open(&name).unwrap().is_none());
    assert_eq!(end(shell), Some(libc::SIGKILL));
}

fn end(mut child: Child) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap())
}

#[test]
fn memory_is_limited() {
    let Some(host) = host() else { return };
    let group = host.create(&name("memory"), &LIMITS).unwrap();
    // tail keeps what has no line's end.
    let mut shell = shell_in(&group, "head -c 300000000 /dev/zero | tail -n 1 > /dev/null");
    assert!(!shell.wait().unwrap().success());
    assert!(group.oom_kills().unwrap() >= Some(1));
}

#[test]
fn processes_are_limited_and_a_fork_storm_is_ended() {
    let Some(host) = host() else { return };
    let group = host.create(&name("pids"), &LIMITS).unwrap();
    if Command::new("python3").arg("-V").output().is_err() {
        println!("SKIPPED: no python3, and a shell gives up when it can't fork");
        return;
    }
    let storm = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass\n";
    let shell = shell_in(&group, &format!("exec python3 -c '{storm}'"));
    wait_for("the storm is at its limit", || group.usage().unwrap().pids >= Some(15));
    assert!(group.usage().unwrap().pids <= Some(20));
    group.kill().unwrap();
    assert!(group.processes().unwrap().is_empty());
    group.remove().unwrap();
    assert_eq!(end(shell), Some(libc::SIGKILL));
}

#[test]
fn a_limit_above_all_that_the_kernel_can_have_is_kept() {
    let Some(host) = host() else { return };
    let limits =
        CgroupLimits { pids: Some(u32::MAX), memory_bytes: Some(u64::from(u32::MAX) << 20), ..LIMITS };
    host.create(&name("huge"), &limits).unwrap().remove().unwrap();
}

#[test]
fn a_kept_group_is_found_again() {
    let Some(host) = host() else { return };
    let name = name("kept");
    let limits = CgroupLimits { pids: Some(5), ..CgroupLimits::default() };
    let group = host.create(&name, &limits).unwrap();
    assert_eq!(group.paths().count(), 1, "no controller but the one that is needed");
    group.keep();
    let group = host.open(&name).unwrap().unwrap();
    let shell = shell_in(&group, "sleep 600");
    let mut again = host.open(&name).unwrap().unwrap();
    let error = again.remove_within(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(&error, CgroupError::Busy { processes, .. } if !processes.is_empty()), "{error}");
    group.kill().unwrap();
    again.remove().unwrap();
    group.remove().unwrap();
    assert!(host.open(&name).unwrap().is_none());
    assert_eq!(end(shell), Some(libc::SIGKILL));
}

#[test]
fn removal_waits_for_the_end_of_the_processes() {
    let Some(host) = host() else { return };
    let name = name("wait");
    let group = host.create(&name, &LIMITS).unwrap();
    let mut shell = shell_in(&group, "sleep 0.2");
    let removal = std::thread::spawn(move || group.remove());
    assert!(shell.wait().unwrap().success());
    removal.join().unwrap().unwrap();
    assert!(host.open(&name).unwrap().is_none());
}

#[test]
fn a_limit_that_the_kernel_refuses_leaves_nothing_behind() {
    let Some(host) = host() else { return };
    let name = name("refused");
    // A quota below a millisecond is EINVAL.
    let limits = CgroupLimits { cpu_millis: Some(1), ..LIMITS };
    let error = host.create(&name, &limits).unwrap_err();
    assert!(matches!(error, CgroupError::System { action: "write", .. }), "{error}");
    assert!(!host.list().unwrap().contains(&name));
}

#[test]
fn makers_and_removers_of_the_parent_do_not_disturb_each_other() {
    let Some(host) = host() else { return };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let host = &*host;
            scope.spawn(move || {
                for round in 0..20 {
                    let group = host.create(&name(&format!("race{thread}-{round}")), &LIMITS).unwrap();
                    group.remove().unwrap();
                    host.remove_empty_parents().unwrap();
                }
            });
        }
    });
}

/// The kernel's own version 2, without controllers where those are bound to version 1.
#[test]
fn version_two_kills_as_one_and_tells_when_it_is_empty() {
    let tops = [Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/unified")];
    let top = tops.into_iter().find(|top| top.join("cgroup.controllers").exists());
    let path = top.map(|top| top.join(name("v2")));
    let Some(path) = path.filter(|path| std::fs::create_dir(path).is_ok()) else {
        println!("SKIPPED: no cgroup v2 that this process may write");
        return;
    };
    let mut group = Cgroup::armed();
    group.push(Folder::open(Version::Two, path.clone(), &[]).unwrap());
    assert!(group.birth_folder().is_some());
    let shell = shell_in(&group, "sleep 600 & sleep 600 & wait");
    wait_for("its children are there", || group.processes().unwrap().len() == 3);
    assert!(group.usage().unwrap().cpu.is_some());
    assert!(matches!(group.remove_within(Duration::from_millis(20)), Err(CgroupError::Busy { .. })));
    group.kill().unwrap();
    group.remove().unwrap();
    assert!(!path.exists());
    assert_eq!(end(shell), Some(libc::SIGKILL));
}
