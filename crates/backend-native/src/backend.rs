//! The native backend: verbs into boots, notes and ends.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agentkernel_backend::{
    AgentGuest, Backend, BackendError, BoxRecord, Entrance, EphemeralBox, Guest, HandOver, ImageBuilder,
    Images, Lifetime, Probe, Reclaimed, Snapshots, UnspokenAgent, ask_to_end, refuse_unsupported,
};
use agentkernel_image::{ImageStore, StoreImages};
use agentkernel_model::{
    Action, BackendName, Capabilities, Feature, Isolation, Mib, Phase, PhaseError, SandboxSpec,
};
use agentkernel_network::Stamp;
use agentkernel_store::Lease;
use agentkernel_sys::process::ProcessIdentity;
use async_trait::async_trait;
use tokio::net::UnixStream;

use crate::boot::{Boot, Door};
use crate::ephemeral::NativeBox;
use crate::identity::IdMap;
use crate::images::{self, NativeSettings, Start};
use crate::instance::{Folder, Instance};
use crate::layout::{Backing, Base};
use crate::lease;
use crate::machine::Machine;
use crate::name::{NAME, name};
use crate::process::reap_when_ended;
use crate::remains::Remains;
use crate::{hand_over, sandbox};

/// The embedded Linux sandbox.
pub struct NativeBackend {
    state_dir: PathBuf,
    name: BackendName,
    machine: Arc<Machine>,
    capabilities: Capabilities,
    agent: OnceLock<PathBuf>,
    images: StoreImages,
}

impl NativeBackend {
    /// Looks at the machine; makes nothing. `state_dir` is the private folder of this user's agentkernel.
    pub fn open(state_dir: &Path, settings: NativeSettings) -> Result<Self, BackendError> {
        let machine = Machine::detect();
        let capabilities = machine.capabilities();
        let images = images::images(&machine, state_dir, &settings);
        Ok(Self {
            state_dir: state_dir.to_owned(),
            name: name(),
            machine: Arc::new(machine),
            capabilities,
            agent: OnceLock::new(),
            images,
        })
    }

    /// The images that boxes start from, for others who start from the same.
    pub fn image_store(&self) -> &ImageStore {
        &self.images.store
    }

    /// The installed guest agent and the folder to build on.
    fn prepare(&self) -> Result<(&Path, PathBuf), BackendError> {
        let stage = self.state_dir.join("stage");
        let failed = |source: io::Error| {
            BackendError::runtime(format!("prepare {}", self.state_dir.display()), source)
        };
        if !stage.is_dir() {
            std::fs::create_dir_all(&stage).map_err(failed)?;
        }
        if let Some(agent) = self.agent.get() {
            return Ok((agent, stage));
        }
        let agent = agentkernel_agent_binary::install(&self.state_dir.join("agent"))
            .map_err(|source| BackendError::runtime("install the guest agent", source))?;
        Ok((self.agent.get_or_init(|| agent), stage))
    }

    fn refuse(&self, spec: &SandboxSpec, lifetime: Lifetime) -> Result<Vec<Feature>, BackendError> {
        refuse_unsupported(&self.name, &self.capabilities, spec, lifetime)
    }

    /// Refuses a user that has no id in the box; names are for the box's own accounts to tell.
    fn check_user(&self, spec: &SandboxSpec) -> Result<(), BackendError> {
        let Some(user) = &spec.user else { return Ok(()) };
        let ids = self.machine.ids();
        let beyond = |name: &&str| name.parse::<u64>().is_ok_and(|number| number >= ids.into());
        match [Some(user.user.as_str()), user.group.as_deref()].into_iter().flatten().find(beyond) {
            None => Ok(()),
            Some(number) => Err(BackendError::Invalid {
                what: format!(
                    "user {user} can't be in a native sandbox: {number} is not among its ids, 0 to {}",
                    ids - 1
                ),
            }),
        }
    }

