//! What a machine is to be.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use agentkernel_model::Mib;

use super::VmmError;
use crate::api::RateLimiter;

/// The first CID that is a guest's (vsock(7)).
const FIRST_GUEST_CID: u32 = 3;
/// What a kernel takes on x86_64 (COMMAND_LINE_SIZE), less what VMMs add for devices.
const LONGEST_ARGUMENTS: usize = 1536;
/// Firecracker's and our own bound.
const MOST_VCPUS: u8 = 32;
/// Drives are /dev/vda and on.
const MOST_DRIVES: usize = 8;
/// A network device's name, without its NUL (netdevice(7), IFNAMSIZ).
const LONGEST_DEVICE_NAME: usize = 15;

/// Where a machine is on its host, and as whom.
#[derive(Debug)]
pub struct Site {
    /// Its name among machines: letters, digits and hyphens, at most 64.
    pub id: String,
    /// A private folder (mode 0700) of its own, with an absolute path without links: all that is made for it is made there.
    pub folder: PathBuf,
    /// Who its processes are. Needed as root, which no VMM may run as; impossible otherwise.
    pub owner: Option<Owner>,
    /// The network namespace that its TAP device is in, where that is not this process's.
    pub network_namespace: Option<OwnedFd>,
    /// The cgroup v2 folder that its VMM is born in.
    pub cgroup_birth: Option<OwnedFd>,
    /// `tasks` files of cgroups of version 1 that it enters.
    pub cgroup_entries: Vec<PathBuf>,
    /// How long it lives.
    pub life: Life,
}

/// An ordinary user of the host that nobody else is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Its number; not 0.
    pub user: u32,
    /// Its group's; not 0.
    pub group: u32,
}

/// How long a machine lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until its [`super::Machine`] is dropped, or this process ends in whatever way.
    WithOwner,
    /// Until it is ended; it outlives this process and is found again by its [`super::MachineNote`].
    Lasting,
}

/// A machine that boots.
#[derive(Debug)]
pub struct MachineSpec {
    /// Where, and as whom.
    pub site: Site,
    /// An uncompressed ELF kernel.
    pub kernel: PathBuf,
    /// Its initial memory file system.
    pub initramfs: PathBuf,
    /// What the kernel is told; the VMM adds its devices.
    pub kernel_arguments: String,
    /// 1 to 32.
    pub vcpus: u8,
    /// Of the guest.
    pub memory: Mib,
    /// `/dev/vda` and on, in this order.
    pub drives: Vec<Drive>,
    /// None is no device at all.
    pub network: Option<Interface>,
    /// The guest's address, 3 or more; all machines may have the same.
    pub vsock_cid: u32,
    /// Whether the guest gives memory back to the host that it has freed, wherever its VMM can take it.
    pub balloon: bool,
}

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// The file: absolute. A read-only one must be readable for the machine's owner, a writable one is given to it.
    pub path: PathBuf,
    /// Whether the guest can't write it.
    pub read_only: bool,
    /// Its limits.
    pub rate: Option<RateLimiter>,
}

/// A network interface of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The host's TAP device, which exists and is the owner's.
    pub tap: String,
    /// The guest's address on it.
    pub mac: [u8; 6],
    /// Limits of what it receives.
    pub receive_rate: Option<RateLimiter>,
    /// Limits of what it sends.
    pub send_rate: Option<RateLimiter>,
}

/// The two files of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFiles {
    /// Of processors and devices.
    pub state: PathBuf,
    /// The memory, as large as the guest's.
    pub memory: PathBuf,
}

/// A machine that goes on from a snapshot.
#[derive(Debug)]
pub struct RestoreSpec {
    /// Where, and as whom.
    pub site: Site,
    /// From what; both are only read, and shared by all machines that come from them.
    pub snapshot: SnapshotFiles,
    /// As many as the snapshot's, in its order. Their limits, and those of the network, are the snapshot's.
    pub drives: Vec<Drive>,
    /// The TAP device in place of the snapshot's; none where it had none.
    pub tap: Option<String>,
    /// Whether it runs at once, or waits for `resume`.
    pub resume: bool,
}

