//! What a virtual machine is told before it is a box, over the first stream that the host opens to it: the agent asks, the
//! host sends one [`MachineSetup`], the agent answers how that went. On the same stream the ordinary gate follows (see
//! [`crate::needs_setup`]), then frames; on every later one the ordinary gate comes first.
//!
//! A machine that is restored from a snapshot was saved before this: nothing of what is said here is in two machines.

use std::io;

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::gate::{MAX_PART, part, state, write_part};
use crate::{GateError, decode, encode};

/// The vsock port that the agent of a machine listens on.
pub const AGENT_PORT: u32 = 1024;

/// The vsock port of the host that the agent connects to once, when it listens: the knock.
pub const KNOCK_PORT: u32 = 1025;

/// How what the agent says when it knocks begins; its version and a line's end follow. Whoever else is in a machine may
/// say the same: a knock is a hint that it's worth connecting, and nothing more.
pub const KNOCK: &str = "agentkernel-agent ";

/// The longest knock in bytes, with its line's end: more need not be read.
pub const MAX_KNOCK: usize = 64;

/// The most bytes of an encoded [`MachineSetup`].
pub const MAX_MACHINE_SETUP: usize = MAX_PART;

/// The least bytes of [`MachineSetup::entropy`]: 256 bits, what the kernel's generator is seeded with.
pub const LEAST_ENTROPY: usize = 32;

/// The agent waits for its machine's set-up.
const NEEDS_MACHINE: u8 = b'M';

/// All that makes a machine one particular box.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MachineSetup {
    /// Its host name.
    #[n(0)]
    pub hostname: String,
    /// Its root.
    #[n(1)]
    pub root: Root,
    /// Its network; the loopback is there in any case.
    #[n(2)]
    pub network: Option<Network>,
    /// Files that are put into the root at each start.
    #[n(3)]
    pub files: Vec<GivenFile>,
    /// For `/etc/machine-id` (machine-id(5)).
    #[n(4)]
    pub machine_id: ByteArray<16>,
    /// For the kernel's random generator; at least [`LEAST_ENTROPY`] bytes that nobody else has.
    #[n(5)]
    pub entropy: ByteVec,
    /// Nanoseconds since 1970, for the machine's clock; missing where it is right.
    #[n(6)]
    pub wall_clock_ns: Option<u64>,
    /// What all processes of the box may use together.
    #[n(7)]
    pub limits: Limits,
    /// The size of a `/tmp` in memory; missing where `/tmp` is part of the root.
    #[n(8)]
    pub tmp_bytes: Option<u64>,
    /// Where commands start; absolute, made where it is missing.
    #[n(9)]
    pub workdir: ByteVec,
    /// Folders of the host.
    #[n(10)]
    pub mounts: Vec<LiveMount>,
    /// The machine powers off when this first stream ends.
    #[n(11)]
    pub exit_with_stream: bool,
    /// The capabilities that the agent keeps, as a mask (capabilities(7)); its right to power off is kept in any case.
    #[n(12)]
    pub agent_capabilities: u64,
    /// The capabilities that commands may have, as a mask.
    #[n(13)]
    pub command_capabilities: u64,
    /// The most files that any process may have open.
    #[n(14)]
    pub open_files: Option<u64>,
}

/// The root of a machine: an image that is only read, below what the box writes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Root {
    /// The block device of the image, such as `/dev/vda`.
    #[n(0)]
    pub device: String,
    /// The file system on it, such as `erofs`.
    #[n(1)]
    pub file_system: String,
    /// Where writes go.
    #[n(2)]
    pub upper: Upper,
    /// Whether the box can't write its root; `/tmp` and `/dev/shm` it can.
    #[n(3)]
    pub read_only: bool,
}

/// Where writes go.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Upper {
    /// Into memory, at most so many bytes; half of the machine's memory where missing. Gone with the machine.
    #[n(0)]
    Memory {
        /// The most bytes.
        #[n(0)]
        bytes: Option<u64>,
    },
    /// Onto a block device: kept.
    #[n(1)]
    Device {
        /// The device, such as `/dev/vdb`.
        #[n(0)]
        path: String,
        /// The file system on it, such as `ext4`.
        #[n(1)]
        file_system: String,
    },
}

