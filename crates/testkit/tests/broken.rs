//! The suite can fail: backends with one fault each, and the case that finds it.

use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{
    Backend, BackendError, BoxRecord, EndSignal, EphemeralBox, Execution, ExecutionControl, ExecutionInfo,
    FileInfo, Guest, HandOver, ImageBuilder, Images, LogRead, OrderedLog, OutputStream, Probe, ProcessInfo,
    Reclaimed, Snapshots, TcpStreamInside,
};
use agentkernel_model::{
    BackendName, BoxPath, Capabilities, EnvVar, ExecId, ExecRequest, Feature, ImageRef, Isolation, Outcome,
    SandboxSpec, Signal, TtySize,
};
use agentkernel_testkit::conformance::{Skipped, Subject, Verdict, check};
use agentkernel_testkit::fake::FakeBackend;
use async_trait::async_trait;

/// What is wrong with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    SwappedStreams,
    ExitCodeLost,
    SignalAsExit,
    EnvironmentAdded,
    WorkdirIgnored,
    TimeoutIgnored,
    StdinAlwaysOpen,
    OutputCut,
    ReadOnlyRootIgnored,
    LimitsSilentlyIgnored,
    ModeIgnored,
    NeverStops,
    NothingReclaimed,
    SharedFiles,
    PauseIgnored,
    CopiesAreFresh,
    CopiesShareAName,
}

/// A box that several customers get, and its guest.
type Shared = tokio::sync::OnceCell<(Box<dyn EphemeralBox>, Arc<dyn Guest>)>;

#[derive(Clone)]
struct Broken {
    inner: FakeBackend,
    fault: Fault,
    capabilities: Capabilities,
    shared: Arc<Shared>,
}

struct BrokenBox {
    inner: Box<dyn EphemeralBox>,
    guest: Arc<dyn Guest>,
}

#[async_trait]
impl EphemeralBox for BrokenBox {
    fn isolation(&self) -> &Isolation {
        self.inner.isolation()
    }

    fn guest(&self) -> Arc<dyn Guest> {
        Arc::clone(&self.guest)
    }

    async fn ready(&mut self) -> Result<(), BackendError> {
        self.inner.ready().await
    }

    fn end(&self) -> Option<EndSignal> {
        self.inner.end()
    }

    async fn hand_over(self: Box<Self>) -> Result<HandOver, Box<dyn EphemeralBox>> {
        let guest = self.guest;
        let back = |inner| -> Box<dyn EphemeralBox> { Box::new(BrokenBox { inner, guest }) };
        self.inner.hand_over().await.map_err(back)
    }

    async fn destroy(self: Box<Self>) -> Result<(), BackendError> {
        self.inner.destroy().await
    }

    async fn leave(self: Box<Self>) -> Result<(), BackendError> {
        self.destroy().await
    }
}

#[async_trait]
impl Snapshots for Broken {
    async fn pause(&self, record: &BoxRecord) -> Result<(), BackendError> {
        if self.fault == Fault::PauseIgnored {
            return Ok(());
        }
        self.inner_snapshots().pause(record).await
    }

    async fn resume(&self, record: &BoxRecord) -> Result<(), BackendError> {
        self.inner_snapshots().resume(record).await
    }

    async fn take(&self, record: &BoxRecord, folder: &Path) -> Result<(), BackendError> {
        self.inner_snapshots().take(record, folder).await
    }

    async fn restore(&self, record: &BoxRecord, folder: &Path) -> Result<Isolation, BackendError> {
        match self.fault {
            Fault::CopiesAreFresh => {
                self.inner.create(record).await?;
                self.inner.start(record).await
            }
            Fault::CopiesShareAName => {
                let mut record = record.clone();
                record.spec.hostname = "conformance".to_owned();
                self.inner_snapshots().restore(&record, folder).await
            }
            _ => self.inner_snapshots().restore(record, folder).await,
        }
    }
}

impl Broken {
    fn inner_snapshots(&self) -> &dyn Snapshots {
        self.inner.snapshots().expect("the fake has them")
    }
}

