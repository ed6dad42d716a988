//! What a VMM is to the backend.

use std::io;
use std::time::Duration;

use agentkernel_model::Mib;
use async_trait::async_trait;

use super::{Machine, MachineNote, MachineSpec, RestoreSpec, SnapshotFiles, VmmError};
use crate::vsock::{Knock, KnockListener, VsockError};

/// Called with what finds a machine again, each time before a process of it runs: a lasting machine is in its record
/// before it is anywhere else. An error stops the start.
pub type Noted<'a> = dyn FnMut(&MachineNote) -> io::Result<()> + Send + 'a;

/// A kind of virtual machine monitor.
#[async_trait]
pub trait Vmm: Send + Sync {
    /// `firecracker` or `qemu`.
    fn name(&self) -> &'static str;

    /// What its processes need beside the guest's memory, at the most: the limit of a machine's group on its host.
    fn overhead(&self) -> Mib;

    /// Starts a machine; its agent will knock. Where that fails, nothing of it is left. Must be called within a tokio
    /// runtime.
    async fn start(&self, spec: &MachineSpec, noted: &mut Noted<'_>) -> Result<Started, VmmError>;

    /// Pause, resume, snapshot and restore, where it can.
    fn snapshots(&self) -> Option<&dyn Snapshots>;
}

/// A VMM that can stop time.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// What tells this VMM's program from any other on this machine.
    ///
    /// # Errors
    /// What looking at it gives.
    fn program_stamp(&self) -> io::Result<String>;

    /// Its version, as it says itself.
    ///
    /// # Errors
    /// [`VmmError::NoProgram`] where it doesn't say.
    async fn version(&self) -> Result<String, VmmError>;

    /// The guest stands still.
    async fn pause(&self, machine: &Machine) -> Result<(), VmmError>;

    /// It goes on.
    async fn resume(&self, machine: &Machine) -> Result<(), VmmError>;

    /// Writes a paused machine's state and memory into its folder; the caller moves them to where they shall be.
    async fn take(&self, machine: &Machine) -> Result<SnapshotFiles, VmmError>;

    /// A machine that goes on from a snapshot. Its agent is there already and will not knock. Where it fails, nothing of the
    /// machine is left.
    async fn restore(&self, spec: &RestoreSpec, noted: &mut Noted<'_>) -> Result<Machine, VmmError>;
}

/// A machine that boots.
#[derive(Debug)]
pub struct Started {
    /// The machine.
    pub machine: Machine,
    /// What its agent will knock at.
    pub knock: KnockListener,
}

impl Started {
    /// Waits until the agent has knocked. Fails at once when the machine ends before, with its last words.
    ///
    /// # Errors
    /// [`VmmError::Ended`], [`VmmError::TooSlow`], or the [`VmmError::Vsock`] of a wrong knock; the machine is ended then.
    pub async fn ready(self, limit: Duration) -> Result<(Machine, Knock), VmmError> {
        let Self { machine, knock } = self;
        let heard = match machine.unless_ended("the guest booted", knock.heard(limit)).await {
            Ok(Ok(knock)) => return Ok((machine, knock)),
            Ok(Err(VsockError::TooSlow { .. })) => VmmError::TooSlow {
                program: machine.vmm.to_owned(),
                until: "the agent's knock",
                limit,
                words: machine.last_words(),
            },
            Ok(Err(error)) => error.into(),
            Err(error) => error,
        };
        machine.end().map_err(VmmError::prepare("end a machine that did not boot"))?;
        Err(heard)
    }
}
