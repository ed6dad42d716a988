//! QEMU's microvm machine: a kernel of its own for machines without KVM, or with one that emulates. Its vsock is a second
//! process, vhost-device-vsock, which gives the host the same sockets as Firecracker.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use agentkernel_model::Mib;
use async_trait::async_trait;

use super::appearance::Appearance;
use super::console::Console;
use super::firecracker::{kvm_group, or_end, place_drives};
use super::launch::{Launch, Lifeline};
use super::machine::note_of;
use super::process::Process;
use super::qemu_arguments::{self, TRANSLATED, VHOST_SOCKET};
use super::room::Room;
use super::{Confinement, Life, Machine, MachineSpec, Noted, Snapshots, Started, Vmm, VmmError};
use crate::vsock::{KnockListener, SOCKET};

pub(super) const NAME: &str = "qemu";
const ROOM: &str = "machine";
/// QEMU with its devices, vhost-device-vsock, what the kernel keeps for both, and pages of files that they are reading.
const OVERHEAD: Mib = Mib(160);
/// How long the vsock's process may take until its socket is there; it takes some milliseconds.
const VSOCK_LIMIT: Duration = Duration::from_secs(10);

/// QEMU on this machine.
#[derive(Debug, Clone)]
pub struct Qemu {
    /// `qemu-system-x86_64`.
    pub program: PathBuf,
    /// `vhost-device-vsock`.
    pub vsock_program: PathBuf,
    /// How the guest's instructions are run.
    pub acceleration: Acceleration,
}

/// How a guest's instructions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceleration {
    /// By the processor. Only where [`crate::probe::KvmState`] says that KVM is a real one.
    Kvm,
    /// By QEMU itself, some ten times slower.
    Emulated,
}

impl Qemu {
    fn confinement(&self, spec: &MachineSpec) -> Confinement {
        let stated = Confinement::default().with("QEMU's system call filter");
        let stated = match spec.site.owner {
            Some(owner) => stated.with(format!("own user {}", owner.user)),
            None => stated.without("own user: only root can give one"),
        };
        let stated = stated.without("own root folder: QEMU has no jailer");
        match self.acceleration {
            Acceleration::Kvm => stated,
            Acceleration::Emulated => {
                stated.without("hardware boundary: QEMU emulates the processor, and its code is the boundary")
            }
        }
    }

    /// The vsock's process; it ends with `life`, which QEMU will hold.
    async fn start_vsock(
        &self,
        spec: &MachineSpec,
        room: &Room,
        console: &Console,
        life: &Lifeline,
        noted: &mut Noted<'_>,
    ) -> Result<Process, VmmError> {
        let watched = || VmmError::prepare("watch the machine's folder");
        let appearance = Appearance::begin(room.folder()).map_err(watched())?;
        let cid = spec.vsock_cid.to_string();
        let arguments = ["--guest-cid", &cid, "--socket", VHOST_SOCKET, "--uds-path", SOCKET];
        let process = Launch {
            program: &self.vsock_program,
            arguments: arguments.map(str::to_owned).into(),
            site: &spec.site,
            room,
            becomes: spec.site.owner,
            groups: Vec::new(),
            output: console.as_output(),
            held: None,
            ends_with: Some(life.life.as_fd()),
        }
        .start(|process| {
            noted(&note_of(NAME, room, None, Some(process), &self.confinement(spec)))
                .map_err(VmmError::prepare("note a machine"))
        })?;
        let name = process.name.clone();
        let there = tokio::select! {
            biased;
            there = tokio::time::timeout(VSOCK_LIMIT, appearance.of(VHOST_SOCKET)) => match there {
                Ok(there) => there.map_err(watched()),
                Err(_) => Err(VmmError::TooSlow {
                    program: name,
                    until: "its socket",
                    limit: VSOCK_LIMIT,
                    words: console.words(),
                }),
            },
            ended = process.ended() => Err(match ended {
                Ok(()) => VmmError::Ended {
                    program: name,
                    during: "its socket was waited for",
                    words: console.words(),
                },
                Err(error) => watched()(error),
            }),
        };
        match there {
            Ok(()) => Ok(process),
            Err(error) => {
                process.end().map_err(VmmError::prepare("end a process that failed to start"))?;
                Err(error)
            }
        }
    }
}

#[async_trait]
impl Vmm for Qemu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn overhead(&self) -> Mib {
        match self.acceleration {
            Acceleration::Kvm => OVERHEAD,
            Acceleration::Emulated => Mib(OVERHEAD.0 + 2 * TRANSLATED.0),
        }
    }

    async fn start(&self, spec: &MachineSpec, noted: &mut Noted<'_>) -> Result<Started, VmmError> {
        spec.check()?;
        let arguments = qemu_arguments::of(spec, self.acceleration)?;
        let mut room = Room::make(&spec.site, ROOM.as_ref())?;
        room.place("kernel", &spec.kernel, true)?;
        room.place("initramfs", &spec.initramfs, true)?;
        place_drives(&mut room, &spec.drives)?;
        let owner = spec.site.owner.map(|owner| (owner.user, owner.group));
        let knock = KnockListener::open(room.folder(), owner)?;
        let console = Console::new().map_err(VmmError::prepare("make a machine's console"))?;
        let confinement = self.confinement(spec);
        // The vsock's process ends with QEMU, which holds the other end of this one; until there is a QEMU, we do.
        let vsock_life = Lifeline::new()?;
        let vsock = self.start_vsock(spec, &room, &console, &vsock_life, noted).await?;
        let lifeline = match spec.site.life {
            Life::WithOwner => Some(Lifeline::new()?),
            Life::Lasting => None,
        };
        let started = Launch {
            program: &self.program,
            arguments,
            site: &spec.site,
            room: &room,
            becomes: spec.site.owner,
            groups: kvm_group(spec.site.owner.filter(|_| self.acceleration == Acceleration::Kvm)),
            output: console.as_output(),
            held: Some(vsock_life.holder.as_fd()),
            ends_with: lifeline.as_ref().map(|lifeline| lifeline.life.as_fd()),
        }
        .start(|process| {
            noted(&note_of(NAME, &room, Some(process), Some(&vsock), &confinement))
                .map_err(VmmError::prepare("note a machine"))
        });
        room.keep();
        let (process, started) = match started {
            Ok(process) => (Some(process), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let holder = lifeline.map(|lifeline| lifeline.holder);
        let vsock_process = Some(vsock);
        let machine =
            Machine { vmm: NAME, has_api: false, process, vsock_process, room, console, confinement, holder };
        or_end(machine, started).map(|(machine, ())| Started { machine, knock })
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }
}
