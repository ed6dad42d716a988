//! What each test begins with: an image in a fake registry, an empty store, settings.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use agentkernel_image::{
    Blobs, Digest, FetchedImage, ImageError, Patience, Platform, Reference, RegistrySettings, fetch,
};
use agentkernel_model::{PullEvent, PullProgress};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::Fake;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const REPOSITORY: &str = "team/app";

/// An image's documents and layers. Its layers are no archives: pulling doesn't look into them.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl Sample {
    /// Of this machine's platform, with layers of these sizes.
    pub(crate) fn new(sizes: &[usize]) -> Self {
        Self::of(sizes, &Platform::of_this_machine())
    }

    pub(crate) fn of(sizes: &[usize], platform: &Platform) -> Self {
        let noise = |number: usize, size: usize| {
            (0..size).map(|at| (at * 31 + at / 251 + number * 7) as u8).collect()
        };
        let layers: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(number, size)| noise(number, *size)).collect();
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(&layer[..layer.len() / 2])).collect();
        let name = platform.to_string();
        let parts: Vec<&str> = name.split('/').collect();
        let config = json!({
            "os": parts[0], "architecture": parts[1], "variant": parts.get(2),
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let descriptors: Vec<_> = layers.iter().map(|layer| descriptor(LAYER, layer)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config), "layers": descriptors});
        Self { layers, config, manifest: manifest.to_string().into_bytes() }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    pub(crate) fn layer_path(&self, number: usize) -> String {
        format!("/v2/{REPOSITORY}/blobs/{}", Digest::of(&self.layers[number]))
    }

    /// Into `fake`, under tag `1` and its digest.
    pub(crate) fn push(&self, fake: &Fake) {
        for tag in ["1".to_owned(), self.digest().to_string()] {
            fake.put(&format!("/v2/{REPOSITORY}/manifests/{tag}"), MANIFEST, &self.manifest);
        }
        for blob in self.layers.iter().chain([&self.config]) {
            fake.put(
                &format!("/v2/{REPOSITORY}/blobs/{}", Digest::of(blob)),
                "application/octet-stream",
                blob,
            );
        }
    }
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Vec<PullEvent>>);

impl PullProgress for Told {
    fn report(&self, event: PullEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Told {
    pub(crate) fn events(&self) -> Vec<PullEvent> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn retries(&self) -> Vec<String> {
        let why = |event| if let PullEvent::Retry { why } = event { Some(why) } else { None };
        self.events().into_iter().filter_map(why).collect()
    }
}

/// A registry and a store.
pub(crate) struct Scene {
    pub(crate) registry: Fake,
    pub(crate) settings: RegistrySettings,
    pub(crate) told: Told,
    folder: TempDir,
}

impl Scene {
    /// With `sample` under `team/app:1`.
    pub(crate) async fn with(sample: &Sample) -> Self {
        let registry = Fake::start().await;
        sample.push(&registry);
        let settings = settings(&registry.name);
        Self { registry, settings, told: Told::default(), folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn images(&self) -> std::path::PathBuf {
        self.folder.path().join("images")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn blobs(&self) -> Blobs {
        Blobs::new(&self.images())
    }

    pub(crate) fn reference(&self) -> Reference {
        format!("{}/{REPOSITORY}:1", self.registry.name).parse().unwrap()
    }

    pub(crate) async fn pull(&self) -> Result<FetchedImage, ImageError> {
        self.pull_as(&self.reference()).await
    }

    pub(crate) async fn pull_as(&self, reference: &Reference) -> Result<FetchedImage, ImageError> {
        fetch(&self.blobs(), reference, &self.settings, &self.told).await
    }

    /// The error's text of a pull that must fail.
    pub(crate) async fn refused(&self) -> String {
        self.pull().await.unwrap_err().to_string()
    }

    /// Every blob of `sample` is here, and nothing that isn't whole.
    pub(crate) fn assert_whole(&self, sample: &Sample) {
        for blob in sample.layers.iter().chain([&sample.config, &sample.manifest]) {
            let kept = self.blobs().read(&Digest::of(blob), u64::MAX).unwrap();
            assert!(kept.as_ref() == Some(blob), "{} must be here", Digest::of(blob));
        }
        self.assert_no_partial();
    }

    pub(crate) fn assert_no_partial(&self) {
        let left: Vec<_> = std::fs::read_dir(self.images().join("partial")).into_iter().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// For plain HTTP to `registry`, with little patience.
pub(crate) fn settings(registry: &str) -> RegistrySettings {
    let patience = Patience {
        connect: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        attempts: 4,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
    };
    let insecure = BTreeSet::from([registry.to_owned()]);
    RegistrySettings { insecure, patience, ..RegistrySettings::default() }
}
