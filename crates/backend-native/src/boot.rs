//! Starting a box: everything is prepared here, its first process walks through the steps, and the agent takes over.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use agentkernel_backend::{AGENT_CAPABILITIES, BackendError};
use agentkernel_model::{
    Access, Boundary, Feature, Isolation, Mib, Mount, NetworkAccess, Profile, SandboxSpec,
};
use agentkernel_sys::capability::CapabilitySet;
use agentkernel_sys::cgroup::{Cgroup, CgroupError, CgroupLimits};
use agentkernel_sys::landlock::{Policy, Rights};
use agentkernel_sys::process::{Child, Namespaces};
use agentkernel_sys::rlimit::Limit;
use agentkernel_sys::seccomp::Filter;
use agentkernel_sys::steps::{Descriptor, Failure, Origin, Program, Step, Trace};
use rustix::io::Errno;
use tokio::io::AsyncReadExt as _;

use crate::identity::IdMap;
use crate::layout::{AGENT_SLOT, Backing, Base, LOG_SLOT, Layout, UserMount, c_string};
use crate::machine::Machine;
use crate::name::NAME;
use crate::trees::{self, Tree};
use agentkernel_network::NetworkHost;

/// Numbers of the agent's descriptors.
const STREAM: i32 = 3;
const LISTENER: i32 = 4;
const LOGS: i32 = 5;
const FAILURES: i32 = 6;
const AGENT: i32 = 7;
const TRACE: i32 = 8;

/// How the host will speak to the agent.
pub(crate) enum Door {
    /// Over this stream; the box ends with it.
    Stream(OwnedFd),
    /// By connecting to this socket; the box outlives its maker.
    Listener(OwnedFd),
}

/// A box to start.
pub(crate) struct Boot<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) network: &'a NetworkHost,
    pub(crate) agent: &'a Path,
    /// An empty folder of the host, to build on; nothing is ever written there.
    pub(crate) stage: &'a Path,
    pub(crate) id: &'a str,
    pub(crate) spec: &'a SandboxSpec,
    /// Limits that are let go.
    pub(crate) waived: &'a [Feature],
    pub(crate) id_map: &'a IdMap,
    pub(crate) base: &'a Base,
    pub(crate) backing: Backing,
    /// Whether no box has run on the backing yet.
    pub(crate) fresh: bool,
    /// Where the first process tells how long each step took, if anybody wants to know.
    pub(crate) trace: Option<io::PipeWriter>,
    pub(crate) door: Door,
}

/// A box that runs.
#[derive(Debug)]
pub(crate) struct Booted {
    pub(crate) child: Child,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) isolation: Isolation,
    /// The kinds of the steps, by index, for a trace.
    pub(crate) kinds: Vec<&'static str>,
}

