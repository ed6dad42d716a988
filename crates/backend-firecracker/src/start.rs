//! From a plan to a machine whose agent serves: what one-shot boxes and lasting ones have in common.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkernel_backend::{BackendError, UnspokenAgent};
use agentkernel_protocol::machine::{AGENT_PORT, needs_machine_setup, send_machine_setup};
use agentkernel_protocol::{GateError, needs_setup, send_setup};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::backend::Parts;
use crate::live_mounts::{self, LiveMounts};
use crate::placement::Placement;
use crate::plan::Plan;
use crate::steps::Steps;
use crate::template;
use crate::vmm::{Drive, Interface, Life, Machine, MachineNote, MachineSpec, Owner, VmmError};
use crate::vsock::VsockError;

/// The longest from an agent that waits to one that serves, where nobody says otherwise.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Each machine is alone behind its vsock.
const VSOCK_CID: u32 = 3;

/// A machine to start.
pub(crate) struct Start<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) id: &'a str,
    /// Made here, private.
    pub(crate) folder: PathBuf,
    /// The image's file.
    pub(crate) image: &'a Path,
    /// What the box writes, where it is kept.
    pub(crate) disk: Option<PathBuf>,
    pub(crate) life: Life,
}

impl Start<'_> {
    /// Boots and sets up. Where it fails, nothing of it is left but what `noted` has noted.
    pub(crate) async fn run(
        self,
        noted: &mut (dyn FnMut(&MachineNote) -> io::Result<()> + Send),
    ) -> Result<(Machine, UnixStream), BackendError> {
        let mut steps = Steps::begin();
        live_mounts::check(self.plan.mounts())?;
        make_private(&self.folder)
            .map_err(|source| BackendError::runtime(format!("make {}", self.folder.display()), source))?;
        let equipment = self.parts.equipment()?;
        let placement = Placement::make(self.parts, self.plan, self.id)?;
        let spec = self.spec(&equipment.kernel, &placement)?;
        let owner = spec.site.owner;
        steps.done("place");
        let (machine, waiting) = template::ready(self.parts, spec, noted).await?;
        match self.share_and_set_up(&machine, waiting, owner, &placement).await {
            Ok(stream) => {
                placement.keep();
                Ok((machine, stream))
            }
            Err(error) => {
                let error = explain(error, &machine);
                machine.end().map_err(|source| BackendError::runtime("end a machine", source))?;
                Err(error)
            }
        }
    }

    /// The agent mounts what is shared while it sets up; from then on that lives as long as the machine.
    async fn share_and_set_up(
        &self,
        machine: &Machine,
        waiting: UnixStream,
        owner: Option<Owner>,
        placement: &Placement,
    ) -> Result<UnixStream, BackendError> {
        let program = self.parts.share_program();
        let mounts = LiveMounts::open(program, machine.folder(), owner, self.plan.mounts())?;
        let stream = self.set_up(waiting, placement, &mounts).await?;
        mounts.keep();
        Ok(stream)
    }

    fn spec(&self, kernel: &Path, placement: &Placement) -> Result<MachineSpec, BackendError> {
        let rate = self.plan.rates().of_disk();
        let image = Drive { path: self.image.to_owned(), read_only: true, rate };
        let disk = self.disk.clone().map(|path| Drive { path, read_only: false, rate });
        let rate = self.plan.rates().of_network();
        let limited = |interface| Interface { receive_rate: rate, send_rate: rate, ..interface };
        Ok(MachineSpec {
            site: placement.site(&self.folder, self.life)?,
            kernel: kernel.to_owned(),
            initramfs: self.parts.initramfs()?,
            kernel_arguments: self.plan.kernel_arguments(),
            vcpus: self.plan.cpus(),
            memory: self.plan.memory(),
            drives: std::iter::once(image).chain(disk).collect(),
            network: placement.interface().map(limited),
            vsock_cid: VSOCK_CID,
            balloon: true,
        })
    }

    /// On the stream on which the agent waits for it.
    async fn set_up(
        &self,
        mut stream: UnixStream,
        placement: &Placement,
        mounts: &LiveMounts,
    ) -> Result<UnixStream, BackendError> {
        let mut steps = Steps::begin();
        let setup = async {
            let mut setup = self.plan.machine_setup(placement.told(), random()?, random()?)?;
            setup.mounts = mounts.told();
            send_machine_setup(&mut stream, &setup).await.map_err(refused)?;
            if needs_setup(&mut stream).await.map_err(refused)? {
                send_setup(&mut stream, &self.plan.setup()).await.map_err(refused)?;
            }
            steps.done("set-up");
            Ok(stream)
        };
        let limit = self.parts.longest_silence();
        timeout(limit, setup).await.unwrap_or_else(|_| Err(silent(limit)))
    }
}

/// A stream to the agent of a machine that is set up, which may say nothing for so long.
pub(crate) async fn connect(machine: &Machine, limit: Duration) -> Result<UnspokenAgent, BackendError> {
    let connecting = async {
        let mut stream = machine.connect(AGENT_PORT, limit).await.map_err(unreachable)?;
        if needs_machine_setup(&mut stream).await.map_err(refused)? {
            return Err(BackendError::BoxEnded { why: "its machine was never set up".to_owned() });
        }
        Ok(UnspokenAgent::from(stream))
    };
    timeout(limit, connecting).await.unwrap_or_else(|_| Err(silent(limit)))
}

/// Of an agent that was waited for so long.
pub(crate) fn silent(limit: Duration) -> BackendError {
    BackendError::BoxEnded { why: format!("its agent said nothing for {limit:?}") }
}

pub(crate) fn refused(error: GateError) -> BackendError {
    match error {
        GateError::Stream { source } => {
            BackendError::BoxEnded { why: format!("its agent went away: {source}") }
        }
        GateError::Refused { reason } => BackendError::runtime("set the machine up", reason),
        GateError::Unknown { .. } => BackendError::HostileGuest { what: error.to_string() },
    }
}

pub(crate) fn unreachable(error: VsockError) -> BackendError {
    match error {
        VsockError::Broken { .. } => BackendError::HostileGuest { what: error.to_string() },
        other => BackendError::BoxEnded { why: other.to_string() },
    }
}

pub(crate) fn failed(error: VmmError) -> BackendError {
    BackendError::runtime("start a machine", error)
}

/// A machine that ended has said why on its console.
pub(crate) fn explain(error: BackendError, machine: &Machine) -> BackendError {
    match error {
        BackendError::BoxEnded { why } => {
            BackendError::BoxEnded { why: format!("{why}; its console ended with: {}", machine.last_words()) }
        }
        other => other,
    }
}

/// Bytes that nobody else has.
pub(crate) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], BackendError> {
    let mut bytes = [0; LENGTH];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| BackendError::runtime("get random bytes", io::Error::from(errno)))?;
    Ok(bytes)
}

/// Makes `folder`, which nobody else may enter; fine if it is there.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A copy of a stream, for who has to shut it down after the agent was spoken to.
pub(crate) fn hold(stream: &UnixStream) -> Result<OwnedFd, BackendError> {
    use std::os::fd::AsFd as _;
    stream.as_fd().try_clone_to_owned().map_err(|source| BackendError::runtime("hold a box's stream", source))
}
