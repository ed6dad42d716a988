//! Places for tests: a network namespace of one's own, and a thread without rights.

use std::process::Command;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities, unshare_unsafe};

/// Runs `work` on a thread of its own in a new network namespace; None, with the reason printed, where that can't be or
/// one of `tools` is missing.
pub(super) fn in_new_namespace<T: Send>(tools: &[&str], work: impl FnOnce() -> T + Send) -> Option<T> {
    for tool in tools {
        if Command::new(tool).arg("--version").output().is_err() {
            println!("SKIPPED: the program {tool} is missing");
            return None;
        }
    }
    let inside = || {
        #[expect(unsafe_code, reason = "rustix marks it so for other flags")]
        // SAFETY: NEWNET changes nothing that other threads or the memory rely on.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
        Ok::<T, Errno>(work())
    };
    match std::thread::scope(|scope| scope.spawn(inside).join().unwrap()) {
        Ok(result) => Some(result),
        Err(errno) => {
            println!("SKIPPED: no network namespace of one's own: {errno}");
            None
        }
    }
}

/// Runs `work` on a thread of its own that has given up all rights.
pub(super) fn without_rights<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                set_capabilities(None, none).unwrap();
                work()
            })
            .join()
            .unwrap()
    })
}
