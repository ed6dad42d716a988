//! Firecracker: one process, told what to be over its API socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkernel_model::Mib;
use async_trait::async_trait;

use super::appearance::Appearance;
use super::console::Console;
use super::launch::{Launch, Lifeline};
use super::machine::note_of;
use super::room::Room;
use super::{
    Confinement, Drive, Life, Machine, MachineSpec, Noted, Site, Snapshots, Started, Vmm, VmmError, jail,
};
use crate::api::{
    self, Action, ApiError, Balloon, BootSource, Client, FIRST_WITH_REPORTING, MachineConfig,
    NetworkInterface, Version, Vsock,
};
use crate::vsock::{KnockListener, SOCKET};

pub(super) const NAME: &str = "firecracker";
/// Its API socket, in its room.
pub(super) const API_SOCKET: &str = "api.sock";
/// The room where there is no jailer.
const ROOM: &str = "machine";
/// There is no PCI bus in its machines, and a kernel that looks for one takes its time.
const NO_PCI: &str = "pci=off";
/// How long a request may take; most take a millisecond, and the way to the first 2 ms, or on a loaded machine with a
/// jailer some hundred.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Between bind(2), which makes the socket appear, and listen(2), which makes no sign, lie some microseconds.
const LISTEN_PAUSE: Duration = Duration::from_micros(200);
/// From a process's last word to its end.
const ENDING_LIMIT: Duration = Duration::from_millis(100);
/// Some 5 MiB are its own; the rest is for what the kernel keeps for it, and pages of files that it is reading.
const OVERHEAD: Mib = Mib(64);
/// The interface's id, and its name in a snapshot.
pub(super) const INTERFACE: &str = "eth0";

/// Firecracker on this machine.
#[derive(Debug, Clone)]
pub struct Firecracker {
    /// The program.
    pub program: PathBuf,
    /// Its jailer, of the same release. Used as root; only root can.
    pub jailer: Option<PathBuf>,
    /// How long one request may take, and the way from the process's start to its first answer.
    pub request_limit: Duration,
}

/// A Firecracker that answers and is nothing yet.
pub(super) struct Bare {
    pub(super) machine: Machine,
    pub(super) api: Client,
    pub(super) version: Version,
}

impl Firecracker {
    /// With its jailer, where one is.
    pub fn new(program: PathBuf, jailer: Option<PathBuf>) -> Self {
        Self { program, jailer, request_limit: REQUEST_LIMIT }
    }

    fn jailer_for(&self, site: &Site) -> Option<(&Path, super::Owner)> {
        self.jailer.as_deref().zip(site.owner)
    }

    /// What will hold a VMM of `site`.
    fn confinement(&self, site: &Site) -> Confinement {
        let stated = Confinement::default().with("Firecracker's system call filters");
        match (self.jailer_for(site), site.owner) {
            (Some((_, owner)), _) => {
                stated.with("jailer: own root folder and devices").with(format!("own user {}", owner.user))
            }
            (None, Some(owner)) => stated
                .with(format!("own user {}", owner.user))
                .without("own root folder and devices: the jailer is missing; run `agentkernel setup`"),
            (None, None) => stated.without("own user, root folder and devices: only root can use the jailer"),
        }
    }

    pub(super) fn make_room(&self, site: &Site) -> Result<Room, VmmError> {
        let below = match self.jailer_for(site) {
            Some(_) => jail::room_of(&self.program, site)?,
            None => ROOM.into(),
        };
        Room::make(site, &below)
    }

