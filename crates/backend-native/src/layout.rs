//! The root filesystem of a box, as steps for its first process.

use std::ffi::CString;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use agentkernel_model::{Access, Mib};
use agentkernel_sys::mount::MountAttributes;
use agentkernel_sys::steps::Step;

use crate::host_system::{self, Part};

/// Where the files that a box writes are kept.
#[derive(Debug, Clone)]
pub(crate) enum Backing {
    /// In memory, at most so much; gone with the box.
    Memory {
        /// Its size.
        size: Mib,
    },
    /// In a folder of the host (made by [`crate::disk`]): kept.
    Folder(PathBuf),
    /// In a detached mount that the parent made.
    Tree(RawFd),
}

/// A host folder or file that the user wants inside.
#[derive(Debug, Clone)]
pub(crate) struct UserMount {
    /// On the host.
    pub(crate) source: PathBuf,
    /// Inside.
    pub(crate) target: PathBuf,
    /// What the box may do.
    pub(crate) access: Access,
    /// Whether it is a folder (else a file).
    pub(crate) is_folder: bool,
    /// The parent's idmapped copy, where owners are shifted.
    pub(crate) tree: Option<RawFd>,
}

/// What decides the layout.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    /// The installed guest agent.
    pub(crate) agent: &'a Path,
    /// Where writes go.
    pub(crate) backing: Backing,
    /// Whether no box has run on it yet. What a box has written is never walked through again from outside of its root: a
    /// link in it could lead anywhere.
    pub(crate) fresh: bool,
    /// Whether the root can't be written.
    pub(crate) read_only: bool,
    /// An empty folder of the host to build on: in the box's mount namespace only, nothing is written to it.
    pub(crate) stage: &'a Path,
    /// Where the parent's start signal comes from.
    pub(crate) go: RawFd,
    /// The box's host name.
    pub(crate) hostname: &'a str,
    /// Its resolver configuration.
    pub(crate) resolv_conf: Vec<u8>,
    /// Whether supplementary groups can be dropped and group 5 owns terminals.
    pub(crate) many_ids: bool,
    /// The user's mounts.
    pub(crate) mounts: Vec<UserMount>,
}

