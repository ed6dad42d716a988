//! A box between two processes: the descriptors that it lives by, and what is known of it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use agentkernel_backend::{BackendError, Entrance, HandOver, UnspokenAgent};
use agentkernel_model::Isolation;
use agentkernel_store::Lease;
use agentkernel_sys::process::Child;
use serde::{Deserialize, Serialize};

use crate::ephemeral::{Held, NativeBox};
use crate::lease;
use crate::machine::Machine;
use crate::name::name;
use crate::process::{Limits, Process, reap_when_ended};
use crate::remains::Remains;

/// What is known of it. The descriptors are the agent's stream, the lease, the first process, and the image where
/// there is one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Handed {
    id: String,
    isolation: Isolation,
    /// What the agent has said so far.
    said: Vec<u8>,
    limited: bool,
    image: bool,
}

/// Packs a box that this process has made and nobody has spoken to; the box again where it is another.
pub(crate) fn pack(held: Held, isolation: &Isolation, remains: &Remains) -> Result<HandOver, Box<Held>> {
    let Process::Own(child) = &held.process else { return Err(Box::new(held)) };
    if !held.entrance.is_unspoken() {
        return Err(Box::new(held));
    }
    let Ok(pidfd) = child.pidfd.try_clone() else { return Err(Box::new(held)) };
    let Held { entrance, process, limits, lease, image } = held;
    let Some(Ok((stream, said))) = entrance.into_unspoken().map(UnspokenAgent::into_parts) else {
        // Its stream is gone, and the box with it: recovery finds the rest by the lease.
        return Ok(lost());
    };
    let (id, lease) = lease.into_parts();
    let limited = match limits {
        Limits::Held(None) => false,
        Limits::Held(Some(cgroup)) => {
            cgroup.keep();
            true
        }
        Limits::Named { .. } => true,
    };
    if let Process::Own(Child { pid, pidfd }) = process {
        // It stays this process's child.
        reap_when_ended(Child { pid, pidfd }, remains.of(&id));
    }
    let handed = Handed { id, isolation: isolation.clone(), said, limited, image: image.is_some() };
    match serde_json::to_value(handed) {
        Ok(state) => Ok(HandOver {
            backend: name(),
            state,
            descriptors: [stream, lease, pidfd].into_iter().chain(image).collect(),
        }),
        Err(_) => Ok(lost()),
    }
}

/// A hand-over of nothing, which nobody takes.
fn lost() -> HandOver {
    HandOver { backend: name(), state: serde_json::Value::Null, descriptors: Vec::new() }
}

/// Takes a box over, once all that was given has been looked at.
pub(crate) fn unpack(
    handed: HandOver,
    state_dir: &Path,
    machine: &Arc<Machine>,
    entrance: impl FnOnce(UnspokenAgent) -> Entrance,
) -> Result<NativeBox, BackendError> {
    let strange =
        |what: &str| BackendError::Invalid { what: format!("what was handed over is no native box: {what}") };
    if handed.backend != name() {
        return Err(strange("it is another backend's"));
    }
    let state: Handed = serde_json::from_value(handed.state).map_err(|error| strange(&error.to_string()))?;
    if state.isolation.backend != name() || state.isolation.rootless != machine.rootless {
        return Err(strange("its isolation is another's"));
    }
    let mut descriptors = handed.descriptors.into_iter();
    let mut next = || descriptors.next().ok_or_else(|| strange("a descriptor is missing"));
    let (stream, lease, pidfd) = (next()?, next()?, next()?);
    let image = if state.image { Some(next()?) } else { None };
    if descriptors.next().is_some() {
        return Err(strange("it has too many descriptors"));
    }
    let failed = |source| BackendError::runtime("take a box over", source);
    let lease = Lease::adopt(&lease::folder(state_dir), &state.id, lease).map_err(failed)?;
    if is_ended(&pidfd).map_err(failed)? {
        return Err(BackendError::BoxEnded { why: "it ended on its way".to_owned() });
    }
    let agent = UnspokenAgent::from_parts(stream, state.said).map_err(failed)?;
    let limits = match state.limited {
        true => Limits::Named { machine: Arc::clone(machine), id: state.id },
        false => Limits::Held(None),
    };
    let held = Held { entrance: entrance(agent), process: Process::Given(pidfd), limits, lease, image };
    Ok(NativeBox::given(state.isolation, held))
}

/// Of a pidfd; anything else is an error.
fn is_ended(pidfd: &OwnedFd) -> io::Result<bool> {
    agentkernel_sys::process::check_pidfd(pidfd)?;
    agentkernel_sys::process::is_ended(pidfd)
}