#[async_trait]
impl Backend for Broken {
    fn name(&self) -> &BackendName {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn images(&self) -> Option<&dyn Images> {
        self.inner.images()
    }

    fn builder(&self) -> Option<&dyn ImageBuilder> {
        self.inner.builder()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    async fn probe(&self) -> Probe {
        self.inner.probe().await
    }

    async fn launch(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        let mut spec = spec.clone();
        match self.fault {
            Fault::ReadOnlyRootIgnored => spec.read_only_root = false,
            Fault::LimitsSilentlyIgnored => spec.resources = Default::default(),
            _ => {}
        }
        let inner = self.inner.launch(&spec).await?;
        let mut guest = inner.guest();
        if self.fault == Fault::SharedFiles {
            let first = self.shared.get_or_try_init(|| async {
                let kept = self.inner.launch(&spec).await?;
                let guest = kept.guest();
                Ok::<_, BackendError>((kept, guest))
            });
            guest = Arc::clone(&first.await?.1);
        }
        Ok(Box::new(BrokenBox { inner, guest: Arc::new(BrokenGuest { inner: guest, fault: self.fault }) }))
    }

    async fn take_over(&self, handed: HandOver) -> Result<Box<dyn EphemeralBox>, BackendError> {
        self.inner.take_over(handed).await
    }

    fn variant(&self) -> String {
        self.inner.variant()
    }

    async fn create(&self, record: &BoxRecord) -> Result<(), BackendError> {
        self.inner.create(record).await
    }

    async fn start(&self, record: &BoxRecord) -> Result<Isolation, BackendError> {
        self.inner.start(record).await
    }

    async fn stop(&self, record: &BoxRecord, grace: Duration) -> Result<(), BackendError> {
        if self.fault == Fault::NeverStops {
            return Ok(());
        }
        self.inner.stop(record, grace).await
    }

    async fn remove(&self, record: &BoxRecord) -> Result<(), BackendError> {
        self.inner.remove(record).await
    }

    async fn running(&self, record: &BoxRecord) -> Result<Option<Isolation>, BackendError> {
        self.inner.running(record).await
    }

    async fn connect(&self, record: &BoxRecord) -> Result<Arc<dyn Guest>, BackendError> {
        Ok(Arc::new(BrokenGuest { inner: self.inner.connect(record).await?, fault: self.fault }))
    }

    async fn reclaim(&self, records: &[BoxRecord]) -> Result<Reclaimed, BackendError> {
        if self.fault == Fault::NothingReclaimed {
            return Ok(Reclaimed::default());
        }
        self.inner.reclaim(records).await
    }
}

struct BrokenGuest {
    inner: Arc<dyn Guest>,
    fault: Fault,
}

struct BrokenControl {
    inner: Box<dyn ExecutionControl>,
    fault: Fault,
}

#[async_trait]
impl ExecutionControl for BrokenControl {
    async fn signal(&self, signal: Signal) -> Result<(), BackendError> {
        self.inner.signal(signal).await
    }

    async fn resize(&self, size: TtySize) -> Result<(), BackendError> {
        self.inner.resize(size).await
    }

    async fn wait(&self) -> Result<Outcome, BackendError> {
        Ok(match (self.fault, self.inner.wait().await?) {
            (Fault::ExitCodeLost, Outcome::Exited(_)) => Outcome::Exited(0),
            (Fault::SignalAsExit, Outcome::Signaled(signal)) => {
                Outcome::Exited(Outcome::Signaled(signal).exit_code())
            }
            (_, outcome) => outcome,
        })
    }
}

#[async_trait]
impl Guest for BrokenGuest {
    async fn exec(&self, request: &ExecRequest) -> Result<Execution, BackendError> {
        let mut request = request.clone();
        match self.fault {
            Fault::EnvironmentAdded => {
                request.env.push(EnvVar { name: "HOST".into(), value: "leaked".into() })
            }
            Fault::WorkdirIgnored => request.workdir = BoxPath::new("/").expect("a path"),
            Fault::TimeoutIgnored => request.timeout = None,
            Fault::StdinAlwaysOpen => request.stdin = true,
            _ => {}
        }
        let mut execution = self.inner.exec(&request).await?;
        match self.fault {
            Fault::SwappedStreams => {
                if let Some(stderr) = &mut execution.stderr {
                    std::mem::swap(&mut execution.stdout, stderr);
                }
            }
            Fault::OutputCut => {
                execution.stdout = Box::new(tokio::io::AsyncReadExt::take(execution.stdout, 60_000));
            }
            _ => {}
        }
        execution.control = Box::new(BrokenControl { inner: execution.control, fault: self.fault });
        Ok(execution)
    }

    async fn executions(&self) -> Result<Vec<ExecutionInfo>, BackendError> {
        self.inner.executions().await
    }

    async fn kill(&self, id: &ExecId, signal: Signal) -> Result<(), BackendError> {
        self.inner.kill(id, signal).await
    }

    async fn wait(&self, id: &ExecId) -> Result<Outcome, BackendError> {
        self.inner.wait(id).await
    }

    async fn logs(&self, id: &ExecId, offset: u64, follow: bool) -> Result<LogRead, BackendError> {
        self.inner.logs(id, offset, follow).await
    }

    async fn ordered_log(&self, id: &ExecId, offset: u64, follow: bool) -> Result<OrderedLog, BackendError> {
        self.inner.ordered_log(id, offset, follow).await
    }

    async fn processes(&self) -> Result<Vec<ProcessInfo>, BackendError> {
        self.inner.processes().await
    }

    async fn read_file(&self, path: &BoxPath) -> Result<OutputStream, BackendError> {
        self.inner.read_file(path).await
    }

    async fn write_file(
        &self,
        path: &BoxPath,
        mode: Option<u32>,
        content: OutputStream,
    ) -> Result<u64, BackendError> {
        let mode = if self.fault == Fault::ModeIgnored { None } else { mode };
        self.inner.write_file(path, mode, content).await
    }

    async fn stat(&self, path: &BoxPath) -> Result<FileInfo, BackendError> {
        self.inner.stat(path).await
    }

    async fn list(&self, path: &BoxPath) -> Result<Vec<FileInfo>, BackendError> {
        self.inner.list(path).await
    }

    async fn remove_file(&self, path: &BoxPath, recursive: bool) -> Result<(), BackendError> {
        self.inner.remove_file(path, recursive).await
    }

    async fn make_dir(&self, path: &BoxPath, mode: Option<u32>) -> Result<(), BackendError> {
        self.inner.make_dir(path, mode).await
    }

    async fn tar_out(&self, path: &BoxPath) -> Result<OutputStream, BackendError> {
        self.inner.tar_out(path).await
    }

    async fn tar_in(&self, path: &BoxPath, tar: OutputStream) -> Result<(), BackendError> {
        self.inner.tar_in(path, tar).await
    }

    async fn connect_port(&self, port: u16) -> Result<Box<dyn TcpStreamInside>, BackendError> {
        self.inner.connect_port(port).await
    }
}

fn subject(fault: Fault) -> Result<Subject, Skipped> {
    let inner = FakeBackend::honest();
    let seen = inner.clone();
    let capabilities = inner.capabilities().clone();
    let broken = Broken { inner, fault, capabilities, shared: Arc::default() };
    let again = broken.clone();
    Ok(Subject {
        backend: Arc::new(broken),
        again: Box::new(move || Arc::new(Broken { inner: again.inner.another_process(), ..again.clone() })),
        image: ImageRef::host(),
        cannot_express: &[],
        processor_time: None,
        leftovers: Box::new(move || seen.objects()),
    })
}

/// Each fault, and a case that must find it.
const FOUND_BY: [(Fault, &str); 14] = [
    (Fault::SwappedStreams, "streams::apart"),
    (Fault::ExitCodeLost, "exec::exit_codes"),
    (Fault::SignalAsExit, "exec::death_by_signal"),
    (Fault::EnvironmentAdded, "environment::exact"),
    (Fault::WorkdirIgnored, "environment::workdir"),
    (Fault::StdinAlwaysOpen, "streams::input_absent"),
    (Fault::OutputCut, "streams::slow_reader"),
    (Fault::ReadOnlyRootIgnored, "root::can_be_read_only"),
    (Fault::LimitsSilentlyIgnored, "limits::memory"),
    (Fault::ModeIgnored, "files::modes"),
    (Fault::NeverStops, "persistent::running_is_the_truth"),
    (Fault::SharedFiles, "ephemeral::start_fresh"),
    (Fault::CopiesAreFresh, "snapshots::files_are_as_they_were"),
    (Fault::CopiesShareAName, "snapshots::names_are_their_own"),
];

/// The same for faults that show only by what never happens.
const FOUND_BY_WAITING: [(Fault, &str); 3] = [
    (Fault::TimeoutIgnored, "detached::keeps_its_timeout"),
    (Fault::NothingReclaimed, "ephemeral::dropped_is_reclaimed"),
    (Fault::PauseIgnored, "snapshots::pause_stops_time"),
];

#[test]
fn every_fault_is_found() {
    assert_found(&FOUND_BY);
}

#[test]
#[ignore = "waits out the suite's patience of 30 s"]
fn every_fault_of_omission_is_found() {
    assert_found(&FOUND_BY_WAITING);
}

fn assert_found(faults: &[(Fault, &'static str)]) {
    let found: Vec<_> = faults
        .iter()
        .map(|&(fault, case)| {
            std::thread::spawn(move || {
                let sound = check(case, async || subject(Fault::None));
                assert!(matches!(sound, Verdict::Holds | Verdict::Refused(_)), "{case}: {sound:?}");
                (fault, case, catch_unwind(move || check(case, async || subject(fault))))
            })
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|thread| thread.join().expect("the sound backend passes"))
        .collect();
    let missed: Vec<_> =
        found.iter().filter(|(_, _, result)| result.is_ok()).map(|(f, c, _)| (f, c)).collect();
    assert!(missed.is_empty(), "faults that no case found: {missed:?}");
}

#[test]
fn ids_are_unique_and_every_feature_is_asked_for() {
    use agentkernel_testkit::conformance::CASES;
    let ids: std::collections::BTreeSet<_> = CASES.iter().map(|case| case.id).collect();
    assert_eq!(ids.len(), CASES.len());
    // The host's system needs no case that others don't; ports on the host are the engine's.
    let beyond = [Feature::HostImage, Feature::PublishedPorts];
    for feature in Feature::ALL.into_iter().filter(|feature| !beyond.contains(feature)) {
        assert!(CASES.iter().any(|case| case.needs.contains(&feature)), "no case needs {feature}");
    }
}