    /// Starts the process in its room and waits until its API answers with a version that serves.
    pub(super) async fn launch(
        &self,
        site: &Site,
        mut room: Room,
        noted: &mut Noted<'_>,
    ) -> Result<Bare, VmmError> {
        let watched = VmmError::prepare("watch the machine's folder");
        let appearance = Appearance::begin(room.folder()).map_err(watched)?;
        let console = Console::new().map_err(VmmError::prepare("make a machine's console"))?;
        let lifeline = match site.life {
            Life::WithOwner => Some(Lifeline::new()?),
            Life::Lasting => None,
        };
        let confinement = self.confinement(site);
        let (program, arguments, becomes) = self.command(site)?;
        let process = Launch {
            program,
            arguments,
            site,
            room: &room,
            becomes,
            groups: kvm_group(becomes),
            output: console.as_output(),
            held: None,
            ends_with: lifeline_end(lifeline.as_ref()),
        }
        .start(|process| {
            noted(&note_of(NAME, &room, Some(process), None, &confinement))
                .map_err(VmmError::prepare("note a machine"))
        })?;
        room.keep();
        let machine = Machine {
            vmm: NAME,
            has_api: true,
            process: Some(process),
            vsock_process: None,
            room,
            console,
            confinement,
            holder: lifeline.map(|lifeline| lifeline.holder),
        };
        let reached = self.reach(&machine, &appearance).await;
        or_end(machine, reached).map(|(machine, (api, version))| Bare { machine, api, version })
    }

    /// The program to start, its arguments, and who it becomes before it is executed.
    fn command(&self, site: &Site) -> Result<(&Path, Vec<String>, Option<super::Owner>), VmmError> {
        let own = ["--api-sock", API_SOCKET, "--level", "Warning"].map(str::to_owned);
        Ok(match self.jailer_for(site) {
            Some((jailer, owner)) => {
                let arguments = jail::arguments(&self.program, site, owner)?;
                (jailer, arguments.into_iter().chain(own).collect(), None)
            }
            None => {
                let id = ["--id".to_owned(), site.id.clone()];
                (&self.program, id.into_iter().chain(own).collect(), site.owner)
            }
        })
    }

    async fn reach(&self, machine: &Machine, appearance: &Appearance) -> Result<(Client, Version), VmmError> {
        let client = Client::new(machine.room.path(), API_SOCKET)
            .map_err(VmmError::prepare("open the machine's folder"))?
            .with_limit(self.request_limit);
        let answers = async {
            appearance.of(API_SOCKET).await.map_err(VmmError::prepare("watch the machine's folder"))?;
            first_answer(&client).await
        };
        let (during, limit) = ("its API was waited for", self.request_limit);
        match machine.unless_ended(during, tokio::time::timeout(limit, answers)).await? {
            Ok(Ok(version)) => Ok((client, version)),
            Ok(Err(error)) => Err(blame(machine, during, error).await),
            Err(_) => Err(VmmError::TooSlow {
                program: NAME.to_owned(),
                until: "its API",
                limit,
                words: machine.last_words(),
            }),
        }
    }
}

fn lifeline_end(lifeline: Option<&Lifeline>) -> Option<std::os::fd::BorrowedFd<'_>> {
    lifeline.map(|lifeline| std::os::fd::AsFd::as_fd(&lifeline.life))
}

/// The group that may open /dev/kvm, which a user of its own needs to be in.
pub(super) fn kvm_group(becomes: Option<super::Owner>) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let group = |_| std::fs::metadata("/dev/kvm").ok().map(|meta| meta.gid()).filter(|group| *group != 0);
    becomes.and_then(group).into_iter().collect()
}

/// The version; waits out the moment between the socket's appearance and its first listener, within the caller's limit.
async fn first_answer(client: &Client) -> Result<Version, VmmError> {
    loop {
        match client.version().await {
            Err(ApiError::Unreachable { source, .. })
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                // sleep: listen(2) follows bind(2) at once and makes no sign that could be waited for.
                tokio::time::sleep(LISTEN_PAUSE).await;
            }
            answered => return answered.map_err(VmmError::from),
        }
    }
}

/// A broken connection to a process that has ended is that end. One that is ending closes its sockets first, and its end
/// follows within the moment.
pub(super) async fn blame(machine: &Machine, during: &'static str, error: VmmError) -> VmmError {
    let broken = matches!(&error, VmmError::Api(ApiError::Broken { .. } | ApiError::Unreachable { .. }));
    match broken && tokio::time::timeout(ENDING_LIMIT, machine.ended()).await.is_ok() {
        true => machine.has_ended(during),
        false => error,
    }
}

