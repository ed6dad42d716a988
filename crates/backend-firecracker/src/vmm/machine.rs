//! A machine that runs.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::UnixStream;

use super::console::Console;
use super::firecracker::API_SOCKET;
use super::process::Process;
use super::room::{self, Room};
use super::{Confinement, MachineNote, VmmError};
use crate::api::Client;
use crate::vsock::{self, VsockError};

/// A machine of this process, or one that was found again. Dropped, it ends where it was to live with its owner, and lives
/// on where it was to last.
#[derive(Debug)]
pub struct Machine {
    pub(super) vmm: &'static str,
    pub(super) has_api: bool,
    pub(super) process: Option<Process>,
    pub(super) vsock_process: Option<Process>,
    pub(super) room: Room,
    pub(super) console: Console,
    pub(super) confinement: Confinement,
    /// Its life, where that is its owner's.
    pub(super) holder: Option<OwnedFd>,
}

impl Machine {
    /// The machine of a note, if it lives; with `holder`, what another owner gave away, it is ours from here on.
    ///
    /// # Errors
    /// What looking at processes gives.
    pub fn find(note: &MachineNote, holder: Option<OwnedFd>) -> io::Result<Option<Self>> {
        let find = |name: &str, note: Option<&super::ProcessNote>| {
            note.map_or(Ok(None), |note| Process::find(name, note))
        };
        let Some(process) = find(&note.vmm, note.process.as_ref())? else { return Ok(None) };
        let console = Console::of(process.pid())?;
        Ok(Some(Self {
            vmm: if note.vmm == super::firecracker::NAME {
                super::firecracker::NAME
            } else {
                super::qemu::NAME
            },
            has_api: note.vmm == super::firecracker::NAME,
            vsock_process: find("vhost-device-vsock", note.vsock_process.as_ref())?,
            process: Some(process),
            room: Room::found(&note.room, &note.top)?,
            console,
            confinement: note.confinement.clone(),
            holder,
        }))
    }

    /// Ends what is left of the machine of a note, processes and folder; fine if nothing is.
    ///
    /// # Errors
    /// What ending processes and removing files gives.
    pub fn end_noted(note: &MachineNote) -> io::Result<()> {
        for process in [&note.process, &note.vsock_process].into_iter().flatten() {
            if let Some(found) = Process::find(&note.vmm, process)? {
                found.end()?;
            }
        }
        room::clear(&note.top)
    }

    /// What finds it again.
    pub fn note(&self) -> MachineNote {
        note_of(self.vmm, &self.room, self.process.as_ref(), self.vsock_process.as_ref(), &self.confinement)
    }

    /// What holds its VMM.
    pub fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Connects to a port of the guest.
    ///
    /// # Errors
    /// See [`VsockError`].
    pub async fn connect(&self, port: u32, limit: Duration) -> Result<UnixStream, VsockError> {
        vsock::connect(self.room.folder(), port, limit).await
    }

    /// The folder that its VMM works in: sockets for ports of the host belong here.
    pub fn folder(&self) -> &OwnedFd {
        self.room.folder()
    }

    /// Firecracker's API, for what goes beyond the seam: balloon, limits. `None` for other VMMs.
    ///
    /// # Errors
    /// What opening its folder gives.
    pub fn api(&self) -> io::Result<Option<Client>> {
        self.has_api.then(|| Client::new(self.room.path(), API_SOCKET)).transpose()
    }

    /// All that its console said, at most [`super::CONSOLE_BYTES`]: the guest's words, hostile.
    ///
    /// # Errors
    /// What reading gives.
    pub fn console(&self) -> io::Result<Vec<u8>> {
        self.console.bytes()
    }

    /// The last words of the console on one line, printable and bounded, for an error.
    pub fn last_words(&self) -> String {
        self.console.words()
    }

    /// Returns when the machine has ended, by itself or by whomever.
    ///
    /// # Errors
    /// What watching a process gives.
    pub async fn ended(&self) -> io::Result<()> {
        match &self.process {
            Some(process) => process.ended().await,
            None => Ok(()),
        }
    }

    /// Whether its VMM has not ended yet.
    pub fn lives(&self) -> bool {
        self.process.as_ref().is_some_and(Process::lives)
    }

    /// `wanted`, unless the machine ends first.
    pub(super) async fn unless_ended<Done>(
        &self,
        during: &'static str,
        wanted: impl Future<Output = Done>,
    ) -> Result<Done, VmmError> {
        tokio::select! {
            biased;
            done = wanted => Ok(done),
            ended = self.ended() => {
                ended.map_err(VmmError::prepare("watch a machine"))?;
                Err(self.has_ended(during))
            }
        }
    }

    pub(super) fn has_ended(&self, during: &'static str) -> VmmError {
        VmmError::Ended { program: self.vmm.to_owned(), during, words: self.last_words() }
    }

    /// Ends it now and waits until that is so: processes, sockets, folder. Fine if it has ended.
    ///
    /// # Errors
    /// What ending processes and removing files gives.
    pub fn end(mut self) -> io::Result<()> {
        self.end_all()
    }

    fn end_all(&mut self) -> io::Result<()> {
        // The VMM first: without it nobody is behind the vsock.
        for process in [self.process.take(), self.vsock_process.take()].into_iter().flatten() {
            process.end()?;
        }
        self.holder = None;
        self.room.clear()
    }

    /// Gives it to another process, which makes it its own by [`Machine::find`] with the note and the descriptor; only
    /// this one, which has to send it away (closing it ends the machine), is left here.
    pub fn give_away(mut self) -> (MachineNote, Option<OwnedFd>) {
        let note = self.note();
        let holder = self.holder.take();
        (note, holder)
    }
}

pub(super) fn note_of(
    vmm: &str,
    room: &Room,
    process: Option<&Process>,
    vsock_process: Option<&Process>,
    confinement: &Confinement,
) -> MachineNote {
    MachineNote {
        vmm: vmm.to_owned(),
        room: room.path().to_owned(),
        top: room.top().to_owned(),
        process: process.map(Process::note),
        vsock_process: vsock_process.map(Process::note),
        confinement: confinement.clone(),
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.holder.is_some() {
            if let Err(error) = self.end_all() {
                tracing::warn!(%error, "a machine that was dropped could not be ended; recovery will");
            }
            return;
        }
        for process in [self.process.take(), self.vsock_process.take()].into_iter().flatten() {
            process.leave();
        }
    }
}
