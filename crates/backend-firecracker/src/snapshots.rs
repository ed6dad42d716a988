//! Lasting machines whose time stands still, and copies of running ones.
//!
//! Before a machine stands still, its agent stops the time of its commands, so in each snapshot none of them runs. What goes
//! on in a copy is the guest's kernel and the agent alone, until everything that makes it another box is done; then the
//! agent lets the commands go on.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentkernel_backend::{AgentGuest, BackendError, BoxRecord, Lifetime, Snapshots};
use agentkernel_model::Isolation;
use agentkernel_protocol::machine::{MachineSetup, NewIdentity, Renewal};
use async_trait::async_trait;
use tokio::time::timeout;

use crate::api::{Instance, InstanceState};
use crate::backend::{FirecrackerBackend, NAME, Parts};
use crate::ground::Ground;
use crate::persistent::{self, Folder, step};
use crate::placement::Placement;
use crate::plan::Plan;
use crate::rates::DeviceRates;
use crate::sparse;
use crate::start::{self, make_private, random};
use crate::taken::{self, Taken};
use crate::vmm::{Drive, Life, Machine, MachineNote, RestoreSpec};

/// How long the agent may take to let commands go on, each time it is asked: a stream to a machine that has just been saved
/// or restored may be lost.
const PATIENCE: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)];

/// How long it may take to stop them.
const LONGEST_STOP: Duration = Duration::from_secs(60);

fn unsupported(what: impl Into<String>, fix: impl Into<String>) -> BackendError {
    BackendError::Unsupported { backend: NAME.to_owned(), what: what.into(), fix: fix.into() }
}

/// The VMM's own part of it.
fn of_vmm(parts: &Parts) -> Result<&dyn crate::vmm::Snapshots, BackendError> {
    let found = parts.equipment()?.vmm.snapshots();
    found.ok_or_else(|| unsupported("pausing or copying a machine of QEMU", "use vmm = \"firecracker\""))
}

/// Live folders are served by a process of this host, which no copy of the machine could share.
fn refuse_mounts(record: &BoxRecord) -> Result<(), BackendError> {
    match record.spec.mounts.is_empty() {
        true => Ok(()),
        false => Err(unsupported(
            "a snapshot of a machine with mounted folders",
            "make the sandbox without mounts, and copy files with `agentkernel cp`",
        )),
    }
}

/// What the VMM writes is limited as its own memory where it can't go to a disk, and the machine would end by that.
fn refuse_in_memory(record: &BoxRecord) -> Result<(), BackendError> {
    match sparse::is_in_memory(&record.dir).map_err(step("look at", record))? {
        false => Ok(()),
        true => Err(unsupported(
            format!("a snapshot in {}, which is no disk but memory", record.dir.display()),
            "keep agentkernel's state on a disk",
        )),
    }
}

/// What it says of itself; `None` for a machine of QEMU.
async fn instance(machine: &Machine) -> Result<Option<Instance>, BackendError> {
    const LOOK: &str = "look at a machine";
    let api = machine.api().map_err(|source| BackendError::runtime(LOOK, source))?;
    let Some(api) = api else { return Ok(None) };
    api.instance().await.map(Some).map_err(|source| BackendError::runtime(LOOK, source))
}

/// Whether the machine itself stands still. One of QEMU never does.
pub(crate) async fn stands_still(machine: &Machine) -> Result<bool, BackendError> {
    Ok(instance(machine).await?.is_some_and(|instance| instance.state == InstanceState::Paused))
}

/// Of the VMM that it runs in.
async fn version_of(machine: &Machine) -> Result<String, BackendError> {
    Ok(instance(machine).await?.map(|instance| instance.vmm_version).unwrap_or_default())
}

async fn pause(parts: &Parts, record: &BoxRecord, machine: &Machine) -> Result<(), BackendError> {
    let snapshots = of_vmm(parts)?;
    let limit = parts.longest_silence();
    let stop = async { AgentGuest::connect(start::connect(machine, limit).await?).stand_still().await };
    let late =
        || BackendError::BoxEnded { why: "its agent did not stop the time of its commands".to_owned() };
    timeout(LONGEST_STOP, stop).await.unwrap_or_else(|_| Err(late()))?;
    let Err(error) = snapshots.pause(machine).await else { return Ok(()) };
    if let Err(error) = go_on(machine, &now()).await {
        tracing::warn!(%error, "the commands of a machine that could not be paused stand still; resume it");
    }
    Err(step("pause", record)(error))
}

/// From wherever a pause has come to.
pub(crate) async fn resume(parts: &Parts, record: &BoxRecord, machine: &Machine) -> Result<(), BackendError> {
    if stands_still(machine).await? {
        of_vmm(parts)?.resume(machine).await.map_err(step("resume", record))?;
    }
    go_on(machine, &now()).await
}

/// The same box, later.
fn now() -> Renewal {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall_clock_ns = since.ok().and_then(|since| u64::try_from(since.as_nanos()).ok());
    Renewal { wall_clock_ns, identity: None }
}

/// Has the agent let the commands go on.
async fn go_on(machine: &Machine, renewal: &Renewal) -> Result<(), BackendError> {
    let mut done = Ok(());
    for patience in PATIENCE {
        let going = async {
            let guest = AgentGuest::connect(start::connect(machine, patience).await?);
            // A clock that was read before a lost try would be late.
            guest.go_on(Renewal { wall_clock_ns: now().wall_clock_ns, ..renewal.clone() }).await
        };
        let late = || BackendError::BoxEnded { why: "its agent did not let its commands go on".to_owned() };
        done = timeout(patience, going).await.unwrap_or_else(|_| Err(late()));
        match &done {
            Err(BackendError::BoxEnded { .. }) if machine.lives() => {}
            _ => break,
        }
    }
    done
}