/// The folders of every root, parents first.
const BASE_FOLDERS: [(&str, u32); 22] = [
    ("/dev", 0o755),
    ("/dev/pts", 0o755),
    ("/dev/shm", 0o1777),
    ("/etc", 0o755),
    ("/home", 0o755),
    ("/home/user", 0o755),
    ("/media", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/run/lock", 0o1777),
    ("/srv", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/var", 0o755),
    ("/var/cache", 0o755),
    ("/var/lib", 0o755),
    ("/var/log", 0o755),
    ("/var/tmp", 0o1777),
    ("/workspace", 0o755),
];

/// Files of /proc that tell of the whole machine: its memory, keys and addresses, and when its devices were used (keystrokes
/// show in the counts of interrupts).
const HIDDEN_PROC: [&str; 7] = [
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
];

/// Terminals in one box: the machine has some thousands for all boxes together (kernel.pty.max).
const MOST_TERMINALS: &str = "512";

/// The slot that holds the folder for logs: beside the root, where no path of the box leads.
pub(crate) const LOG_SLOT: usize = 0;
/// The slot that holds the agent's program: a mount of its own, read-only for good, so that root of the box can't change
/// what other boxes run even where it is the file's owner.
pub(crate) const AGENT_SLOT: usize = 1;
const STAGE_SLOT: usize = 2;
const PROC_SLOT: usize = 3;
const FIRST_FREE_SLOT: usize = 4;

type Options = Vec<(CString, CString)>;

/// A text for the kernel. What comes from outside was checked to hold no NUL when it was parsed.
pub(crate) fn c_string(text: impl AsRef<std::ffi::OsStr>) -> CString {
    let bytes = text.as_ref().as_bytes();
    CString::new(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).unwrap_or_default()
}

/// Collects steps and hands out mount slots.
struct Builder {
    steps: Vec<Step>,
    next_slot: usize,
    /// What goes into the new root once it is entered.
    later: Vec<Later>,
    /// The user's part of that: after the rest, which would hide it.
    users: Vec<Later>,
}

/// Something for the new root.
enum Later {
    Link { path: PathBuf, target: PathBuf },
    Attach { slot: usize, target: PathBuf, is_folder: bool },
}

impl Layout<'_> {
    /// All steps from the host's tree to the finished root.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut builder = Builder {
            steps: Vec::with_capacity(128),
            next_slot: FIRST_FREE_SLOT,
            later: Vec::new(),
            users: Vec::new(),
        };
        builder.steps.extend([Step::Umask(0), Step::PrivateMounts]);
        self.take_sources(&mut builder);
        let backing = self.take_backing(&mut builder);
        // Until here nothing depends on what the parent does meanwhile: id maps, notes.
        builder.steps.extend([Step::AwaitGo(self.go), Step::CgroupNamespace]);
        builder.steps.push(Step::BecomeRoot { drop_groups: self.many_ids });
        // Made while the host's own is still in sight: a user namespace may see a new one only where it sees one whole.
        builder.steps.push(Step::NewFilesystem {
            slot: PROC_SLOT,
            kind: c"proc".into(),
            options: Vec::new(),
            attributes: MountAttributes::PLAIN.no_exec(),
        });
        self.enter_root(&mut builder, backing);
        self.base_folders(&mut builder);
        self.device_files(&mut builder);
        self.made_files(&mut builder);
        builder.put_all();
        self.process_files(&mut builder);
        if self.read_only {
            builder.steps.push(Step::ReadOnlyRoot);
        }
        builder.steps.push(Step::Umask(0o022));
        builder.steps
    }

    /// Copies of host folders are taken while the process is still the caller: afterwards private paths are closed to it.
    fn take_sources(&self, builder: &mut Builder) {
        let plain = MountAttributes::PLAIN;
        let agent = c_string(self.agent);
        builder.steps.push(Step::CloneTree {
            slot: AGENT_SLOT,
            source: agent,
            attributes: plain.read_only(),
        });
        builder.steps.push(Step::OpenFolder { slot: STAGE_SLOT, path: c_string(self.stage) });
        for part in host_system::parts() {
            match part {
                Part::Link { path, target } => builder.later.push(Later::Link { path, target }),
                Part::Folder(path) => builder.take(&path, &path, plain.read_only(), true),
                Part::File(path) => builder.take(&path, &path, plain.read_only(), false),
            }
        }
        if self.read_only {
            let usr = Path::new(host_system::USR);
            builder.take(usr, usr, plain.read_only(), true);
        }
        for device in ["null", "zero", "full", "random", "urandom", "tty"] {
            let path = Path::new("/dev").join(device);
            builder.take(&path, &path, MountAttributes::DEVICE, false);
        }
        for mount in &self.mounts {
            let attributes = match mount.access {
                Access::ReadOnly => plain.read_only(),
                Access::ReadWrite => plain,
            };
            match mount.tree {
                None => {
                    let (slot, source) = (builder.slot(), c_string(&mount.source));
                    builder.steps.push(Step::CloneResolvedTree { slot, source, attributes });
                    builder.attach_last(slot, &mount.target, mount.is_folder);
                }
                Some(tree) => {
                    let slot = builder.slot();
                    builder.steps.push(Step::AdoptTree { slot, tree });
                    builder.attach_last(slot, &mount.target, mount.is_folder);
                }
            }
        }
    }

    fn take_backing(&self, builder: &mut Builder) -> usize {
        let slot = builder.slot();
        match &self.backing {
            Backing::Memory { .. } => {}
            Backing::Folder(path) => builder.steps.push(Step::CloneTree {
                slot,
                source: c_string(path),
                attributes: MountAttributes::PLAIN,
            }),
            Backing::Tree(tree) => builder.steps.push(Step::AdoptTree { slot, tree: *tree }),
        }
        slot
    }

    fn enter_root(&self, builder: &mut Builder, backing: usize) {
        if let Backing::Memory { size } = &self.backing {
            builder.steps.push(Step::NewFilesystem {
                slot: backing,
                kind: c"tmpfs".into(),
                options: vec![
                    (c"size".into(), c_string(format!("{}", size.bytes()))),
                    (c"nr_inodes".into(), c_string(format!("{}", (size.bytes() / 4096).max(4096)))),
                    (c"mode".into(), c"0755".into()),
                ],
                attributes: MountAttributes::PLAIN,
            });
        }
        builder.steps.push(Step::AttachAndEnter { slot: backing, stage: STAGE_SLOT });
        builder.folder("log", 0o700);
        // A mount of its own, so that no `..` leads from the agent's descriptor to what is beside the root: links left
        // there would be met by the next start while the host's tree is still in sight.
        builder.steps.push(Step::CloneResolvedTree {
            slot: LOG_SLOT,
            source: c"log".into(),
            attributes: MountAttributes::PLAIN.no_exec(),
        });
        builder.folder("root", 0o755);
        if self.read_only {
            for (folder, mode) in [("tmp", 0o1777), ("shm", 0o1777)] {
                builder.folder(folder, mode);
                let slot = builder.slot();
                let attributes = MountAttributes::PLAIN;
                builder.steps.push(Step::CloneResolvedTree { slot, source: c_string(folder), attributes });
                let target = if folder == "shm" { "/dev/shm" } else { "/tmp" };
                builder.attach_later(slot, Path::new(target), true);
            }
        } else {
            self.writable_usr(builder);
        }
        builder.steps.push(Step::PivotRoot);
    }

    /// `/usr` of the host below, a folder of the box's own above.
    fn writable_usr(&self, builder: &mut Builder) {
        if self.fresh {
            for folder in ["usr.new", "usr.new/upper", "usr.new/work"] {
                builder.folder(folder, 0o755);
            }
            for folder in host_system::writable_usr() {
                builder.folder(&format!("usr.new/upper/{folder}"), 0o755);
            }
            builder.steps.push(Step::Rename { from: c"usr.new".into(), to: c"usr".into() });
        }
        let slot = builder.slot();
        builder.steps.push(Step::NewFilesystem {
            slot,
            kind: c"overlay".into(),
            options: vec![
                (c"lowerdir".into(), c_string(host_system::USR)),
                (c"upperdir".into(), c"usr/upper".into()),
                (c"workdir".into(), c"usr/work".into()),
                (c"userxattr".into(), c"".into()),
            ],
            attributes: MountAttributes::PLAIN,
        });
        builder.attach_later(slot, Path::new(host_system::USR), true);
    }

    fn base_folders(&self, builder: &mut Builder) {
        for (folder, mode) in BASE_FOLDERS {
            builder.folder(folder, mode);
        }
        for (path, target) in [("/var/run", "/run"), ("/var/lock", "/run/lock")] {
            builder.link(path, target);
        }
    }

    fn device_files(&self, builder: &mut Builder) {
        for (path, target) in [
            ("/dev/fd", "/proc/self/fd"),
            ("/dev/stdin", "/proc/self/fd/0"),
            ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"),
            ("/dev/ptmx", "pts/ptmx"),
        ] {
            builder.link(path, target);
        }
    }

    fn made_files(&self, builder: &mut Builder) {
        let hosts = host_system::hosts(self.hostname);
        let hostname = format!("{}\n", self.hostname);
        for (path, content) in [
            ("/etc/hosts", hosts.as_bytes()),
            ("/etc/hostname", hostname.as_bytes()),
            ("/etc/resolv.conf", &self.resolv_conf),
        ] {
            builder.steps.push(Step::File { path: c_string(path), mode: 0o644, content: content.to_vec() });
        }
        for (path, content) in [
            ("/etc/passwd", host_system::PASSWD),
            ("/etc/group", host_system::GROUP),
            ("/etc/nsswitch.conf", host_system::NSSWITCH),
        ] {
            builder.steps.push(Step::FileOnce { path: c_string(path), mode: 0o644, content: content.into() });
        }
    }

    fn process_files(&self, builder: &mut Builder) {
        let quiet = MountAttributes::PLAIN.no_exec();
        builder.steps.push(Step::Attach { slot: PROC_SLOT, target: c"/proc".into() });
        let mut options = vec![
            (c"mode".into(), c"0620".into()),
            (c"ptmxmode".into(), c"0666".into()),
            (c"max".into(), c_string(MOST_TERMINALS)),
        ];
        if self.many_ids {
            options.push((c"gid".into(), c"5".into()));
        }
        options.push((c"newinstance".into(), c"".into()));
        builder.mount_new("devpts", "/dev/pts", options, MountAttributes::DEVICE);
        for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
            if Path::new(path).exists() {
                builder.cover(path, path, quiet.read_only());
            }
        }
        for path in HIDDEN_PROC {
            if Path::new(path).exists() {
                builder.cover("/dev/null", path, MountAttributes::DEVICE.read_only());
            }
        }
        for path in ["/proc/acpi", "/proc/asound", "/proc/scsi"] {
            if Path::new(path).exists() {
                builder.cover("/sys", path, quiet.read_only());
            }
        }
    }
}