    /// How long each kind of step takes in one box, which is ended at once: kinds in the order they are first met, their
    /// steps added up. Of the first process only; what the parent does meanwhile is not in it.
    pub async fn step_costs(
        &self,
        spec: &SandboxSpec,
    ) -> Result<Vec<(&'static str, Duration)>, BackendError> {
        let failed = |source| BackendError::runtime("read the costs of a box's steps", source);
        let (mut costs, report) = io::pipe().map_err(failed)?;
        let start = Start::of(&self.images, spec)?;
        let made = self.boot_ephemeral(spec, start, Some(report)).await?;
        let kinds = made.kinds();
        Box::new(made).destroy().await?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut costs, &mut bytes).map_err(failed)?;
        let mut sums: Vec<(&'static str, Duration)> = Vec::new();
        for (index, cost) in agentkernel_sys::steps::decode_trace(&bytes) {
            let Some(kind) = kinds.get(index) else { continue };
            match sums.iter_mut().find(|(known, _)| known == kind) {
                Some((_, sum)) => *sum += cost,
                None => sums.push((kind, cost)),
            }
        }
        Ok(sums)
    }

    pub(crate) async fn boot_ephemeral(
        &self,
        spec: &SandboxSpec,
        start: Start,
        trace: Option<io::PipeWriter>,
    ) -> Result<NativeBox, BackendError> {
        let waived = self.refuse(spec, Lifetime::Ephemeral)?;
        let (agent, stage) = self.prepare()?;
        let lease = Lease::take(&lease::folder(&self.state_dir))
            .map_err(|source| BackendError::runtime("note a box", source))?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()
            .map_err(|source| BackendError::runtime("make a socket pair", source))?;
        let id_map = self
            .machine
            .new_id_map()
            .map_err(|source| BackendError::runtime("choose the ids of a box", source))?;
        let boot = Boot {
            machine: &self.machine,
            network: &self.machine.network(),
            agent,
            stage: &stage,
            id: lease.id(),
            spec,
            waived: &waived,
            id_map: &id_map,
            base: &start.base,
            backing: Backing::Memory { size: memory_size(spec) },
            fresh: true,
            trace,
            door: Door::Stream(OwnedFd::from(theirs)),
        };
        match boot.start(|_, _| Ok(())).await {
            Ok(booted) => {
                let agent = UnspokenAgent::new(ours)
                    .map_err(|source| BackendError::runtime("open the way into a box", source))?;
                let remains = Remains::new(&self.state_dir, &self.machine);
                Ok(NativeBox::new(self.entrance(agent), booted, lease, start.lease, remains))
            }
            Err(error) => {
                lease.release().map_err(|source| BackendError::runtime("release a box's lease", source))?;
                Err(error)
            }
        }
    }

    pub(crate) async fn boot_persistent(
        &self,
        record: &BoxRecord,
        folder: &Folder,
        base: &Base,
    ) -> Result<Isolation, BackendError> {
        let waived = self.refuse(&record.spec, Lifetime::Persistent)?;
        let (agent, stage) = self.prepare()?;
        let failed =
            |source: io::Error| BackendError::runtime(format!("start sandbox {}", record.name), source);
        let id_map = folder.read_identity().map_err(failed)?.ok_or_else(|| BackendError::NotFound {
            what: format!("the native part of sandbox {:?}", record.name.as_str()),
        })?;
        let tree = sandbox::open_layers(folder, &record.spec, &waived).map_err(failed)?;
        let fresh = sandbox::is_fresh(folder, tree.as_ref(), base.mark()).map_err(failed)?;
        let backing = match &tree {
            Some(tree) => Backing::Tree(tree.as_raw_fd()),
            None => Backing::Folder(folder.layers()),
        };
        let door = Door::Listener(sandbox::listen(folder).map_err(failed)?);
        let boot = Boot {
            machine: &self.machine,
            network: &self.machine.network(),
            agent,
            stage: &stage,
            id: &record.id,
            spec: &record.spec,
            waived: &waived,
            id_map: &id_map,
            base,
            backing,
            fresh,
            trace: None,
            door,
        };
        let booted = boot
            .start(|child, isolation| {
                let process = ProcessIdentity::of(child.pid.as_raw_nonzero().get().unsigned_abs())?;
                folder.write_instance(&Instance {
                    pid: process.pid,
                    start_ticks: process.start_ticks,
                    boot_id: process.boot_id,
                    isolation: isolation.clone(),
                })
            })
            .await?;
        if let Some(cgroup) = booted.cgroup {
            cgroup.keep();
        }
        reap_when_ended(booted.child, || {});
        Ok(booted.isolation)
    }

