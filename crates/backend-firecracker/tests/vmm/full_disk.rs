//! A disk that is full before a machine starts: an error that says so, and nothing left.

use agentkernel_backend::{Backend, BackendError};
use agentkernel_testkit::conformance::within;
use libtest_mimic::Trial;

use crate::hostile;
use crate::small_disk::SmallDisk;
use crate::stage::{Stage, trial};
use crate::templates::{backend, ended, good, launch};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("full_disk::a_disk_that_is_full_already_is_named", a_disk_that_is_full_already_is_named),
        trial("full_disk::an_image_bigger_than_the_disk_is_named", an_image_bigger_than_the_disk_is_named),
    ]
}

/// Of a launch that must fail: all that is said.
async fn refusal(stage: &Stage, backend: &dyn Backend) -> String {
    let spec = hostile::spec(backend).await;
    let error: BackendError = within("a refusal", backend.launch(&spec)).await.map(drop).unwrap_err();
    assert!(stage.boxes().is_empty() && stage.processes().is_empty(), "{:?}", stage.boxes());
    std::iter::successors(std::error::Error::source(&error), |error| error.source())
        .fold(error.to_string(), |text, error| format!("{text}: {error}"))
}

async fn a_disk_that_is_full_already_is_named() {
    let stage = Stage::new();
    let backend = backend(&stage, &good());
    let Some(_disk) = SmallDisk::over(&stage.path("state/firecracker"), 24) else { return };
    // The agent's file comes with the first.
    ended(&stage, launch(&*backend).await).await;
    let filler = stage.path("state/firecracker/filler");
    let full = std::fs::write(&filler, vec![1; 64 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let text = refusal(&stage, &*backend).await;
    assert!(text.contains("No space left on device"), "{text}");
    std::fs::remove_file(filler).unwrap();
    ended(&stage, launch(&*backend).await).await;
}

async fn an_image_bigger_than_the_disk_is_named() {
    let stage = Stage::new();
    let backend = backend(&stage, &good());
    let blocks = stage.path("state/images/block");
    let Some(disk) = SmallDisk::over(&blocks, 1) else { return };
    std::fs::write(blocks.join("filler"), vec![1; 1 << 20]).unwrap();
    let text = refusal(&stage, &*backend).await;
    assert!(text.contains("prepare image") && text.contains("agentkernel image prune"), "{text}");
    let left = std::fs::read_dir(&blocks).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> =
        left.filter(|name| name != "filler" && !name.to_string_lossy().starts_with(".lock")).collect();
    assert!(left.is_empty(), "{left:?}");
    drop(disk);
    ended(&stage, launch(&*backend).await).await;
}