impl Builder {
    fn slot(&mut self) -> usize {
        self.next_slot += 1;
        self.next_slot - 1
    }

    fn take(&mut self, source: &Path, target: &Path, attributes: MountAttributes, is_folder: bool) {
        let slot = self.slot();
        self.steps.push(Step::CloneTree { slot, source: c_string(source), attributes });
        self.attach_later(slot, target, is_folder);
    }

    fn attach_last(&mut self, slot: usize, target: &Path, is_folder: bool) {
        self.users.push(Later::Attach { slot, target: target.to_owned(), is_folder });
    }

    fn attach_later(&mut self, slot: usize, target: &Path, is_folder: bool) {
        self.later.push(Later::Attach { slot, target: target.to_owned(), is_folder });
    }

    /// Puts everything collected into the new root.
    fn put_all(&mut self) {
        let users = std::mem::take(&mut self.users);
        for later in std::mem::take(&mut self.later).into_iter().chain(users) {
            match later {
                Later::Link { path, target } => {
                    self.parents(&path);
                    self.steps.push(Step::Symlink { target: c_string(target), path: c_string(path) });
                }
                Later::Attach { slot, target, is_folder } => {
                    self.parents(&target);
                    let target = c_string(target);
                    self.steps.push(match is_folder {
                        true => Step::Directory { path: target.clone(), mode: 0o755 },
                        false => Step::MountPoint(target.clone()),
                    });
                    self.steps.push(Step::Attach { slot, target });
                }
            }
        }
    }

