//! What the engine knows, in the words of the wire.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agentkernel_api as api;
use agentkernel_backend::{ExecutionInfo, ExecutionState, FileInfo, FileKind, ProcessInfo};
use agentkernel_engine::{SandboxView, SnapshotView};
use agentkernel_model::{BackendName, Boundary, CannotExec, Cpus, Isolation, Outcome, PublishedPort};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::StartedInfo;

/// RFC 3339, UTC, to the millisecond.
pub(crate) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

pub(crate) fn isolation(isolation: &Isolation) -> api::Isolation {
    api::Isolation {
        backend: isolation.backend.to_string(),
        boundary: boundary(isolation.boundary).to_owned(),
        rootless: isolation.rootless,
        layers: isolation.layers.clone(),
        not_enforced: isolation.not_enforced.clone(),
    }
}

fn boundary(boundary: Boundary) -> &'static str {
    match boundary {
        Boundary::Fake => "fake",
        Boundary::SharedKernel => "shared-kernel",
        Boundary::EmulatedMachine => "emulated-machine",
        Boundary::VirtualMachine => "virtual-machine",
        Boundary::Hosted => "hosted",
    }
}

/// Of a command that never ran: nothing was isolated.
pub(crate) fn no_isolation(backend: &BackendName) -> api::Isolation {
    api::Isolation {
        backend: backend.to_string(),
        boundary: "none".to_owned(),
        rootless: false,
        layers: Vec::new(),
        not_enforced: Vec::new(),
    }
}

/// A result without output.
pub(crate) fn result(
    info: &StartedInfo,
    since: Instant,
    exit_code: u8,
    error: Option<api::RunError>,
) -> api::RunResult {
    api::RunResult {
        output: String::new(),
        stdout: String::new(),
        stderr: String::new(),
        encoding: api::Encoding::Utf8,
        exit_code,
        signal: None,
        timed_out: false,
        stdout_truncated: false,
        stderr_truncated: false,
        duration_ms: millis(since.elapsed()),
        backend: info.backend.clone(),
        isolation: info.isolation.clone(),
        image: info.image.clone(),
        warm: info.warm,
        sandbox: info.sandbox.clone(),
        error,
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn run_error(why: &CannotExec) -> api::RunError {
    let kind = match why {
        CannotExec::NotFound { .. } => "not_found",
        CannotExec::NotExecutable { .. } => "not_executable",
        CannotExec::Workdir { .. } => "workdir",
        CannotExec::User { .. } => "user",
        CannotExec::NoRoom { .. } => "no_room",
    };
    api::RunError { kind: kind.to_owned(), message: why.to_string() }
}

pub(crate) fn signal_name(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Signaled(signal) => Some(signal.to_string()),
        // Its processes got SIGKILL with their box.
        Outcome::BoxEnded | Outcome::TimedOut => Some("SIGKILL".to_owned()),
        Outcome::Exited(_) => None,
    }
}

pub(crate) fn port(port: &PublishedPort) -> api::PortInfo {
    api::PortInfo { address: port.address.to_string(), host: port.host, inside: port.inside }
}

/// A whole number where it is one, as v0.4 had it.
fn cpus(cpus: Cpus) -> Option<serde_json::Number> {
    let millis = cpus.millis();
    if millis.is_multiple_of(1000) {
        return Some((millis / 1000).into());
    }
    serde_json::Number::from_f64(f64::from(millis) / 1000.0)
}

pub(crate) fn sandbox(view: &SandboxView) -> api::Sandbox {
    api::Sandbox {
        name: view.name.to_string(),
        id: view.id.clone(),
        status: view.phase.to_string(),
        backend: view.backend.to_string(),
        image: view.image.to_string(),
        image_id: view.image_id.as_ref().map(ToString::to_string),
        profile: view.profile.to_string(),
        vcpus: view.spec.resources.cpus.and_then(cpus),
        memory_mb: view.spec.resources.memory.map(|memory| memory.0),
        created_at: view.created_at.clone(),
        isolation: view.isolation.as_ref().map(isolation),
        ports: view.published.iter().map(port).collect(),
        labels: view.spec.labels.clone(),
        problem: view.problem.clone(),
    }
}

pub(crate) fn snapshot(view: &SnapshotView) -> api::Snapshot {
    api::Snapshot {
        name: view.name.to_string(),
        source: view.source.to_string(),
        source_id: view.source_id.clone(),
        backend: view.backend.to_string(),
        image: view.image.to_string(),
        ports: view.ports.iter().map(port).collect(),
        created_at: view.created_at.clone(),
        bytes: view.bytes,
    }
}

pub(crate) fn execution(info: &ExecutionInfo) -> api::ExecutionInfo {
    let ended = match info.state {
        ExecutionState::Running => None,
        ExecutionState::Ended(outcome) => Some(outcome),
    };
    api::ExecutionInfo {
        id: info.id.to_string(),
        command: info.argv.iter().map(|argument| argument.to_lossy()).collect(),
        pid: info.pid,
        detached: info.detached,
        status: if ended.is_some() { api::ExecutionStatus::Ended } else { api::ExecutionStatus::Running },
        exit_code: ended.map(Outcome::exit_code),
        signal: ended.and_then(signal_name),
        age_ms: millis(info.age),
    }
}

pub(crate) fn process(info: &ProcessInfo) -> api::ProcessInfo {
    api::ProcessInfo {
        pid: info.pid,
        parent: info.parent,
        uid: info.uid,
        state: info.state.to_string(),
        resident_bytes: info.resident_bytes,
        cpu_ms: millis(info.cpu_time),
        command: info.command.to_lossy(),
    }
}

pub(crate) fn entry(info: &FileInfo) -> api::DirectoryEntry {
    let bytes = info.name.as_bytes();
    api::DirectoryEntry {
        name: info.name.to_lossy(),
        name_base64: std::str::from_utf8(bytes).is_err().then(|| STANDARD.encode(bytes)),
        kind: match info.kind {
            FileKind::File => api::FileKind::File,
            FileKind::Directory => api::FileKind::Directory,
            FileKind::Symlink => api::FileKind::Symlink,
            FileKind::Other => api::FileKind::Other,
        },
        size: info.size,
        mode: format!("{:04o}", info.mode),
        uid: info.uid,
        gid: info.gid,
        modified: modified(info.modified),
    }
}

/// The last second that RFC 3339 can write: a box may say anything.
const LAST_SECOND: u64 = 253_402_300_799;

fn modified(seconds: i64) -> String {
    // Before 1970 is possible and of no interest.
    let seconds = u64::try_from(seconds).unwrap_or(0).min(LAST_SECOND);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn result() -> api::RunResult {
        let info = StartedInfo {
            id: "1".to_owned(),
            backend: "fake".to_owned(),
            isolation: no_isolation(&"fake".parse().unwrap()),
            image: "host".to_owned(),
            warm: false,
            sandbox: None,
            command: Vec::new(),
            started_at: String::new(),
        };
        super::result(&info, Instant::now(), 0, None)
    }

    #[test]
    fn times_that_a_box_makes_up_are_no_panic() {
        assert_eq!(modified(0), "1970-01-01T00:00:00Z");
        assert_eq!(modified(i64::MIN), "1970-01-01T00:00:00Z");
        assert_eq!(modified(i64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn whole_processors_are_whole_numbers() {
        let shown = |millis| serde_json::to_string(&cpus(Cpus::from_millis(millis).unwrap())).unwrap();
        assert_eq!((shown(2000).as_str(), shown(1500).as_str()), ("2", "1.5"));
    }
}
