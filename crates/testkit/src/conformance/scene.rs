//! The stage of one case: makes boxes, and takes all of them down at the end.

use std::cell::{Cell, RefCell};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{Backend, BackendError, BoxRecord, EphemeralBox, Guest};
use agentkernel_model::{Feature, ImageId, ImageRef, SandboxSpec};
use tempfile::TempDir;

use super::subject::Subject;
use crate::plain_spec;

/// Waits for a graceful stop in cases that are not about it.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// The stage of one case.
pub struct Scene {
    subject: Subject,
    /// The content of the subject's image; `None` for image `host`.
    image_id: Option<ImageId>,
    /// Why the case could not be tried after all.
    skipped: RefCell<Option<String>>,
    folder: TempDir,
    boxes: RefCell<Vec<Box<dyn EphemeralBox>>>,
    records: RefCell<Vec<BoxRecord>>,
    count: Cell<u32>,
}

impl Scene {
    /// The stage for one case on `subject`.
    ///
    /// # Panics
    /// Where the backend can't find the subject's image: the factory has to see to it.
    pub(super) async fn new(subject: Subject) -> Self {
        let image_id = match subject.backend.images() {
            Some(images) if !subject.image.is_host() => {
                let found = images.find(&subject.image).await.expect("an answer");
                let ready = found.unwrap_or_else(|| panic!("image {} is not here", subject.image));
                Some(ready.id)
            }
            _ => None,
        };
        Self {
            subject,
            image_id,
            skipped: RefCell::default(),
            folder: tempfile::Builder::new()
                .prefix("agentkernel-test-")
                .tempdir()
                .expect("a folder for the case"),
            boxes: RefCell::default(),
            records: RefCell::default(),
            count: Cell::new(0),
        }
    }

    /// See [`Subject::processor_time`].
    pub(super) fn processor_time(&self) -> Option<Duration> {
        self.subject.processor_time.as_ref().map(|time| time())
    }

    /// The backend under test.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.subject.backend
    }

    /// Another process's view of the same machine.
    pub fn another_process(&self) -> Arc<dyn Backend> {
        (self.subject.again)()
    }

    /// What is left on the machine.
    pub fn leftovers(&self) -> Vec<String> {
        (self.subject.leftovers)()
    }

    /// Whether the backend claims `feature`.
    pub fn has(&self, feature: Feature) -> bool {
        self.subject.backend.capabilities().has(feature)
    }

    /// A private folder on the host.
    pub fn host_folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder on the host.
    pub fn make_host_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).expect("a new folder");
        path
    }

    /// The same, open to nobody else.
    pub fn make_private_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path).expect("a new folder");
        path
    }

    /// The plainest specification: no network, no limits, no mounts.
    pub fn spec(&self) -> SandboxSpec {
        SandboxSpec {
            image: self.subject.image.clone(),
            image_id: self.image_id.clone(),
            hostname: "conformance".to_owned(),
            ..plain_spec(self.subject.backend.name())
        }
    }

    /// The id of one of the test bed's images (`cargo xtask test-bed`) in this backend; `None`, and the case is skipped,
    /// where it isn't here.
    pub async fn bed_image(&self, name: &str) -> Option<(ImageRef, ImageId)> {
        let image: ImageRef = format!("agentkernel-test/{name}:1").parse().expect("an image");
        let images = self.backend().images().expect("a backend with OCI images says where they are");
        match images.find(&image).await.expect("an answer") {
            Some(ready) => Some((image, ready.id)),
            None => {
                self.skip(format!("{image} of the test bed is not in this backend"));
                None
            }
        }
    }

    /// Says that the case can't be tried here.
    pub fn skip(&self, why: String) {
        self.skipped.replace(Some(why));
    }

    pub(super) fn why_skipped(&self) -> Option<String> {
        self.skipped.take()
    }

    /// A new plain box that is destroyed at the case's end.
    pub async fn guest(&self) -> Arc<dyn Guest> {
        self.guest_with(|_| {}).await
    }

    /// The same, with changes to its specification.
    pub async fn guest_with(&self, change: impl FnOnce(&mut SandboxSpec)) -> Arc<dyn Guest> {
        let mut spec = self.spec();
        change(&mut spec);
        let made =
            self.subject.backend.launch(&spec).await.expect("a box that the backend's capabilities allow");
        let guest = made.guest();
        self.boxes.borrow_mut().push(made);
        guest
    }

    /// A new plain box that the case destroys itself.
    pub async fn launch(&self) -> Box<dyn EphemeralBox> {
        self.subject.backend.launch(&self.spec()).await.expect("a plain box")
    }

    /// A record of a sandbox that isn't made yet; what the case leaves of it is removed at the end.
    pub fn record(&self) -> BoxRecord {
        self.record_with(|_| {})
    }

    /// The same, with changes to its specification.
    pub fn record_with(&self, change: impl FnOnce(&mut SandboxSpec)) -> BoxRecord {
        self.count.set(self.count.get() + 1);
        let number = self.count.get();
        let dir = self.folder.path().join(format!("record-{number}"));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).expect("a record's folder");
        let mut spec = self.spec();
        change(&mut spec);
        // Unique on this machine while the case runs: cgroups and interfaces are named by it.
        let id = format!("{:08x}{:08x}", std::process::id(), unique());
        let record = BoxRecord { name: format!("case-{number}").parse().expect("a name"), id, spec, dir };
        self.records.borrow_mut().push(record.clone());
        record
    }

    /// A persistent sandbox, started.
    pub async fn started(&self) -> (BoxRecord, Arc<dyn Guest>) {
        let record = self.record();
        let backend = self.backend();
        backend.create(&record).await.expect("created");
        backend.start(&record).await.expect("started");
        let guest = backend.connect(&record).await.expect("connected");
        (record, guest)
    }

    pub(super) async fn clean_up(&self) {
        let mut failures: Vec<BackendError> = Vec::new();
        let boxes: Vec<_> = self.boxes.borrow_mut().drain(..).collect();
        for made in boxes {
            failures.extend(made.destroy().await.err());
        }
        let records: Vec<_> = self.records.borrow_mut().drain(..).collect();
        for record in records {
            if self.has(Feature::PersistentSandboxes) {
                failures.extend(self.backend().remove(&record).await.err());
            }
        }
        let reclaimed = self.backend().reclaim(&[]).await;
        assert!(failures.is_empty(), "cleaning up failed: {failures:#?}");
        let reclaimed = reclaimed.expect("recovery works");
        assert!(
            reclaimed.objects.is_empty(),
            "recovery found what nobody left behind: {:?}",
            reclaimed.objects
        );
        let leftovers = self.leftovers();
        assert!(leftovers.is_empty(), "left behind: {leftovers:#?}");
    }
}

fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