/// Ends a machine that could not be finished.
pub(super) fn or_end<Done>(
    machine: Machine,
    done: Result<Done, VmmError>,
) -> Result<(Machine, Done), VmmError> {
    match done {
        Ok(done) => Ok((machine, done)),
        Err(error) => {
            machine.end().map_err(VmmError::prepare("end a machine that failed to start"))?;
            Err(error)
        }
    }
}

pub(super) fn drive_name(index: usize) -> String {
    format!("drive{index}")
}

/// Gives a room the machine's drives.
pub(super) fn place_drives(room: &mut Room, drives: &[Drive]) -> Result<(), VmmError> {
    drives
        .iter()
        .enumerate()
        .try_for_each(|(index, drive)| room.place(&drive_name(index), &drive.path, drive.read_only))
}

async fn tell(api: &Client, version: Version, spec: &MachineSpec) -> Result<(), ApiError> {
    api.put_machine_config(&MachineConfig {
        vcpu_count: spec.vcpus,
        mem_size_mib: spec.memory.0,
        smt: false,
        track_dirty_pages: false,
        huge_pages: None,
    })
    .await?;
    api.put_boot_source(&BootSource {
        kernel_image_path: "kernel".to_owned(),
        initrd_path: Some("initramfs".to_owned()),
        boot_args: Some(format!("{} {NO_PCI}", spec.kernel_arguments)),
    })
    .await?;
    for (index, drive) in spec.drives.iter().enumerate() {
        api.put_drive(&api::Drive {
            drive_id: drive_name(index),
            path_on_host: drive_name(index),
            is_root_device: false,
            is_read_only: drive.read_only,
            cache_type: (!drive.read_only).then_some(api::CacheType::Writeback),
            io_engine: None,
            rate_limiter: drive.rate,
        })
        .await?;
    }
    if let Some(network) = &spec.network {
        api.put_network_interface(&NetworkInterface {
            iface_id: INTERFACE.to_owned(),
            host_dev_name: network.tap.clone(),
            guest_mac: Some(network.mac_text()),
            rx_rate_limiter: network.receive_rate,
            tx_rate_limiter: network.send_rate,
        })
        .await?;
    }
    api.put_vsock(&Vsock { guest_cid: spec.vsock_cid, uds_path: SOCKET.to_owned() }).await?;
    api.put_entropy(&api::Entropy::default()).await?;
    // Only for what the guest gives back by itself: nobody is there to blow it up.
    if spec.balloon && version >= FIRST_WITH_REPORTING {
        api.put_balloon(&Balloon {
            amount_mib: 0,
            deflate_on_oom: true,
            stats_polling_interval_s: 0,
            free_page_reporting: Some(true),
        })
        .await?;
    }
    api.put_action(&Action::InstanceStart).await
}

#[async_trait]
impl Vmm for Firecracker {
    fn name(&self) -> &'static str {
        NAME
    }

    fn overhead(&self) -> Mib {
        OVERHEAD
    }

    async fn start(&self, spec: &MachineSpec, noted: &mut Noted<'_>) -> Result<Started, VmmError> {
        spec.check()?;
        let mut room = self.make_room(&spec.site)?;
        room.place("kernel", &spec.kernel, true)?;
        room.place("initramfs", &spec.initramfs, true)?;
        place_drives(&mut room, &spec.drives)?;
        let owner = spec.site.owner.map(|owner| (owner.user, owner.group));
        let knock = KnockListener::open(room.folder(), owner)?;
        let Bare { machine, api, version } = self.launch(&spec.site, room, noted).await?;
        let during = "it was told what to be";
        let told = match machine.unless_ended(during, tell(&api, version, spec)).await {
            Ok(Err(error)) => Err(blame(&machine, during, error.into()).await),
            Ok(Ok(())) => Ok(()),
            Err(error) => Err(error),
        };
        or_end(machine, told).map(|(machine, ())| Started { machine, knock })
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }
}
