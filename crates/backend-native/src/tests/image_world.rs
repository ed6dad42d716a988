//! Image folders made by hand, and boxes on them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agentkernel_backend::{Backend, BackendError, BoxRecord, EphemeralBox, Probe};
use agentkernel_model::{Access, BoxPath, Mib, Mount, Resources, SandboxSpec};
use agentkernel_testkit::conformance::{run, script, shell, within};
use agentkernel_testkit::plain_spec;
use tempfile::TempDir;

use crate::ephemeral::NativeBox;
use crate::images::Start;
use crate::instance::Folder;
use crate::layout::{Base, ImageFolders};
use crate::{NativeBackend, NativeSettings};

/// Programs of the image, all of them busybox.
const APPLETS: [&str; 14] =
    ["sh", "cat", "echo", "grep", "id", "ln", "ls", "mkdir", "mount", "mv", "rm", "stat", "test", "touch"];

/// A state folder, layers and a backend.
pub(super) struct World {
    folder: TempDir,
    pub(super) backend: NativeBackend,
    layers: Vec<PathBuf>,
}

impl World {
    /// With one layer: busybox, accounts, and a folder `/workspace`.
    pub(super) fn new() -> Option<Self> {
        let busybox = Path::new("/bin/busybox");
        if !busybox.is_file() {
            println!("SKIPPED: busybox (Debian package busybox-static) is not installed");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("agentkernel-image-").tempdir().unwrap();
        let backend = NativeBackend::open(&folder.path().join("state"), NativeSettings::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Probe::NotReady { why, .. } = runtime.block_on(backend.probe()) {
            println!("SKIPPED: the native backend is not ready: {why}");
            return None;
        }
        let mut world = Self { folder, backend, layers: Vec::new() };
        let system = world.layer();
        for name in ["bin", "etc", "tmp", "root", "home"] {
            std::fs::create_dir(system.join(name)).unwrap();
        }
        std::fs::copy(busybox, system.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", system.join("bin").join(applet)).unwrap();
        }
        std::fs::write(system.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/:/bin/sh\n")
            .unwrap();
        Some(world)
    }

    /// A further layer, empty, above the others.
    pub(super) fn layer(&mut self) -> PathBuf {
        let path = self.folder.path().join(format!("images/layers/kind/{:02}", self.layers.len()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.layers.push(path.clone());
        path
    }

    /// A new folder of the host, apart from all that boxes are made of.
    pub(super) fn host_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().canonicalize().unwrap().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    pub(super) fn base(&self) -> Base {
        Base::Image(ImageFolders::of(&self.layers).unwrap())
    }

    pub(super) fn spec(&self) -> SandboxSpec {
        SandboxSpec {
            resources: Resources { disk: Some(Mib(64)), ..Resources::default() },
            hostname: "imagebox".to_owned(),
            ..plain_spec(self.backend.name())
        }
    }

    pub(super) fn mount(source: &Path, target: &str, access: Access) -> Mount {
        Mount { source: source.to_owned(), target: BoxPath::new(target).unwrap(), access }
    }

    /// What `script` prints in a one-shot box.
    pub(super) fn run(&self, change: impl FnOnce(&mut SandboxSpec), script: &str) -> String {
        runtime().block_on(async {
            let made = self.launch(change).await.unwrap();
            let said = shell(&*made.guest(), script).await;
            within("the end of the box", Box::new(made).destroy()).await.unwrap();
            said
        })
    }

    /// The same, with whatever `script` writes to standard error and however it ends.
    pub(super) fn try_run(&self, change: impl FnOnce(&mut SandboxSpec), text: &str) -> String {
        runtime().block_on(async {
            let made = self.launch(change).await.unwrap();
            let done = run(&*made.guest(), &script(text)).await;
            Box::new(made).destroy().await.unwrap();
            String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
        })
    }

    pub(super) async fn launch(
        &self,
        change: impl FnOnce(&mut SandboxSpec),
    ) -> Result<NativeBox, BackendError> {
        let mut spec = self.spec();
        change(&mut spec);
        self.backend.boot_ephemeral(&spec, Start { base: self.base(), lease: None }, None).await
    }

    /// A persistent sandbox on the layers, made but not started.
    pub(super) async fn create(&self) -> BoxRecord {
        let dir = self.folder.path().join("record");
        std::fs::create_dir(&dir).unwrap();
        let id = agentkernel_store::random_id().unwrap();
        let mut spec = self.spec();
        spec.resources.disk = None;
        let record = BoxRecord { name: "image-case".parse().unwrap(), id, spec, dir };
        self.backend.create(&record).await.unwrap();
        record
    }

    /// Removes it.
    pub(super) async fn remove(&self, record: &BoxRecord) {
        self.backend.remove(record).await.unwrap();
    }

    /// Starts it, runs `text`, stops it.
    pub(super) async fn session(&self, record: &BoxRecord, text: &str) -> String {
        self.backend.boot_persistent(record, &Folder::new(&record.dir), &self.base()).await.unwrap();
        let guest = self.backend.connect(record).await.unwrap();
        let said = shell(&*guest, text).await;
        self.backend.stop(record, std::time::Duration::ZERO).await.unwrap();
        said
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Drop for World {
    /// Folders that a layer closed would stay.
    fn drop(&mut self) {
        for layer in &self.layers {
            std::fs::set_permissions(layer.join("etc"), std::fs::Permissions::from_mode(0o755)).ok();
        }
    }
}
