//! The walls around a share's process, as steps between clone and exec: they are there before its first instruction.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use agentkernel_sys::capability::CapabilitySet;
use agentkernel_sys::mount::MountAttributes;
use agentkernel_sys::process::{Child, Namespaces};
use agentkernel_sys::rlimit::Limit;
use agentkernel_sys::seccomp::Filter;
use agentkernel_sys::steps::{Descriptor, Origin, Step};

/// Numbers of the process's descriptors.
pub(crate) const LISTENER: RawFd = 3;
pub(crate) const ORDER: RawFd = 4;
pub(crate) const DESCRIPTORS: RawFd = 5;
pub(crate) const FAILURES: RawFd = 6;
pub(crate) const EXECUTABLE: RawFd = 7;

/// Where what is shared is, in the process's own root.
pub(crate) const SHARED: &str = "/shared";

/// One per file that the guest's kernel remembers.
const OPEN_FILES: u32 = 1 << 19;

// Slots of the program.
const FOLDER: usize = 0;
const ROOT: usize = 1;
const OWN_DESCRIPTORS: usize = 2;
const STAGE: usize = 3;

/// What a jail is built from.
pub(crate) struct Jail<'a> {
    /// A path without links.
    pub(crate) source: &'a Path,
    pub(crate) is_folder: bool,
    pub(crate) read_only: bool,
    /// Who the process becomes: whose the source is. `None` where it stays who we are.
    pub(crate) becomes: Option<(u32, u32)>,
}

/// What of ours the process gets.
pub(crate) struct Given<'a> {
    pub(crate) listener: BorrowedFd<'a>,
    pub(crate) order: BorrowedFd<'a>,
    pub(crate) report: BorrowedFd<'a>,
    pub(crate) executable: BorrowedFd<'a>,
}

impl Jail<'_> {
    /// The namespaces that it is born in: as an ordinary user one of its own for users, without which there are no others.
    pub(crate) fn namespaces(&self) -> Namespaces {
        match self.becomes {
            Some(_) => Namespaces::SERVICE,
            None => Namespaces::BOX,
        }
    }

    /// Writes the maps of a process that was born into its own namespace for users: it is who we are, and nobody else.
    pub(crate) fn map_users(&self, child: &Child) -> io::Result<()> {
        if self.becomes.is_some() {
            return Ok(());
        }
        let own = |id: u32| format!("{id} {id} 1\n");
        let process = Path::new("/proc").join(child.pid.as_raw_nonzero().to_string());
        std::fs::write(process.join("setgroups"), "deny")?;
        std::fs::write(process.join("gid_map"), own(rustix::process::getegid().as_raw()))?;
        std::fs::write(process.join("uid_map"), own(rustix::process::geteuid().as_raw()))
    }

    pub(crate) fn steps(&self, given: &Given<'_>) -> io::Result<Vec<Step>> {
        let text = |text: &str| CString::new(text).map_err(io::Error::from);
        let plain = MountAttributes::PLAIN.no_exec();
        let attributes = if self.read_only { plain.read_only() } else { plain };
        let shared = text(&format!("root{SHARED}"))?;
        let size = (text("size")?, text("65536")?);
        let mode = (text("mode")?, text("755")?);
        let mut steps = vec![
            Step::NewSession,
            Step::PrivateMounts,
            // The process has no /proc: this is the only part of one that it can reach, and only by numbers of its own.
            Step::OpenFolder { slot: OWN_DESCRIPTORS, path: text("/proc/self/fd")? },
            Step::CloneResolvedTree {
                slot: FOLDER,
                source: CString::new(self.source.as_os_str().as_bytes())?,
                attributes,
            },
            // Any folder of the host's will do: nothing is written there, and only this process sees what is mounted on it.
            Step::OpenFolder { slot: STAGE, path: text("/proc")? },
            Step::NewFilesystem {
                slot: ROOT,
                kind: text("tmpfs")?,
                options: vec![size, mode],
                attributes: plain,
            },
            Step::AttachAndEnter { slot: ROOT, stage: STAGE },
            Step::Directory { path: text("root")?, mode: 0o755 },
            match self.is_folder {
                true => Step::Directory { path: shared.clone(), mode: 0o755 },
                false => Step::MountPoint(shared.clone()),
            },
            Step::Attach { slot: FOLDER, target: shared },
            Step::Descriptors(descriptors(given)),
            Step::PivotRoot,
            Step::ReadOnlyRoot,
            Step::ResourceLimit(Limit::NO_CORE_DUMPS),
            Step::ResourceLimit(Limit::open_files(OPEN_FILES)),
            Step::Umask(0),
        ];
        if let Some((user, group)) = self.becomes {
            steps.push(Step::BecomeUser { user, group, groups: Vec::new() });
        }
        // Who becomes an ordinary user has none left, and nothing to give up more with.
        if self.becomes.is_none_or(|(user, _)| user == 0) {
            steps.push(Step::Capabilities(CapabilitySet(0)));
        }
        steps.push(Step::NoNewPrivileges);
        steps.push(Step::Seccomp(Filter::Restrictive));
        Ok(steps)
    }
}

fn descriptors(given: &Given<'_>) -> Vec<Descriptor> {
    let parent = |fd: BorrowedFd<'_>, to, close_on_exec| Descriptor {
        from: Origin::Parent(fd.as_raw_fd()),
        to,
        close_on_exec,
    };
    vec![
        parent(given.listener, LISTENER, false),
        parent(given.order, ORDER, false),
        Descriptor { from: Origin::Slot(OWN_DESCRIPTORS), to: DESCRIPTORS, close_on_exec: false },
        parent(given.report, FAILURES, true),
        parent(given.executable, EXECUTABLE, true),
    ]
}
