//! The native backend keeps the promises of every backend.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{Backend, BackendError, BoxRecord, Probe};
use agentkernel_backend_native::{NativeBackend, NativeSettings};
use agentkernel_model::{
    BoxPath, ByteString, EnvVar, ExecRequest, Feature, ImageRef, Mib, Outcome, Resources, SandboxSpec,
};
use agentkernel_testkit::conformance::{Skipped, Subject};
use agentkernel_testkit::plain_spec;

fn open(state_dir: &Path) -> Arc<dyn Backend> {
    let backend = NativeBackend::open(state_dir, NativeSettings::default());
    Arc::new(backend.expect("the backend can be opened"))
}

async fn subject() -> Result<Subject, Skipped> {
    let state = tempfile::Builder::new().prefix("agentkernel-state-").tempdir().expect("a state folder");
    let backend = open(state.path());
    if let Probe::NotReady { why, fix } = backend.probe().await {
        return Err(Skipped(format!("the native backend is not ready: {why}; {fix}")));
    }
    let (again, left) = (state.path().to_owned(), state.path().to_owned());
    Ok(Subject {
        backend,
        again: Box::new(move || open(&again)),
        image: ImageRef::host(),
        cannot_express: &[],
        processor_time: None,
        leftovers: Box::new(move || {
            let _keep = &state;
            ["leases", "stage"].into_iter().flat_map(|folder| entries(&left.join(folder))).collect()
        }),
    })
}

fn entries(folder: &Path) -> Vec<String> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    found.map(|entry| entry.path().display().to_string()).collect()
}

agentkernel_testkit::conformance_suite!(subject);

fn spec(backend: &dyn Backend) -> SandboxSpec {
    SandboxSpec {
        workdir: BoxPath::new("/").expect("a path"),
        allow_unlimited: true,
        hostname: "kept".to_owned(),
        ..plain_spec(backend.name())
    }
}

#[tokio::test]
async fn logs_outlive_a_stop() {
    let state = tempfile::tempdir().expect("a state folder");
    let backend = open(state.path());
    if let Probe::NotReady { why, fix } = backend.probe().await {
        println!("SKIPPED: the native backend is not ready: {why}; {fix}");
        return;
    }
    let folder = tempfile::tempdir_in(state.path()).expect("a folder");
    let dir = folder.path().to_owned();
    let spec = spec(&*backend);
    let record =
        BoxRecord { name: "kept".parse().expect("a name"), id: "000000000000106f".to_owned(), spec, dir };
    backend.create(&record).await.expect("made");
    backend.start(&record).await.expect("started");
    let guest = backend.connect(&record).await.expect("connected");
    let request = ExecRequest {
        argv: ["sh", "-c", "echo kept; exit 5"].map(ByteString::from).into(),
        env: vec![EnvVar { name: "PATH".into(), value: "/usr/bin:/bin".into() }],
        workdir: BoxPath::new("/").expect("a path"),
        user: None,
        stdin: false,
        tty: None,
        timeout: None,
        detached_log_limit: Some(1 << 20),
    };
    let id = guest.exec(&request).await.expect("started").id;
    assert_eq!(guest.wait(&id).await.expect("an end"), Outcome::Exited(5));
    drop(guest);
    backend.stop(&record, Duration::ZERO).await.expect("stopped");
    backend.start(&record).await.expect("started again");
    let guest = backend.connect(&record).await.expect("connected");
    assert_eq!(guest.wait(&id).await.expect("known"), Outcome::Exited(5));
    let mut log = guest.ordered_log(&id, 0, true).await.expect("a log");
    let chunk = log.chunks.next().await.expect("a chunk").expect("output");
    assert_eq!((chunk.offset, &chunk.bytes[..]), (0, &b"kept\n"[..]));
    backend.stop(&record, Duration::ZERO).await.expect("stopped");
    backend.remove(&record).await.expect("removed");
}

#[tokio::test]
async fn a_disk_larger_than_any_file_is_refused_by_name() {
    let state = tempfile::tempdir().expect("a state folder");
    let backend = open(state.path());
    if !backend.capabilities().has(Feature::PersistentDiskLimit) {
        println!("SKIPPED: disks of persistent sandboxes can't be limited here");
        return;
    }
    let most = Mib(u32::MAX);
    if tempfile::tempfile_in(state.path()).expect("a file").set_len(most.bytes()).is_ok() {
        println!("SKIPPED: the file system of {} holds files of {most}", state.path().display());
        return;
    }
    let folder = tempfile::tempdir_in(state.path()).expect("a folder");
    let resources = Resources { disk: Some(most), ..Resources::default() };
    let spec = SandboxSpec { resources, ..spec(&*backend) };
    let dir = folder.path().to_owned();
    let record =
        BoxRecord { name: "big".parse().expect("a name"), id: "000000000000b160".to_owned(), spec, dir };
    let error = backend.create(&record).await.expect_err("no such file can be");
    assert!(matches!(error, BackendError::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("4294967295 MiB"), "{error}");
    backend.remove(&record).await.expect("removed");
}