/// The machine's network device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Network {
    /// Its name, such as `eth0`.
    #[n(0)]
    pub interface: String,
    /// Its link address, where it isn't the one that the machine was made with.
    #[n(1)]
    pub mac: Option<ByteArray<6>>,
    /// IPv4.
    #[n(2)]
    pub address: ByteArray<4>,
    /// Bits of the network's part of `address`.
    #[n(3)]
    pub prefix: u8,
    /// The way to everywhere else; need not be in the same network. Where it is missing, the other end of the link is: it has
    /// the same link address, no address is asked for on the link, and everything is sent there.
    #[n(4)]
    pub gateway: Option<ByteArray<4>>,
    /// The longest packet in bytes.
    #[n(5)]
    pub mtu: u32,
    /// IPv6, where there is any.
    #[n(6)]
    pub version_6: Option<NetworkVersion6>,
}

/// The IPv6 part of a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NetworkVersion6 {
    /// The address.
    #[n(0)]
    pub address: ByteArray<16>,
    /// Bits of the network's part of `address`.
    #[n(1)]
    pub prefix: u8,
    /// The way to everywhere else; missing where [`Network::gateway`] is.
    #[n(2)]
    pub gateway: Option<ByteArray<16>>,
}

/// A file of the host's making.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct GivenFile {
    /// Absolute. Folders above it are made; what is there in its place is replaced.
    #[n(0)]
    pub path: ByteVec,
    /// Permission bits.
    #[n(1)]
    pub mode: u32,
    /// All of it.
    #[n(2)]
    pub content: ByteVec,
}

/// What all processes of a box may use together; missing is no limit but the machine's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Limits {
    /// Processes and threads, the agent's own included.
    #[n(0)]
    pub pids: Option<u64>,
    /// Memory.
    #[n(1)]
    pub memory_bytes: Option<u64>,
}

/// A folder or a file of the host that the machine sees as it is. Its kernel's FUSE messages and the answers go over a vsock
/// stream as they are: each says its own length first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LiveMount {
    /// The vsock port of the host where it is served; to one connection only.
    #[n(0)]
    pub port: u32,
    /// Where it is in the box; absolute, made where it is missing.
    #[n(1)]
    pub path: ByteVec,
    /// Whether the box can't write it.
    #[n(2)]
    pub read_only: bool,
    /// What is said first on the connection: nobody else in the machine knows it.
    #[n(3)]
    pub token: ByteArray<32>,
    /// Whether it is one regular file, and no folder.
    #[n(4)]
    pub is_file: bool,
}

/// What is new in a machine that goes on after its time stood still.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Renewal {
    /// Nanoseconds since 1970, for the machine's clock; missing where it is right.
    #[n(0)]
    pub wall_clock_ns: Option<u64>,
    /// There where the machine was copied, and goes on as another box.
    #[n(1)]
    pub identity: Option<NewIdentity>,
}

/// What a copy of a machine must not have in common with it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewIdentity {
    /// See [`MachineSetup::hostname`].
    #[n(0)]
    pub hostname: String,
    /// See [`MachineSetup::machine_id`].
    #[n(1)]
    pub machine_id: ByteArray<16>,
    /// See [`MachineSetup::entropy`].
    #[n(2)]
    pub entropy: ByteVec,
    /// See [`MachineSetup::files`].
    #[n(3)]
    pub files: Vec<GivenFile>,
    /// In place of the one that it had; there if and only if it had one.
    #[n(4)]
    pub network: Option<Network>,
}

/// The host's side: whether the machine waits for its set-up, to be sent with [`send_machine_setup`]; else it is set up and
/// serves, and frames follow.
pub async fn needs_machine_setup<S: AsyncRead + Unpin>(stream: &mut S) -> Result<bool, GateError> {
    match state(stream).await? {
        crate::gate::READY => Ok(false),
        NEEDS_MACHINE => Ok(true),
        byte => Err(GateError::Unknown { byte }),
    }
}

/// The host's side: returns once the machine is set up; the ordinary gate follows on `stream`.
pub async fn send_machine_setup<S>(stream: &mut S, setup: &MachineSetup) -> Result<(), GateError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut message = Vec::new();
    write_part(&encode(setup), &mut message)?;
    stream.write_all(&message).await?;
    stream.flush().await?;
    match needs_machine_setup(stream).await? {
        false => Ok(()),
        true => Err(GateError::Unknown { byte: NEEDS_MACHINE }),
    }
}

