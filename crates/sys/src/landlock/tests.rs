//! The policy in force, in children.

use std::ffi::CString;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::capability::set_no_new_privileges;
use crate::forked::in_child;

fn abi() -> Option<LandlockAbi> {
    let abi = LandlockAbi::detect();
    if abi.is_none() {
        println!("SKIPPED: this kernel has no usable Landlock");
    }
    abi
}

fn path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// All may be read, and `writable` written.
fn policy(abi: LandlockAbi, writable: &Path) -> Policy {
    Policy::new(abi).allow(c"/".into(), Rights::ReadExecute).allow(path(writable), Rights::ReadWrite)
}

/// Runs `child` under `policy`; 1 stands for "true".
fn under(policy: &Policy, child: impl FnOnce() -> bool) -> bool {
    let status = in_child(|| {
        set_no_new_privileges().and_then(|()| policy.restrict()).unwrap();
        u8::from(child())
    });
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    status.code() == Some(1)
}

#[test]
fn files_can_be_changed_inside_only() {
    let Some(abi) = abi() else { return };
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("read"), "x").unwrap();
    fs::create_dir(inside.path().join("sub")).unwrap();
    let policy = policy(abi, inside.path());
    assert!(under(&policy, || fs::write(inside.path().join("new"), "x").is_ok()));
    assert!(under(&policy, || fs::rename(inside.path().join("new"), inside.path().join("sub/new")).is_ok()));
    assert!(under(&policy, || fs::read(outside.path().join("read")).is_ok()));
    let denied = |result: std::io::Result<()>| {
        matches!(result.unwrap_err().raw_os_error(), Some(libc::EACCES | libc::EXDEV))
    };
    assert!(under(&policy, || denied(fs::write(outside.path().join("new"), "x"))));
    assert!(under(&policy, || denied(fs::write(outside.path().join("read"), ""))));
    assert!(under(&policy, || denied(fs::remove_file(outside.path().join("read")))));
    assert!(under(&policy, || denied(fs::create_dir(outside.path().join("folder")))));
    assert!(under(&policy, || denied(fs::hard_link(
        inside.path().join("sub/new"),
        outside.path().join("link")
    ))));
    assert_eq!(fs::read_to_string(outside.path().join("read")).unwrap(), "x");
}

#[test]
fn what_no_rule_names_cannot_even_be_read() {
    let Some(abi) = abi() else { return };
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("secret"), "x").unwrap();
    let policy = Policy::new(abi).allow(path(inside.path()), Rights::ReadWrite);
    assert!(under(&policy, || fs::read(outside.path().join("secret")).is_err()));
    assert!(under(&policy, || fs::read_dir(outside.path()).is_err()));
}

#[test]
fn a_rule_may_name_a_single_file() {
    let Some(abi) = abi() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    fs::write(&one, "").unwrap();
    fs::write(&other, "").unwrap();
    let policy = policy(abi, &one).allow(c"/dev/null".into(), Rights::ReadWrite);
    assert!(under(&policy, || fs::write(&one, "x").is_ok()));
    assert!(under(&policy, || fs::write("/dev/null", "x").is_ok()));
    assert!(under(&policy, || fs::write(&other, "x").is_err()));
}

#[test]
fn a_rule_that_cannot_be_made_is_an_error() {
    let Some(abi) = abi() else { return };
    let status = in_child(|| {
        set_no_new_privileges().unwrap();
        let policy = Policy::new(abi).allow(c"/nowhere/at/all".into(), Rights::ReadWrite);
        u8::from(policy.restrict() == Err(rustix::io::Errno::NOENT))
    });
    assert_eq!(status.code(), Some(1));
}

#[test]
fn abstract_sockets_and_processes_of_the_host_are_out_of_reach() {
    let Some(abi) = abi().filter(|abi| abi.has_scopes()) else {
        println!("SKIPPED: Landlock without scopes (before version 6)");
        return;
    };
    let name = format!("agentkernel-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let policy = policy(abi, Path::new("/tmp"));
    let pid = rustix::process::Pid::from_child(&other);
    assert!(UnixStream::connect_addr(&address).is_ok());
    let connected = under(&policy, || UnixStream::connect_addr(&address).is_ok());
    let signalled = under(&policy, || rustix::process::test_kill_process(pid).is_ok());
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(!connected);
    assert!(!signalled);
}

#[test]
fn a_shell_works_under_it() {
    let Some(abi) = abi() else { return };
    let inside = tempfile::tempdir().unwrap();
    let policy = policy(abi, inside.path());
    let target = inside.path().join("out");
    assert!(under(&policy, || {
        let script = format!("echo a | cat > {0}; mv {0} {0}2; test -s {0}2", target.display());
        Command::new("sh").args(["-c", &script]).status().is_ok_and(|status| status.success())
    }));
}