impl Boot<'_> {
    /// Starts it. `before_go` is called with the first process while that can still be taken back by nothing but this
    /// process's own end.
    pub(crate) async fn start(
        self,
        before_go: impl FnOnce(&Child, &Isolation) -> io::Result<()>,
    ) -> Result<Booted, BackendError> {
        crate::mounts::check(&self.spec.mounts)?;
        self.spec.mounts.iter().try_for_each(|mount| crate::mounts::check_source(&mount.source))?;
        let isolation = self.isolation();
        let pipe = |source| BackendError::runtime("make a pipe", source);
        let (wait, go) = UnixStream::pair().map_err(pipe)?;
        let (failures, report) = io::pipe().map_err(pipe)?;
        let limits = self.limits();
        let cgroup = self.begin_cgroup(&limits)?;
        let mut steps = vec![Step::NewSession];
        steps.extend(self.layout(wait.as_raw_fd(), &limits)?.steps());
        steps.extend(self.lockdown(report.as_raw_fd())?);
        let kinds = match self.trace {
            Some(_) => steps.iter().map(Step::kind).collect(),
            None => Vec::new(),
        };
        let trace = self.trace.as_ref().map(|pipe| Trace { early: pipe.as_raw_fd(), late: TRACE });
        let program = Program::new(steps, AGENT, self.agent_arguments()?, FAILURES)
            .with_trace(trace)
            .made_by(self.id_map.maker());

        let child = program
            .spawn(Namespaces::BOX, cgroup.as_ref().and_then(Cgroup::birth_folder), report.as_raw_fd())
            .map_err(|source| BackendError::runtime("make the namespaces of a box", source))?;
        drop((wait, report));
        let mut booted = Booted { child, cgroup, isolation, kinds };
        let started = match self.let_go(&mut booted, &limits, go, before_go) {
            Ok(()) => await_agent(failures, &program).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(()) => Ok(booted),
            Err(error) => {
                booted.end()?;
                Err(error)
            }
        }
    }

    fn let_go(
        &self,
        booted: &mut Booted,
        limits: &CgroupLimits,
        go: UnixStream,
        before_go: impl FnOnce(&Child, &Isolation) -> io::Result<()>,
    ) -> Result<(), BackendError> {
        self.id_map
            .write(&booted.child)
            .map_err(|source| BackendError::runtime("map the users of a box", source))?;
        // All of this while the first process takes its copies of the host, and before it goes on.
        if let Some(cgroup) = &mut booted.cgroup {
            self.machine.cgroups.complete(cgroup, self.id, limits).map_err(limits_failed)?;
        }
        self.level_with_others(&booted.child)
            .map_err(|source| BackendError::runtime("make a box as mortal as others", source))?;
        before_go(&booted.child, &booted.isolation)
            .map_err(|source| BackendError::runtime("note a box", source))?;
        let let_go = || {
            io::Write::write_all(&mut &go, b"g")
                .map_err(|source| BackendError::runtime("start a box", source))
        };
        if self.machine.rootless {
            // Once it becomes root inside, the kernel keeps its namespaces from an ordinary user until the agent runs.
            self.connect_network(&booted.child)?;
            let_go()?;
        } else {
            // The box builds its root on the other core meanwhile.
            let_go()?;
            trees::send(&self.trees(), &booted.child, &go)?;
            self.connect_network(&booted.child)?;
        }
        Ok(())
    }

    /// A service that the kernel is told to spare when memory runs out must not pass that on.
    fn level_with_others(&self, child: &Child) -> io::Result<()> {
        let own: i32 = std::fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse().unwrap_or(0);
        if own >= 0 {
            return Ok(());
        }
        std::fs::write(format!("/proc/{}/oom_score_adj", child.pid.as_raw_nonzero()), "0")
    }

    fn connect_network(&self, child: &Child) -> Result<(), BackendError> {
        if self.spec.network == NetworkAccess::None {
            return Ok(());
        }
        let pid = child.pid.as_raw_nonzero();
        let namespace = File::open(format!("/proc/{pid}/ns/net"))
            .map_err(|source| BackendError::runtime("open a box's network namespace", source))?;
        self.network
            .connect(namespace.as_fd(), pid.get().unsigned_abs(), self.id)
            .map(drop)
            .map_err(|source| BackendError::runtime("connect a box to the network", source))
    }

    /// What has to be sent: only root shifts owners, and only a range of a box's own needs it.
    fn trees(&self) -> Vec<Tree> {
        if !self.id_map.shifts_owners() {
            return Vec::new();
        }
        let layers = match self.base {
            Base::Host => None,
            Base::Image(image) => Some(Tree::Layers(image.common.clone())),
        };
        let user = |mount: &Mount| Tree::User { source: mount.source.clone(), access: mount.access };
        layers.into_iter().chain(self.spec.mounts.iter().map(user)).collect()
    }

    fn layout(&self, go: RawFd, limits: &CgroupLimits) -> Result<Layout<'_>, BackendError> {
        let mounts = self.spec.mounts.iter().map(|mount| {
            let meta = crate::mounts::look_at(&mount.source)?;
            Ok(UserMount {
                source: mount.source.clone(),
                target: mount.target.as_path().to_owned(),
                access: mount.access,
                is_folder: meta.is_dir(),
            })
        });
        let resolv_conf = match self.spec.network {
            NetworkAccess::None => Vec::new(),
            NetworkAccess::On => self.network.resolv_conf(),
        };
        Ok(Layout {
            base: self.base,
            agent: self.agent,
            backing: self.backing.clone(),
            fresh: self.fresh,
            read_only: self.spec.read_only_root,
            stage: self.stage,
            go,
            cgroup_entries: self.machine.cgroups.entries(self.id, limits),
            hostname: &self.spec.hostname,
            resolv_conf,
            workdir: self.spec.workdir.as_path(),
            many_ids: self.id_map.has_many(),
            shifts_owners: self.id_map.shifts_owners(),
            mounts: mounts.collect::<Result<_, BackendError>>()?,
        })
    }

    /// From the finished root to a process that can't do harm.
    fn lockdown(&self, report: i32) -> Result<Vec<Step>, BackendError> {
        let mut descriptors = vec![
            Descriptor { from: Origin::Slot(LOG_SLOT), to: LOGS, close_on_exec: false },
            Descriptor { from: Origin::Parent(report), to: FAILURES, close_on_exec: true },
            Descriptor { from: Origin::Slot(AGENT_SLOT), to: AGENT, close_on_exec: true },
        ];
        descriptors.push(match &self.door {
            Door::Stream(fd) => {
                Descriptor { from: Origin::Parent(fd.as_raw_fd()), to: STREAM, close_on_exec: false }
            }
            Door::Listener(fd) => {
                Descriptor { from: Origin::Parent(fd.as_raw_fd()), to: LISTENER, close_on_exec: false }
            }
        });
        descriptors.extend(self.trace.as_ref().map(|pipe| Descriptor {
            from: Origin::Parent(pipe.as_raw_fd()),
            to: TRACE,
            close_on_exec: true,
        }));
        let mut steps = vec![
            Step::HostName(self.spec.hostname.clone().into_bytes()),
            Step::Loopback,
            Step::Descriptors(descriptors),
            Step::ResourceLimit(Limit::NO_CORE_DUMPS),
            Step::ResourceLimit(Limit::NO_REAL_TIME),
            Step::ResourceLimit(Limit::NO_FAVOUR),
        ];
        steps.extend(self.spec.resources.open_files.map(|most| Step::ResourceLimit(Limit::open_files(most))));
        let agent = CapabilitySet::from_names(AGENT_CAPABILITIES)
            .map_err(|source| BackendError::runtime("name the agent's capabilities", source))?;
        steps.push(Step::Capabilities(agent.union(self.command_capabilities()?)));
        if let Some(abi) = self.machine.landlock {
            let allow = |policy: Policy, (path, rights)| policy.allow(path, rights);
            steps.push(Step::Landlock(self.landlock_paths().into_iter().fold(Policy::new(abi), allow)));
        }
        steps.push(Step::Seccomp(match self.spec.profile {
            Profile::Permissive | Profile::Moderate => Filter::Standard,
            Profile::Restrictive => Filter::Restrictive,
        }));
        Ok(steps)
    }

    fn landlock_paths(&self) -> Vec<(CString, Rights)> {
        let by_number = |number| c_string(format!("/proc/self/fd/{number}"));
        let mut paths = vec![(by_number(LOGS), Rights::ReadWrite), (by_number(AGENT), Rights::ReadExecute)];
        if !self.spec.read_only_root {
            paths.push((c"/".into(), Rights::ReadWrite));
            return paths;
        }
        let writable = self.spec.mounts.iter().filter(|mount| mount.access == Access::ReadWrite);
        paths.push((c"/".into(), Rights::ReadExecute));
        paths.extend(["/tmp", "/dev", "/proc"].map(|path| (c_string(path), Rights::ReadWrite)));
        paths.extend(writable.map(|mount| (c_string(mount.target.as_path()), Rights::ReadWrite)));
        paths
    }

    fn command_capabilities(&self) -> Result<CapabilitySet, BackendError> {
        CapabilitySet::from_names(self.spec.profile.linux_capabilities())
            .map_err(|source| BackendError::runtime("name the profile's capabilities", source))
    }

    fn agent_arguments(&self) -> Result<Vec<CString>, BackendError> {
        let mut arguments = vec!["agentkernel-agent".to_owned()];
        match &self.door {
            Door::Stream(_) => {
                arguments.extend(["--stream-fd".into(), STREAM.to_string(), "--exit-with-stream".into()]);
            }
            Door::Listener(_) => arguments.extend(["--listen-fd".into(), LISTENER.to_string()]),
        }
        arguments.extend(["--log-dir-fd".into(), LOGS.to_string()]);
        arguments.extend(["--command-capabilities".into(), format!("{:x}", self.command_capabilities()?.0)]);
        Ok(arguments.iter().map(c_string).collect())
    }

    fn limits(&self) -> CgroupLimits {
        let asked = |feature, value: Option<u64>| value.filter(|_| !self.waived.contains(&feature));
        let resources = &self.spec.resources;
        CgroupLimits {
            memory_bytes: asked(Feature::MemoryLimit, resources.memory.map(Mib::bytes)),
            cpu_millis: asked(Feature::CpuLimit, resources.cpus.map(|cpus| cpus.millis().into()))
                .and_then(|millis| u32::try_from(millis).ok()),
            pids: asked(Feature::PidsLimit, resources.pids.map(u64::from))
                .and_then(|pids| u32::try_from(pids).ok()),
        }
    }

    fn begin_cgroup(&self, limits: &CgroupLimits) -> Result<Option<Cgroup>, BackendError> {
        if *limits == CgroupLimits::default() {
            return Ok(None);
        }
        self.machine.cgroups.begin(self.id, limits).map(Some).map_err(limits_failed)
    }

    fn disk_limit(&self) -> Option<Mib> {
        match &self.backing {
            Backing::Memory { size } => Some(*size),
            Backing::Tree(_) => self.spec.resources.disk,
            Backing::Folder(_) => None,
        }
    }

    fn isolation(&self) -> Isolation {
        let mut layers: Vec<String> = ["user", "mount", "pid", "network", "ipc", "uts", "cgroup"]
            .map(|namespace| format!("{namespace} namespace"))
            .into();
        layers.push(match self.spec.profile {
            Profile::Restrictive => "seccomp (restrictive)".to_owned(),
            Profile::Permissive | Profile::Moderate => "seccomp (standard)".to_owned(),
        });
        layers.push("no new privileges".to_owned());
        if let Some(abi) = self.machine.landlock {
            layers.push(format!("landlock {}", abi.version()));
        }
        let resources = &self.spec.resources;
        for (feature, text) in [
            (Feature::MemoryLimit, resources.memory.map(|memory| format!("memory {memory}"))),
            (Feature::CpuLimit, resources.cpus.map(|cpus| format!("cpus {cpus}"))),
            (Feature::PidsLimit, resources.pids.map(|pids| format!("pids {pids}"))),
            (Feature::OpenFilesLimit, resources.open_files.map(open_files)),
        ] {
            layers.extend(text.filter(|_| !self.waived.contains(&feature)));
        }
        layers.extend(self.disk_limit().map(|disk| format!("disk {disk}")));
        Isolation {
            backend: crate::name::name(),
            boundary: Boundary::SharedKernel,
            rootless: self.machine.rootless,
            layers,
            not_enforced: self.waived.iter().map(ToString::to_string).collect(),
        }
    }
}

