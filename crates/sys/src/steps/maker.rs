//! Under whose name a box is made.
//!
//! The kernel counts some things per user of the host, beside the limits of control groups: inotify instances and
//! watches, locked memory, queued signals, message queues, namespaces (namespaces(7), `/proc/sys/user`). What happens in a
//! user namespace is charged to who made it, too: to the effective user of the thread that called clone(2). A box that
//! root makes as root could so use up what root itself has. Made by an id that nobody else on the host has, it uses up
//! its own.

use std::io;
use std::sync::OnceLock;

use rustix::fs::Uid;
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::CapabilitySets;

/// Whether this process showed itself before the first change of a name. The whole process has it in common.
static DUMPABLE: OnceLock<DumpableBehavior> = OnceLock::new();

/// The calling thread while it acts for another user. Its files are still opened as root, with root's rights: only the
/// name is another's.
pub(super) struct Maker {
    capabilities: CapabilitySets,
    death_signal: Option<Signal>,
}

impl Maker {
    /// Takes the name of `user`. None, and nothing is changed, where this thread is not root in all respects, and so could
    /// not come back.
    pub(super) fn begin(user: u32) -> io::Result<Option<Self>> {
        if !rustix::process::getuid().is_root() || !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        // Whoever comes second waits for the first, who has changed nothing yet.
        DUMPABLE
            .get_or_init(|| rustix::process::dumpable_behavior().unwrap_or(DumpableBehavior::NotDumpable));
        let before = Self {
            capabilities: rustix::thread::capabilities(None)?,
            death_signal: rustix::process::parent_process_death_signal()?,
        };
        let user = Uid::from_raw(user);
        // The real user stays root: that is the way back. The saved one goes along, by which control groups of version 1
        // know that a process moves itself.
        rustix::thread::set_thread_res_uid(None, user, user)?;
        match before.restore() {
            Ok(()) => Ok(Some(before)),
            Err(error) => {
                before.end()?;
                Err(error)
            }
        }
    }

    /// The thread's own name again.
    pub(super) fn end(self) -> io::Result<()> {
        rustix::thread::set_thread_res_uid(None, Uid::ROOT, Uid::ROOT)?;
        self.restore()
    }

    /// What a change of the effective user takes along (capabilities(7), prctl(2)): files as root, rights, being visible
    /// to the parent, and the wish to die with a parent.
    fn restore(&self) -> io::Result<()> {
        open_files_as_root();
        rustix::thread::set_capabilities(None, self.capabilities)?;
        if DUMPABLE.get() == Some(&DumpableBehavior::Dumpable) {
            rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        }
        if self.death_signal.is_some() {
            rustix::process::set_parent_process_death_signal(self.death_signal)?;
        }
        Ok(())
    }
}

/// setfsuid(2) tells no errors; it needs no right where the real user is root.
#[expect(unsafe_code, reason = "setfsuid has no safe wrapper")]
fn open_files_as_root() {
    // SAFETY: no preconditions; changes the calling thread alone.
    unsafe { libc::setfsuid(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_comes_back_as_it_was() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root takes other names");
            return;
        }
        // Of this thread alone.
        let names = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = |text: &str, start: &str| text.lines().find(|l| l.starts_with(start)).unwrap().to_owned();
        let before = names();
        let maker = Maker::begin(700_000).unwrap().unwrap();
        let during = names();
        assert_eq!(line(&during, "Uid:"), "Uid:\t0\t700000\t700000\t0");
        assert_eq!(line(&during, "CapEff:"), line(&before, "CapEff:"));
        let folder = tempfile::tempdir().unwrap();
        // Root's own.
        std::fs::write(folder.path().join("file"), "x").unwrap();
        maker.end().unwrap();
        let after = names();
        for start in ["Uid:", "Gid:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(line(&before, start), line(&after, start));
        }
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
    }
}
