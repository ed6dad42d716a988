//! A machine in a record: what is needed to find it again, or to end what is left of it.

use std::path::PathBuf;

use agentkernel_sys::process::ProcessIdentity;
use serde::{Deserialize, Serialize};

use super::Confinement;

/// What is noted of a machine, before its first instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineNote {
    /// Which VMM it has.
    pub vmm: String,
    /// The folder that its VMM works in.
    pub room: PathBuf,
    /// The folder that goes with it: the room, or one above it.
    pub top: PathBuf,
    /// The VMM's process.
    pub process: Option<ProcessNote>,
    /// The process that a VMM leaves its vsock to.
    pub vsock_process: Option<ProcessNote>,
    /// What holds the VMM.
    pub confinement: Confinement,
}

/// A process in a record; its number alone would be another's one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessNote {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks after boot.
    pub start_ticks: u64,
    /// Which boot.
    pub boot_id: String,
}

impl From<&ProcessIdentity> for ProcessNote {
    fn from(identity: &ProcessIdentity) -> Self {
        let ProcessIdentity { pid, start_ticks, boot_id } = identity.clone();
        Self { pid, start_ticks, boot_id }
    }
}

impl From<&ProcessNote> for ProcessIdentity {
    fn from(note: &ProcessNote) -> Self {
        let ProcessNote { pid, start_ticks, boot_id } = note.clone();
        Self { pid, start_ticks, boot_id }
    }
}
