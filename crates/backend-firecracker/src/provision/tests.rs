//! Setups from folders, with programs that are scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use agentkernel_image::{Digest, RegistrySettings};

use super::*;

/// A source and a place, both empty.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(scene.source()).unwrap();
        scene
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("state/firecracker")
    }

    fn put(&self, part: Part, content: &[u8]) {
        fs::write(self.source().join(part.file()), content).unwrap();
    }

    /// Programs of these versions and a kernel, and the list of them.
    fn fill(&self, firecracker: &str, jailer: &str) {
        self.put(Part::Firecracker, format!("#!/bin/sh\necho 'Firecracker v{firecracker}'\n").as_bytes());
        self.put(Part::Jailer, format!("#!/bin/sh\necho 'Jailer v{jailer}'\n").as_bytes());
        self.put(Part::Kernel, &kernel_file::small_kernel(100));
        self.list();
    }

    /// Lists what is in the source.
    fn list(&self) {
        let files = Part::ALL.map(Part::file);
        let lines = files.iter().filter_map(|file| {
            let bytes = fs::read(self.source().join(file)).ok()?;
            Some(format!("{}  {file}\n", Digest::of(&bytes).hex()))
        });
        fs::write(self.source().join(MANIFEST), lines.collect::<String>()).unwrap();
    }

    async fn install(&self, sha256: Option<&str>) -> Result<Installed, ProvisionError> {
        let request = InstallRequest {
            source: Source::Folder(self.source()),
            manifest_sha256: sha256.map(str::to_owned),
            folder: self.place(),
        };
        install(&request, &()).await
    }

    /// What is installed, and nothing besides.
    fn installed(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in [self.place(), self.place().join("bin")] {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            let files = entries.filter(|entry| entry.path().is_file());
            found.extend(files.map(|entry| entry.file_name().into_string().unwrap()));
        }
        found.retain(|name| name != ".setup-lock");
        found.sort();
        found
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).unwrap().permissions().mode() & 0o111 == 0o111
}

#[tokio::test]
async fn a_folder_is_installed_once_and_then_is_there() {
    let scene = Scene::new();
    scene.fill("1.13.0", "1.13.0");
    let pin = Digest::of(&fs::read(scene.source().join(MANIFEST)).unwrap()).hex();
    let installed = scene.install(Some(&pin.to_uppercase())).await.unwrap();
    assert_eq!(installed.version.to_string(), "1.13.0");
    assert!(installed.parts.iter().all(|(_, path, was_there)| path.is_file() && !was_there));
    assert_eq!(scene.installed(), ["firecracker", "jailer", "vmlinux"]);
    assert!(is_program(&Part::Jailer.place(&scene.place())));
    assert!(!scene.place().join("downloads").exists());
    let again = scene.install(None).await.unwrap();
    assert!(again.parts.iter().all(|(_, _, was_there)| *was_there));
    scene.fill("1.14.0", "1.14.0");
    scene.put(Part::VhostDeviceVsock, b"#!/bin/sh\n");
    scene.list();
    assert_eq!(scene.install(None).await.unwrap().version.to_string(), "1.14.0");
    assert_eq!(scene.installed(), ["firecracker", "jailer", "vhost-device-vsock", "vmlinux"]);
}

#[tokio::test]
async fn whatever_is_wrong_is_named_and_nothing_changes() {
    let scene = Scene::new();
    scene.fill("1.13.0", "1.13.0");
    scene.install(None).await.unwrap();
    let before = fs::read(Part::Firecracker.place(&scene.place())).unwrap();
    let refused = async |expected: &str, sha256: Option<&str>| {
        let error = scene.install(sha256).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert_eq!(fs::read(Part::Firecracker.place(&scene.place())).unwrap(), before);
        assert_eq!(scene.installed(), ["firecracker", "jailer", "vmlinux"]);
    };
    refused("is not the list that was meant", Some(&Digest::of(b"other").hex())).await;
    refused("is not the 64 hexadecimal digits", Some("abc")).await;
    scene.fill("1.11.0", "1.11.0");
    refused("1.12.0 or later is needed", None).await;
    scene.fill("1.14.0", "1.13.0");
    refused("take both of one release", None).await;
    scene.fill("1.14.0", "1.14.0");
    scene.put(Part::Kernel, &kernel_file::small_kernel(200));
    scene.list();
    scene.put(Part::Kernel, &kernel_file::small_kernel(200)[..150]);
    refused("instead of", None).await;
    scene.list();
    refused("is truncated: it has 150 of at least 320 bytes", None).await;
    fs::remove_file(scene.source().join(Part::Jailer.file())).unwrap();
    refused("No such file", None).await;
    scene.list();
    refused("lists no jailer-", None).await;
    fs::write(scene.source().join(MANIFEST), "no list").unwrap();
    refused("sha256sum FILE", None).await;
}

#[tokio::test]
async fn a_mirror_is_not_read_without_the_digest_of_its_list() {
    let scene = Scene::new();
    let request = InstallRequest {
        source: Source::Mirror {
            address: "https://mirror.invalid/".to_owned(),
            settings: Box::new(RegistrySettings::default()),
        },
        manifest_sha256: None,
        folder: scene.place(),
    };
    assert!(matches!(install(&request, &()).await, Err(ProvisionError::NotPinned)));
    assert!(!scene.place().exists());
}

#[tokio::test]
async fn two_setups_at_once_both_succeed() {
    let scene = Scene::new();
    scene.fill("1.13.0", "1.13.0");
    let (one, other) = tokio::join!(scene.install(None), scene.install(None));
    let fresh = |installed: Installed| installed.parts.iter().filter(|(_, _, was_there)| !was_there).count();
    assert_eq!([fresh(one.unwrap()), fresh(other.unwrap())].iter().sum::<usize>(), 3);
}
