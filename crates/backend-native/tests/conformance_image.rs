//! The native backend keeps the promises of every backend on an OCI image too.

mod bed_images;

use std::path::Path;
use std::sync::Arc;

use agentkernel_backend::{Backend, Probe};
use agentkernel_backend_native::{NativeBackend, NativeSettings};
use agentkernel_testkit::conformance::{Skipped, Subject};

fn open(state_dir: &Path, settings: &NativeSettings) -> Arc<dyn Backend> {
    Arc::new(NativeBackend::open(state_dir, settings.clone()).expect("the backend can be opened"))
}

async fn subject() -> Result<Subject, Skipped> {
    let state = tempfile::Builder::new().prefix("agentkernel-state-").tempdir().expect("a state folder");
    let settings = NativeSettings { internal_unpack: bed_images::unpacker(), ..NativeSettings::default() };
    let backend = open(state.path(), &settings);
    if let Probe::NotReady { why, fix } = backend.probe().await {
        return Err(Skipped(format!("the native backend is not ready: {why}; {fix}")));
    }
    let image = bed_images::link_into(state.path(), &settings).map_err(Skipped)?;
    let (again, left) = (state.path().to_owned(), state.path().to_owned());
    Ok(Subject {
        backend,
        again: Box::new(move || open(&again, &settings)),
        image,
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