fn limits_failed(source: CgroupError) -> BackendError {
    BackendError::runtime("make the limits of a box", source)
}

/// A place that the box can't have is the user's mistake; the rest is the machine's.
fn explain(step: Option<&Step>, errno: Errno) -> BackendError {
    match (step, errno) {
        (
            Some(
                Step::Directory { path, .. }
                | Step::OwnFolder { path, .. }
                | Step::MountPoint(path)
                | Step::OwnFile(path)
                | Step::Attach { target: path, .. },
            ),
            Errno::ROFS | Errno::ACCESS | Errno::NOTDIR | Errno::NOENT | Errno::LOOP,
        ) if !agentkernel_backend::is_reserved(Path::new(OsStr::from_bytes(path.to_bytes()))) => {
            BackendError::Invalid {
                what: format!(
                    "nothing can be mounted at {}: the sandbox can't make that path ({errno}); choose one below a folder \
                     of its own, such as /mnt, /srv or /workspace",
                    path.to_string_lossy()
                ),
            }
        }
        (Some(step @ Step::NewOverlay { .. }), Errno::INVAL | Errno::NODEV | Errno::TOOBIG) => {
            BackendError::Unsupported {
                backend: NAME.to_owned(),
                what: "this image".to_owned(),
                fix: format!(
                    "this machine can't {step} ({errno}): that needs Linux 5.19 as root and 5.11 as an ordinary user, \
                     for more than 90 layers Linux 6.8; use another backend"
                ),
            }
        }
        (step, errno) => {
            let action = step.map_or("start the guest agent".to_owned(), ToString::to_string);
            BackendError::runtime(format!("prepare a box: {action}"), io::Error::from(errno))
        }
    }
}

