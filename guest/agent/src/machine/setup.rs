//! From a bare machine to a box, in order.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use agentkernel_protocol::machine::MachineSetup;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::process::{Resource, Rlimit};

use super::freezer::Freezer;
use super::keeper::{Keeper, Parts};
use super::mount::{self, PLAIN, at};
use super::root::{self, BOX, memory_options};
use super::{cgroup, devices, given, identity, live_mount, network, process_files};
use crate::agent::Agent;
use crate::log::LogFolder;
use crate::meeting;

/// Open files of any process where the host says nothing: as many as a kernel allows if nobody tells it otherwise
/// (fs.nr_open of proc(5)).
const OPEN_FILES: u64 = 1 << 20;

/// What the agent itself needs, before it knows anything of the box.
pub(super) fn bare() -> Result<(), String> {
    mount::folder("/dev", 0o755)?;
    mount::new("devtmpfs", "devtmpfs", Path::new("/dev"), MountFlags::NOSUID, "")?;
    mount::folder("/proc", 0o555)?;
    mount::new("proc", "proc", Path::new("/proc"), mount::QUIET, "")
}

/// Does all of it, or says what can't be done: the machine is no use then. The agent of the box is returned.
/// `lasting` says that this is a whole machine, which may be saved and go on as another.
pub(super) fn apply(setup: &MachineSetup, lasting: bool) -> Result<Agent, String> {
    identity::assume(setup)?;
    let made = root::make(&setup.root)?;
    let folder = &made.folder;
    given::folders(folder, made.fresh)?;
    let machine_id = identity::machine_id(&setup.machine_id);
    given::file(folder, Path::new(identity::MACHINE_ID), 0o444, machine_id.as_bytes())?;
    for file in &setup.files {
        given::file(folder, path(&file.path), file.mode, &file.content)?;
    }
    given::workdir(folder, path(&setup.workdir))?;
    let place = Path::new(BOX);
    meeting::essentials_below(place);
    root::mark()?;
    let lasting = lasting && !setup.exit_with_stream;
    let freezer = cgroup::enter(&setup.limits, lasting)?;
    let keeper = freezer.map(|freezer| keeper_parts(setup, freezer)).transpose()?;
    let read_only = setup.root.read_only;
    devices::make(&place.join("dev"), read_only)?;
    if read_only || setup.tmp_bytes.is_some() {
        let options = memory_options(0o1777, setup.tmp_bytes);
        mount::new("tmpfs", "tmpfs", &place.join("tmp"), PLAIN, &options)?;
    }
    live_mount::make(folder, &setup.mounts)?;
    // Behind those: no link that somebody has put there leads through the process files.
    process_files::make(place)?;
    network::start(setup.network.as_ref())?;
    root::enter(read_only)?;
    limit(setup.open_files)?;
    let logs = LogFolder::new(Some(made.logs), !setup.exit_with_stream);
    let mut agent = Agent::new(logs, setup.command_capabilities).map_err(|error| error.to_string())?;
    if let Some(parts) = keeper {
        agent.command_group = Some(parts.freezer.members()?);
        let keeper = Keeper::start(parts)?;
        agent.children.add_own(keeper.pid);
        agent.keeper = Some(keeper);
    }
    Ok(agent)
}

/// What the keeper needs of the machine as it is before any command.
fn keeper_parts(setup: &MachineSetup, freezer: Freezer) -> Result<Parts, String> {
    let (root, random) = (root::writable()?, identity::random()?);
    Ok(Parts { root, random, freezer, network: setup.network.clone() })
}

/// As the host writes paths.
pub(super) fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A kernel starts its first process with narrow limits, which nobody has chosen: they are what the host says, or what the
/// kernel allows.
fn limit(open_files: Option<u64>) -> Result<(), String> {
    let wanted = open_files.unwrap_or(OPEN_FILES);
    if rustix::process::getrlimit(Resource::Nofile).maximum.is_some_and(|hard| hard < wanted) {
        match raise(Resource::Nofile, Some(wanted)) {
            Err(errno) if open_files.is_some() => return Err(at("raise the limit of open files")(errno)),
            // Its own limits are narrower still: nobody has asked for more.
            _ => {}
        }
    }
    // The limit of processes is the control group's.
    raise(Resource::Nproc, None).or_else(ignore_refusal).map_err(at("raise the limit of processes"))?;
    meeting::limit(open_files).map_err(at("lower its limits"))
}

fn raise(resource: Resource, most: Option<u64>) -> Result<(), Errno> {
    rustix::process::setrlimit(resource, Rlimit { current: most, maximum: most })
}

/// A machine that is none of its own keeps the limits that it is under.
fn ignore_refusal(errno: Errno) -> Result<(), Errno> {
    if errno == Errno::PERM { Ok(()) } else { Err(errno) }
}