/// The agent's side: what the host wants this machine to be. To be answered by [`crate::say_ready`] or
/// [`crate::say_failed`]. Errors: [`io::ErrorKind::InvalidData`] where it is not a set-up; else the stream has ended.
pub async fn ask_machine_setup<S>(stream: &mut S) -> io::Result<MachineSetup>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&[NEEDS_MACHINE]).await?;
    stream.flush().await?;
    let bytes = part(stream).await?;
    decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::{Setup, ask_setup, needs_setup, say_failed, say_ready, send_setup};

    fn setup() -> MachineSetup {
        MachineSetup {
            hostname: "box".into(),
            root: Root {
                device: "/dev/vda".into(),
                file_system: "erofs".into(),
                upper: Upper::Memory { bytes: None },
                read_only: false,
            },
            network: None,
            files: Vec::new(),
            machine_id: [7; 16].into(),
            entropy: vec![1; 32].into(),
            wall_clock_ns: Some(1),
            limits: Limits::default(),
            tmp_bytes: None,
            workdir: b"/".to_vec().into(),
            mounts: Vec::new(),
            exit_with_stream: true,
            agent_capabilities: 1,
            command_capabilities: 2,
            open_files: None,
        }
    }

    #[tokio::test]
    async fn both_gates_are_passed_on_one_stream() {
        let (mut host, mut agent) = tokio::io::duplex(64);
        let agent = async {
            let machine = ask_machine_setup(&mut agent).await.unwrap();
            say_ready(&mut agent).await.unwrap();
            let ordinary = ask_setup(&mut agent).await.unwrap();
            say_ready(&mut agent).await.unwrap();
            (machine, ordinary)
        };
        let host = async {
            assert!(needs_machine_setup(&mut host).await.unwrap());
            send_machine_setup(&mut host, &setup()).await.unwrap();
            assert!(needs_setup(&mut host).await.unwrap());
            send_setup(&mut host, &Setup::default()).await.unwrap();
        };
        let ((), got) = tokio::join!(host, agent);
        assert_eq!(got, (setup(), Setup::default()));
    }

    #[tokio::test]
    async fn a_failed_set_up_is_told() {
        let (mut host, mut agent) = tokio::io::duplex(64);
        let agent = async {
            ask_machine_setup(&mut agent).await.unwrap();
            say_failed(&mut agent, "the kernel lacks erofs").await.unwrap();
        };
        let host = async {
            assert!(needs_machine_setup(&mut host).await.unwrap());
            send_machine_setup(&mut host, &setup()).await.unwrap_err().to_string()
        };
        let (why, ()) = tokio::join!(host, agent);
        assert!(why.contains("the kernel lacks erofs"), "{why}");
    }

    #[tokio::test]
    async fn a_machine_that_serves_is_sent_nothing() {
        let (mut host, mut agent) = tokio::io::duplex(64);
        say_ready(&mut agent).await.unwrap();
        assert!(!needs_machine_setup(&mut host).await.unwrap());
        agent.write_all(b"S").await.unwrap();
        assert!(matches!(needs_machine_setup(&mut host).await, Err(GateError::Unknown { byte: b'S' })));
    }

    #[tokio::test]
    async fn what_is_no_set_up_is_refused_and_a_claimed_length_allocates_nothing() {
        let (mut host, mut agent) = tokio::io::duplex(64);
        host.write_all(&[3, 0, 0, 0, 1, 2, 3]).await.unwrap();
        let error = ask_machine_setup(&mut agent).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        host.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
        let error = ask_machine_setup(&mut agent).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(host.read_u8().await.unwrap(), NEEDS_MACHINE);
    }

    #[tokio::test]
    async fn a_set_up_that_is_too_long_is_not_sent() {
        let (mut host, mut agent) = tokio::io::duplex(64);
        let content = vec![0; MAX_MACHINE_SETUP].into();
        let file = GivenFile { path: b"/f".to_vec().into(), mode: 0o644, content };
        let long = MachineSetup { files: vec![file], ..setup() };
        assert!(matches!(send_machine_setup(&mut host, &long).await, Err(GateError::Stream { .. })));
        drop(host);
        assert_eq!(agent.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