/// What the limit comes to: no more than this process itself may have.
fn open_files(asked: u32) -> String {
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    format!("open files {}", own.map_or(asked.into(), |own| own.min(asked.into())))
}

impl Booted {
    /// Ends all of it and waits until that is so.
    pub(crate) fn end(&mut self) -> Result<(), BackendError> {
        let step = |source| BackendError::runtime("end a box", source);
        self.child.kill().map_err(step)?;
        self.child.reap().map_err(step)?;
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove().map_err(|source| BackendError::runtime("remove the limits of a box", source))?;
        }
        Ok(())
    }
}

/// The pipe closes by itself when the agent is executed; what comes before is a failure.
async fn await_agent(failures: io::PipeReader, program: &Program) -> Result<(), BackendError> {
    let failed = |source| BackendError::runtime("wait for a box", source);
    let fd = OwnedFd::from(failures);
    rustix::io::ioctl_fionbio(&fd, true).map_err(|errno| failed(errno.into()))?;
    let mut failures = tokio::net::unix::pipe::Receiver::from_owned_fd(fd).map_err(failed)?;
    let mut bytes = Vec::with_capacity(Failure::BYTES);
    failures.read_to_end(&mut bytes).await.map_err(failed)?;
    match Failure::decode(&bytes) {
        None => Ok(()),
        Some(Failure { step, errno }) => Err(explain(program.steps().get(step), errno)),
    }
}