impl Interface {
    /// As `06:00:ac:10:00:02`.
    pub(super) fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

impl Site {
    pub(super) fn check(&self) -> Result<(), VmmError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(plain) {
            return VmmError::invalid(format!("a machine can't have the id `{}`", self.id.escape_debug()));
        }
        check_path(&self.folder)?;
        let root = rustix::process::geteuid().is_root();
        match self.owner {
            None if root => VmmError::invalid("a machine started by root needs a user of its own to run as"),
            Some(_) if !root => VmmError::invalid("only root can start a machine as another user"),
            Some(owner) if owner.user == 0 || owner.group == 0 => {
                VmmError::invalid("a machine can't run as user or group 0")
            }
            _ => self.check_folder(),
        }
    }

    fn check_folder(&self) -> Result<(), VmmError> {
        use std::os::unix::fs::MetadataExt as _;
        let folder = self.folder.display();
        let meta = std::fs::symlink_metadata(&self.folder)
            .map_err(VmmError::prepare(format!("look at the machine's folder {folder}")))?;
        let private = meta.mode() & 0o077 == 0 && meta.uid() == rustix::process::geteuid().as_raw();
        if !meta.is_dir() || !private {
            return VmmError::invalid(format!("{folder} is not a private folder of this user (mode 0700)"));
        }
        Ok(())
    }
}

impl MachineSpec {
    pub(super) fn check(&self) -> Result<(), VmmError> {
        self.site.check()?;
        check_path(&self.kernel)?;
        check_path(&self.initramfs)?;
        check_drives(&self.drives)?;
        self.network.as_ref().map_or(Ok(()), |network| check_tap(&network.tap))?;
        if !(1..=MOST_VCPUS).contains(&self.vcpus) {
            return VmmError::invalid(format!(
                "a machine has 1 to {MOST_VCPUS} processors, not {}",
                self.vcpus
            ));
        }
        if self.memory.0 == 0 {
            return VmmError::invalid("a machine needs memory");
        }
        if self.vsock_cid < FIRST_GUEST_CID || self.vsock_cid == u32::MAX {
            return VmmError::invalid(format!("no machine can have the vsock address {}", self.vsock_cid));
        }
        let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        let arguments = &self.kernel_arguments;
        if arguments.len() > LONGEST_ARGUMENTS || !arguments.bytes().all(printable) {
            return VmmError::invalid(format!(
                "a kernel's arguments are printable and at most {LONGEST_ARGUMENTS} bytes, these are {} bytes: {}",
                arguments.len(),
                crate::api::printable(arguments)
            ));
        }
        Ok(())
    }
}

impl RestoreSpec {
    pub(super) fn check(&self) -> Result<(), VmmError> {
        self.site.check()?;
        check_path(&self.snapshot.state)?;
        check_path(&self.snapshot.memory)?;
        check_drives(&self.drives)?;
        self.tap.as_deref().map_or(Ok(()), check_tap)
    }
}

fn check_drives(drives: &[Drive]) -> Result<(), VmmError> {
    if drives.len() > MOST_DRIVES {
        return VmmError::invalid(format!(
            "a machine has at most {MOST_DRIVES} drives, not {}",
            drives.len()
        ));
    }
    drives.iter().try_for_each(|drive| check_path(&drive.path))
}

fn check_path(path: &Path) -> Result<(), VmmError> {
    match path.is_absolute() {
        true => Ok(()),
        false => VmmError::invalid(format!("{} is not an absolute path", path.display())),
    }
}

fn check_tap(name: &str) -> Result<(), VmmError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_DEVICE_NAME || !name.bytes().all(plain) {
        return VmmError::invalid(format!("no TAP device is called `{}`", name.escape_debug()));
    }
    Ok(())
}