    /// The folders above `path`, those of every box apart.
    fn parents(&mut self, path: &Path) {
        let mut missing: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .take_while(|parent| !BASE_FOLDERS.iter().any(|(folder, _)| Path::new(folder) == *parent))
            .filter(|parent| parent.parent().is_some())
            .collect();
        while let Some(parent) = missing.pop() {
            self.steps.push(Step::Directory { path: c_string(parent), mode: 0o755 });
        }
    }

    fn mount_new(&mut self, kind: &str, target: &str, options: Options, attributes: MountAttributes) {
        let slot = self.slot();
        self.steps.push(Step::NewFilesystem { slot, kind: c_string(kind), options, attributes });
        self.steps.push(Step::Attach { slot, target: c_string(target) });
    }

    /// Mounts `source` of the box over `target`, which is there.
    fn cover(&mut self, source: &str, target: &str, attributes: MountAttributes) {
        let slot = self.slot();
        self.steps.push(Step::CloneTree { slot, source: c_string(source), attributes });
        self.steps.push(Step::Attach { slot, target: c_string(target) });
    }

    fn folder(&mut self, path: &str, mode: u32) {
        self.steps.push(Step::Directory { path: c_string(path), mode });
    }

    fn link(&mut self, path: &str, target: &str) {
        self.steps.push(Step::Symlink { target: c_string(target), path: c_string(path) });
    }
}
