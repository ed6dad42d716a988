//! The conformance suite on the fake: the suite's own test, and the fake's.

use std::sync::Arc;

use agentkernel_model::ImageRef;
use agentkernel_testkit::conformance::{Skipped, Subject};
use agentkernel_testkit::fake::FakeBackend;

/// What the fake's shell and file tree don't have.
const CANNOT_EXPRESS: &[(&str, &str)] = &[
    ("ending::signals_can_be_caught", "the fake's shell has no traps"),
    ("ending::kill_takes_the_tree", "the fake has no sessions"),
    ("persistent::stop_asks_first", "the fake's shell has no traps"),
    ("persistent::stop_ends_the_stubborn", "the fake's shell has no traps"),
    ("snapshots::processes_go_on", "a running command of the fake can't be copied"),
    ("exec::arguments_too_large", "the fake's arguments have no limit"),
];

async fn subject() -> Result<Subject, Skipped> {
    let fake = FakeBackend::honest();
    let (again, seen) = (fake.clone(), fake.clone());
    Ok(Subject {
        backend: Arc::new(fake),
        again: Box::new(move || Arc::new(again.another_process())),
        image: ImageRef::host(),
        cannot_express: CANNOT_EXPRESS,
        processor_time: None,
        leftovers: Box::new(move || seen.objects()),
    })
}

agentkernel_testkit::conformance_suite!(subject);