    /// The way into a box that nobody has spoken to.
    fn entrance(&self, agent: UnspokenAgent) -> Entrance {
        match self.capabilities.why_missing(Feature::OtherUsers) {
            None => Entrance::new(agent),
            Some(why) => Entrance::for_root_only(agent, NAME, why),
        }
    }

    /// The way into a box by its agent.
    fn guest(&self, stream: std::os::unix::net::UnixStream) -> Result<Arc<dyn Guest>, BackendError> {
        let stream = into_async(stream)?;
        Ok(match self.capabilities.why_missing(Feature::OtherUsers) {
            None => AgentGuest::connect(stream),
            Some(why) => AgentGuest::connect_for_root_only(stream, NAME, why),
        })
    }

    /// Ends what a start has left, alive or not.
    fn clear(&self, record: &BoxRecord, folder: &Folder) -> io::Result<()> {
        if let Some(instance) = folder.read_instance()?
            && let Some(pidfd) = instance.process().open()?
        {
            agentkernel_sys::process::kill_and_wait(&pidfd)?;
        }
        self.machine.remove_box(&record.id)?;
        folder.remove_instance()
    }
}

/// What a one-shot box may write where nobody says: half of its memory, where that is limited, else half of the machine's.
fn memory_size(spec: &SandboxSpec) -> Mib {
    let total = rustix::system::sysinfo();
    let machine = u32::try_from((total.totalram * u64::from(total.mem_unit)) >> 20).unwrap_or(u32::MAX);
    let memory = spec.resources.memory.map_or(machine, |memory| memory.0);
    spec.resources.disk.unwrap_or(Mib((memory / 2).max(16)))
}

fn into_async(stream: std::os::unix::net::UnixStream) -> Result<UnixStream, BackendError> {
    stream
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(stream))
        .map_err(|source| BackendError::runtime("open the way into a box", source))
}

#[async_trait]
impl Backend for NativeBackend {
    fn name(&self) -> &BackendName {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(&self.images)
    }

