//! What the cases see of a bed, and a host's side of it.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agentkernel_backend::AgentGuest;
use agentkernel_model::Outcome;
use agentkernel_protocol::machine::{
    Limits, MachineSetup, Root, Upper, needs_machine_setup, send_machine_setup,
};
use agentkernel_protocol::{GateError, Setup, needs_setup, send_setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{image, namespaces, virtual_machine};
use crate::{collect, shell, until};

/// Where machines are made: a folder with an image and an empty disk.
pub(super) struct Bed {
    pub(super) place: tempfile::TempDir,
    pub(super) image: PathBuf,
    pub(super) disk: PathBuf,
    pub(super) kind: Kind,
}

/// How.
pub(super) enum Kind {
    /// Namespaces of this machine, and its loop devices.
    Namespaces { image: namespaces::LoopDevice, disk: namespaces::LoopDevice },
    /// A VMM.
    Virtual(virtual_machine::Programs),
}

/// Those that this machine has; says which it hasn't.
pub(super) fn beds() -> Vec<Bed> {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can make machines here");
        return Vec::new();
    }
    if let Some(program) = image::missing_program() {
        println!("SKIPPED: {program} is needed to make an image");
        return Vec::new();
    }
    let bed = |kind: &dyn Fn(&Path, &Path) -> Kind| {
        let place = tempfile::tempdir().unwrap();
        let (image, disk) = (image::make(place.path()), image::disk(place.path()));
        let kind = kind(&image, &disk);
        Bed { place, image, disk, kind }
    };
    let mut beds = Vec::new();
    if let Some(why) = namespaces::obstacle() {
        println!("SKIPPED: the bed of namespaces: {why}");
    } else {
        beds.push(bed(&|image, disk| Kind::Namespaces {
            image: namespaces::LoopDevice::new(image, true),
            disk: namespaces::LoopDevice::new(disk, false),
        }));
    }
    match virtual_machine::Programs::find() {
        Ok(programs) => beds.push(bed(&|_, _| Kind::Virtual(programs.clone()))),
        Err(why) => println!("SKIPPED: the bed of virtual machines: {why}"),
    }
    beds
}

impl Bed {
    /// A machine that waits for its set-up.
    pub(super) async fn start(&self) -> Machine {
        match &self.kind {
            Kind::Namespaces { .. } => namespaces::start(self.place.path()).await,
            Kind::Virtual(programs) => virtual_machine::start(self, programs).await,
        }
    }

    /// Whether it has a kernel of its own.
    pub(super) fn is_virtual(&self) -> bool {
        matches!(self.kind, Kind::Virtual(_))
    }

    /// The least that a machine can be told.
    pub(super) fn setup(&self) -> MachineSetup {
        let device = match &self.kind {
            Kind::Namespaces { image, .. } => image.path().to_owned(),
            Kind::Virtual(_) => "/dev/vda".to_owned(),
        };
        let upper = Upper::Memory { bytes: Some(32 << 20) };
        let entropy: Vec<u8> = std::iter::repeat_with(rand_byte).take(64).collect();
        MachineSetup {
            hostname: "a-machine".into(),
            root: Root { device, file_system: "erofs".into(), upper, read_only: false },
            network: None,
            files: Vec::new(),
            machine_id: [0xa1; 16].into(),
            entropy: entropy.into(),
            // The clock of namespaces is this machine's own.
            wall_clock_ns: self.is_virtual().then(|| since_1970().as_nanos() as u64),
            limits: Limits::default(),
            tmp_bytes: None,
            workdir: b"/work/here".to_vec().into(),
            mounts: Vec::new(),
            exit_with_stream: false,
            agent_capabilities: u64::MAX,
            // Docker's usual set.
            command_capabilities: 0xa804_25fb,
            open_files: Some(1024),
        }
    }

    /// The disk, as the machine finds it.
    pub(super) fn kept(&self) -> Upper {
        let path = match &self.kind {
            Kind::Namespaces { disk, .. } => disk.path().to_owned(),
            Kind::Virtual(_) => "/dev/vdb".to_owned(),
        };
        Upper::Device { path, file_system: "ext4".into() }
    }
}

fn rand_byte() -> u8 {
    let mut byte = [0];
    rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::empty()).unwrap();
    byte[0]
}

/// Now.
pub(super) fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// A machine, which goes with this.
pub(super) struct Machine {
    /// Of which it is the end that the machine is over.
    pub(super) process: Child,
    /// The other processes of the bed.
    pub(super) aides: Vec<Child>,
    /// What is connected to.
    pub(super) socket: PathBuf,
    /// Whether there is a hybrid vsock behind it.
    pub(super) is_hybrid: bool,
    /// What it says to nobody in particular.
    pub(super) console: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        for process in std::iter::once(&mut self.process).chain(&mut self.aides) {
            // Its own id.
            process.kill().ok();
            process.wait().ok();
        }
    }
}

impl Machine {
    /// A stream to the agent.
    pub(super) async fn connect(&self) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        if self.is_hybrid {
            stream.write_all(b"CONNECT 1024\n").await.unwrap();
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                line.push(stream.read_u8().await.unwrap());
            }
            assert!(line.starts_with(b"OK "), "{}", line.escape_ascii());
        }
        stream
    }

    /// The first stream, up to its first frame.
    pub(super) async fn begin(&self, setup: &MachineSetup) -> Arc<AgentGuest> {
        match self.try_to_begin(setup, &Setup::default()).await {
            Ok(guest) => guest,
            Err(error) => panic!("{error}\n{}", self.console()),
        }
    }

    pub(super) async fn try_to_begin(
        &self,
        machine: &MachineSetup,
        setup: &Setup,
    ) -> Result<Arc<AgentGuest>, GateError> {
        let mut stream = self.connect().await;
        assert!(needs_machine_setup(&mut stream).await?);
        send_machine_setup(&mut stream, machine).await?;
        assert!(needs_setup(&mut stream).await?);
        send_setup(&mut stream, setup).await?;
        Ok(AgentGuest::connect(stream))
    }

    /// A later stream.
    pub(super) async fn again(&self) -> Arc<AgentGuest> {
        let mut stream = self.connect().await;
        assert!(!needs_machine_setup(&mut stream).await.unwrap());
        AgentGuest::connect(stream)
    }

    /// Waits for its end; what it has said on its console.
    pub(super) async fn end(mut self) -> String {
        let process = std::cell::RefCell::new(&mut self.process);
        until("the machine is off", async || process.borrow_mut().try_wait().unwrap().is_some()).await;
        self.console()
    }

    pub(super) fn console(&self) -> String {
        let of = |end: &str| std::fs::read(self.console.with_extension(end)).unwrap_or_default();
        // The VMM's own words as well.
        String::from_utf8_lossy(&[of(""), of("qemu")].concat()).into_owned()
    }
}

/// What a shell script prints; it must succeed.
pub(super) async fn say(guest: &AgentGuest, script: &str) -> String {
    let (outcome, out, err) = run(guest, script).await;
    assert_eq!((outcome, err.as_str()), (Outcome::Exited(0), ""), "{script}: {out}");
    out
}

/// Runs a shell script.
pub(super) async fn run(guest: &AgentGuest, script: &str) -> (Outcome, String, String) {
    use agentkernel_backend::Guest as _;
    let (outcome, out, err) = collect(guest.exec(&shell(script)).await.unwrap()).await;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (outcome, text(out), text(err))
}
