//! One-shot boxes from the daemon, where one lives: it hands over a box that waits, of exactly the kind that is needed, and
//! from then on the box is this process's as if it had made it. Without a daemon, or without such a box, it is made here.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{
    Backend, BackendError, BoxRecord, EndSignal, EphemeralBox, Guest, HandOver, ImageBuilder, Images, Probe,
    Reclaimed, Snapshots,
};
use agentkernel_model::{BackendName, Capabilities, Isolation, SandboxSpec};
use agentkernel_pool::{PoolKey, TakeRequest, ask};
use async_trait::async_trait;

/// How long a daemon may take to answer: a box is made in a few milliseconds here.
const PATIENCE: Duration = Duration::from_millis(250);

/// The daemon's socket, below the state folder.
pub(crate) fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("daemon").join("agentkernel.sock")
}

/// `backend`, whose one-shot boxes come from the daemon of `state_dir` where it has some.
pub(crate) fn with_daemon(backend: Arc<dyn Backend>, state_dir: &Path) -> Arc<dyn Backend> {
    Arc::new(WithDaemon { backend, socket: socket(state_dir) })
}

struct WithDaemon {
    backend: Arc<dyn Backend>,
    socket: PathBuf,
}

impl WithDaemon {
    /// A box that waits; `None` where there is none, for whatever reason: the box that was asked for can be made here.
    async fn waiting(&self, spec: &SandboxSpec) -> Option<Box<dyn EphemeralBox>> {
        // Such a box belongs to one request only.
        PoolKey::of(spec)?;
        // By way of the folder's descriptor: a socket's path has at most 107 bytes (unix(7)).
        let at = OwnedFd::from(std::fs::File::open(self.socket.parent()?).ok()?);
        let socket =
            Path::new("/proc/self/fd").join(at.as_raw_fd().to_string()).join(self.socket.file_name()?);
        let request = TakeRequest { spec: spec.clone(), variant: self.backend.variant() };
        let taken = async {
            let Some(handed) = ask(&socket, &request).await.map_err(|error| error.to_string())? else {
                return Ok(None);
            };
            self.backend.take_over(handed).await.map(Some).map_err(|error| error.to_string())
        };
        match tokio::time::timeout(PATIENCE, taken).await {
            Ok(Ok(made)) => made,
            Ok(Err(why)) => {
                tracing::debug!(why, "no sandbox came from the daemon");
                None
            }
            Err(_) => {
                tracing::debug!("the daemon took too long to answer");
                None
            }
        }
    }
}

#[async_trait]
impl Backend for WithDaemon {
    fn name(&self) -> &BackendName {
        self.backend.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.backend.capabilities()
    }

    async fn probe(&self) -> Probe {
        self.backend.probe().await
    }

    fn images(&self) -> Option<&dyn Images> {
        self.backend.images()
    }

    fn builder(&self) -> Option<&dyn ImageBuilder> {
        self.backend.builder()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.backend.snapshots()
    }

    async fn launch(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        match self.waiting(spec).await {
            Some(inner) => Ok(Box::new(Waited { inner })),
            None => self.backend.launch(spec).await,
        }
    }

    async fn launch_cold(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        self.backend.launch_cold(spec).await
    }

    async fn take_over(&self, handed: HandOver) -> Result<Box<dyn EphemeralBox>, BackendError> {
        self.backend.take_over(handed).await
    }

    fn variant(&self) -> String {
        self.backend.variant()
    }

    async fn create(&self, record: &BoxRecord) -> Result<(), BackendError> {
        self.backend.create(record).await
    }

    async fn start(&self, record: &BoxRecord) -> Result<Isolation, BackendError> {
        self.backend.start(record).await
    }

    async fn stop(&self, record: &BoxRecord, grace: Duration) -> Result<(), BackendError> {
        self.backend.stop(record, grace).await
    }

    async fn remove(&self, record: &BoxRecord) -> Result<(), BackendError> {
        self.backend.remove(record).await
    }

    async fn running(&self, record: &BoxRecord) -> Result<Option<Isolation>, BackendError> {
        self.backend.running(record).await
    }

    async fn connect(&self, record: &BoxRecord) -> Result<Arc<dyn Guest>, BackendError> {
        self.backend.connect(record).await
    }

    async fn reclaim(&self, records: &[BoxRecord]) -> Result<Reclaimed, BackendError> {
        self.backend.reclaim(records).await
    }
}

/// A box that was started before it was asked for.
struct Waited {
    inner: Box<dyn EphemeralBox>,
}

#[async_trait]
impl EphemeralBox for Waited {
    fn isolation(&self) -> &Isolation {
        self.inner.isolation()
    }

    fn guest(&self) -> Arc<dyn Guest> {
        self.inner.guest()
    }

    async fn ready(&mut self) -> Result<(), BackendError> {
        self.inner.ready().await
    }

    fn end(&self) -> Option<EndSignal> {
        self.inner.end()
    }

    async fn hand_over(self: Box<Self>) -> Result<HandOver, Box<dyn EphemeralBox>> {
        self.inner.hand_over().await
    }

    fn is_warm(&self) -> bool {
        true
    }

    /// The daemon removes what remains.
    async fn destroy(self: Box<Self>) -> Result<(), BackendError> {
        self.inner.leave().await
    }

    async fn leave(self: Box<Self>) -> Result<(), BackendError> {
        self.inner.leave().await
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    use agentkernel_model::BoxPath;
    use agentkernel_testkit::fake::FakeBackend;
    use agentkernel_testkit::plain_spec;

    use super::*;

    fn spec() -> SandboxSpec {
        SandboxSpec { workdir: BoxPath::new("/").unwrap(), ..plain_spec(&"fake".parse().unwrap()) }
    }

    async fn launched(state_dir: &Path) -> FakeBackend {
        let fake = FakeBackend::new();
        let made = with_daemon(Arc::new(fake.clone()), state_dir).launch(&spec()).await.unwrap();
        assert!(!made.is_warm());
        made.destroy().await.unwrap();
        fake.assert_clean();
        fake
    }

    #[tokio::test]
    async fn without_a_daemon_and_beside_a_dead_one_boxes_are_made_here() {
        let state = tempfile::tempdir().unwrap();
        launched(state.path()).await;
        std::fs::create_dir(state.path().join("daemon")).unwrap();
        launched(state.path()).await;
        drop(UnixListener::bind(socket(state.path())).unwrap());
        launched(state.path()).await;
    }

    #[tokio::test]
    async fn a_daemon_that_hangs_holds_nobody_up() {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(state.path().join("daemon")).unwrap();
        let listener = UnixListener::bind(socket(state.path())).unwrap();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = Vec::new();
            // To the end of the connection: it is heard and never answered.
            stream.read_to_end(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        });
        let before = Instant::now();
        launched(state.path()).await;
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
        assert!(asked.join().unwrap().starts_with("POST /pool/take HTTP/1.1\r\n"));
    }
}