    fn builder(&self) -> Option<&dyn ImageBuilder> {
        None
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    async fn probe(&self) -> Probe {
        match self.machine.obstacle() {
            Some((why, fix)) => Probe::NotReady { why, fix },
            None => Probe::Ready { detail: self.machine.describe() },
        }
    }

    async fn launch(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        self.check_user(spec)?;
        let start = Start::of(&self.images, spec)?;
        Ok(Box::new(self.boot_ephemeral(spec, start, None).await?))
    }

    async fn take_over(&self, handed: HandOver) -> Result<Box<dyn EphemeralBox>, BackendError> {
        let taken = hand_over::unpack(handed, &self.state_dir, &self.machine, |agent| self.entrance(agent))?;
        Ok(Box::new(taken))
    }

    /// Of another version the agent may be another; the most files that a process may open limits what a box may
    /// (see the module `boot`); and a box keeps the resolver that its machine had.
    fn variant(&self) -> String {
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let (version, rootless) = (env!("CARGO_PKG_VERSION"), self.machine.rootless);
        format!("{version} rootless={rootless} files={open_files:?} {:?}", Stamp::now())
    }

    async fn create(&self, record: &BoxRecord) -> Result<(), BackendError> {
        self.check_user(&record.spec)?;
        let waived = self.refuse(&record.spec, Lifetime::Persistent)?;
        let failed = |source| BackendError::runtime(format!("make sandbox {}", record.name), source);
        let folder = Folder::new(&record.dir);
        let id_map = match folder.read_identity().map_err(failed)? {
            Some(id_map) => id_map,
            None => self.machine.new_id_map().map_err(failed)?,
        };
        folder.write_identity(&id_map).map_err(failed)?;
        sandbox::make_layers(&folder, &record.spec, &waived, &id_map).map_err(|source| {
            match (source.kind(), record.spec.resources.disk) {
                (io::ErrorKind::FileTooLarge, Some(size)) => disk_too_large(size, &record.dir),
                _ => failed(source),
            }
        })
    }

    async fn start(&self, record: &BoxRecord) -> Result<Isolation, BackendError> {
        if let Some(isolation) = self.running(record).await? {
            return Ok(isolation);
        }
        let folder = Folder::new(&record.dir);
        let failed = |source| BackendError::runtime(format!("start sandbox {}", record.name), source);
        self.clear(record, &folder).map_err(failed)?;
        // Held until the overlay is made, which keeps the files.
        let Start { base, lease: _lease } = Start::of(&self.images, &record.spec)?;
        let result = self.boot_persistent(record, &folder, &base).await;
        if result.is_err() {
            self.clear(record, &folder).map_err(failed)?;
        }
        result
    }

    async fn stop(&self, record: &BoxRecord, grace: Duration) -> Result<(), BackendError> {
        if self.running(record).await?.is_some() && !grace.is_zero() {
            // A box that no longer answers is ended all the same.
            if let Ok(guest) = self.connect(record).await {
                ask_to_end(guest.as_ref(), grace).await;
            }
        }
        self.clear(record, &Folder::new(&record.dir))
            .map_err(|source| BackendError::runtime(format!("stop sandbox {}", record.name), source))
    }

    async fn remove(&self, record: &BoxRecord) -> Result<(), BackendError> {
        let folder = Folder::new(&record.dir);
        let failed = |source| BackendError::runtime(format!("remove sandbox {}", record.name), source);
        self.clear(record, &folder).map_err(failed)?;
        let id_map = folder.read_identity().map_err(failed)?;
        if let Some(map @ IdMap::Subordinate { .. }) = &id_map {
            sandbox::remove_as_box_root(&folder, map).map_err(failed)?;
        }
        sandbox::remove_layers(&folder).and_then(|()| folder.remove_identity()).map_err(failed)
    }

    async fn running(&self, record: &BoxRecord) -> Result<Option<Isolation>, BackendError> {
        let failed = |source| BackendError::runtime(format!("look at sandbox {}", record.name), source);
        let folder = Folder::new(&record.dir);
        let Some(instance) = folder.read_instance().map_err(failed)? else { return Ok(None) };
        let alive = instance.process().open().map_err(failed)?.is_some();
        Ok(alive.then_some(instance.isolation))
    }

    async fn connect(&self, record: &BoxRecord) -> Result<Arc<dyn Guest>, BackendError> {
        let stream = sandbox::dial(&Folder::new(&record.dir)).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => BackendError::WrongPhase {
                name: record.name.to_string(),
                source: PhaseError { phase: Phase::Stopped, action: Action::Use },
            },
            _ => BackendError::runtime(format!("connect to sandbox {}", record.name), source),
        })?;
        Ok(self.guest(stream)?)
    }

    async fn reclaim(&self, _records: &[BoxRecord]) -> Result<Reclaimed, BackendError> {
        let mut reclaimed = Reclaimed::default();
        lease::reclaim(&self.state_dir, |id| {
            self.machine.remove_box(id)?;
            reclaimed.objects.push(format!("box {id}"));
            Ok(())
        })
        .map_err(|source| BackendError::runtime("reclaim what dead owners left", source))?;
        Ok(reclaimed)
    }
}

/// The limit is the size of a file, and file systems have the largest they hold.
fn disk_too_large(size: Mib, folder: &Path) -> BackendError {
    BackendError::Unsupported {
        backend: NAME.to_owned(),
        what: format!("a disk limit of {size}"),
        fix: format!(
            "the file system of {} holds no file of that size; give a smaller --disk",
            folder.display()
        ),
    }
}