#[async_trait]
impl Snapshots for FirecrackerBackend {
    async fn pause(&self, record: &BoxRecord) -> Result<(), BackendError> {
        let machine = persistent::machine(record)?;
        match stands_still(&machine).await? {
            true => Ok(()),
            false => pause(&*self.parts_of(record)?, record, &machine).await,
        }
    }

    async fn resume(&self, record: &BoxRecord) -> Result<(), BackendError> {
        resume(&*self.parts_of(record)?, record, &persistent::machine(record)?).await
    }

    async fn take(&self, record: &BoxRecord, folder: &Path) -> Result<(), BackendError> {
        refuse_mounts(record)?;
        refuse_in_memory(record)?;
        let machine = persistent::machine(record)?;
        let parts = self.parts_of(record)?;
        let stood_still = stands_still(&machine).await?;
        if !stood_still {
            pause(&parts, record, &machine).await?;
        }
        let written = take(&parts, record, &machine, folder).await;
        let resumed = match stood_still {
            true => Ok(()),
            false => resume(&parts, record, &machine).await,
        };
        // Why it could not be taken may be why it does not go on.
        let written = written?;
        resumed?;
        parts.keep(record, folder, parts.rates())?;
        // What takes long, and needs no machine that stands still.
        taken::finish(folder, written).await.map_err(step("take a snapshot of", record))
    }

    async fn restore(&self, record: &BoxRecord, folder: &Path) -> Result<Isolation, BackendError> {
        let parts = self.parts_by(record, folder)?;
        let (isolation, rates) = restore(&parts, record, folder).await?;
        parts.keep(record, &record.dir, rates)?;
        Ok(isolation)
    }
}

/// Of a machine that stands still.
async fn take(
    parts: &Parts,
    record: &BoxRecord,
    machine: &Machine,
    folder: &Path,
) -> Result<taken::Written, BackendError> {
    let snapshots = of_vmm(parts)?;
    let files = snapshots.take(machine).await.map_err(step("take a snapshot of", record))?;
    let ground = Ground::here(vmm_text(&version_of(machine).await?)).map_err(step("look at", record))?;
    let note = Taken::new(ground, &record.spec, parts.rates());
    taken::write(note, files, Folder(record).disk(), folder.to_owned())
        .await
        .map_err(step("take a snapshot of", record))
}

fn vmm_text(version: &str) -> String {
    format!("firecracker {version}")
}

/// With the limits of its devices, which come with the snapshot.
async fn restore(
    parts: &Parts,
    record: &BoxRecord,
    from: &Path,
) -> Result<(Isolation, DeviceRates), BackendError> {
    refuse_mounts(record)?;
    let version = of_vmm(parts)?.version().await.map_err(step("restore", record))?;
    let here = Ground::here(vmm_text(&version)).map_err(step("restore", record))?;
    let taken = taken::read(from).await.map_err(step("restore", record))?;
    let plan = parts.plan_with(&record.spec, Lifetime::Persistent, &taken.rates())?;
    if let Some(why) = taken.refusal(&here, &record.spec) {
        let fix = "restore it where it was taken, or make the sandbox anew";
        return Err(unsupported(format!("restoring this snapshot: {why}"), fix));
    }
    let image = parts.block_image(&record.spec).await?;
    let folder = Folder(record);
    folder.clear_machine(parts).map_err(step("restore", record))?;
    taken::copy_disk(from, folder.disk()).await.map_err(step("restore", record))?;
    let restored = restored(parts, &plan, record, from, &image.path).await;
    if restored.is_err() {
        let cleared = folder.clear_machine(parts).and_then(|()| folder.remove_disk());
        if let Err(error) = cleared {
            tracing::warn!(%error, "what is left of a machine that could not be restored could not be removed");
        }
    }
    restored.map(|isolation| (isolation, taken.rates()))
}

async fn restored(
    parts: &Parts,
    plan: &Plan<'_>,
    record: &BoxRecord,
    from: &Path,
    image: &Path,
) -> Result<Isolation, BackendError> {
    let folder = Folder(record);
    make_private(&folder.machine()).map_err(step("restore", record))?;
    let boundary = parts.equipment()?.boundary;
    let placement = Placement::make(parts, plan, &record.id)?;
    let rate = plan.rates().of_disk();
    let spec = RestoreSpec {
        site: placement.site(&folder.machine(), Life::Lasting)?,
        snapshot: taken::files(from),
        drives: vec![
            Drive { path: image.to_owned(), read_only: true, rate },
            Drive { path: folder.disk(), read_only: false, rate },
        ],
        tap: placement.interface().map(|interface| interface.tap),
        resume: true,
    };
    let mut note = |note: &MachineNote| {
        let isolation = plan.isolation(boundary, &note.confinement);
        folder.write_instance(&persistent::Instance { machine: note.clone(), isolation })
    };
    let machine = of_vmm(parts)?.restore(&spec, &mut note).await.map_err(step("restore", record))?;
    let setup = plan.machine_setup(placement.told(), random()?, random()?)?;
    match go_on(&machine, &Renewal { identity: Some(identity(setup)), ..now() }).await {
        Ok(()) => {
            placement.keep();
            Ok(plan.isolation(boundary, machine.confinement()))
        }
        Err(error) => {
            let error = start::explain(error, &machine);
            machine.end().map_err(step("restore", record))?;
            Err(error)
        }
    }
}

/// Of what a new machine would be told, what an old one has to be told to be new.
fn identity(setup: MachineSetup) -> NewIdentity {
    let MachineSetup { hostname, machine_id, entropy, files, network, .. } = setup;
    NewIdentity { hostname, machine_id, entropy, files, network }
}
