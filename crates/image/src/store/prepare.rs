//! From a reference to an image that a box can start from.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use agentkernel_model::{ImageRef, PullEvent, PullPolicy, PullProgress};
use futures_util::future::{Either, select};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_blocking};

use super::names::is_nameable;
use super::{Adding, ImageStore, LayerSource, NewImage, StoredImage, StoredLayer};
use crate::config_document::ConfigDocument;
use crate::{
    CONFIG_BYTES_MAX, Digest, FetchedImage, ImageError, Layer, Pull, Reference, RegistrySettings, resolve,
};

/// Layers that are unpacked at the same moment; each has a thread that decompresses beside.
const UNPACKED_AT_ONCE: usize = 2;

impl ImageStore {
    /// Finds an image or fetches it, as `policy` says, and makes sure that it is unpacked. Two that fetch the same at once
    /// do the work once. Unpacking goes on beside the fetching of further layers.
    ///
    /// # Errors
    /// [`ImageError::Missing`] where it isn't here and may not be fetched; what fetching and unpacking give. What was
    /// fetched until then is of use to the next attempt.
    pub async fn prepare(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        settings: &RegistrySettings,
        progress: &dyn PullProgress,
    ) -> Result<StoredImage, ImageError> {
        if policy != PullPolicy::Always
            && let Some(found) = self.find(image)?
        {
            match self.with_layers(found).await {
                // Somebody removed it in this moment: it is fetched as if it had never been here.
                Err(ImageError::Missing { .. }) => {}
                other => return other,
            }
        }
        let missing = || ImageError::Missing { image: image.to_string() };
        let by_id = image.as_str().starts_with("sha256:");
        if by_id && let Some(found) = self.find(image)? {
            return self.with_layers(found).await;
        }
        if policy == PullPolicy::Never || by_id || image.is_host() {
            return Err(missing());
        }
        let reference = Reference::try_from(image)?;
        let adding = self.adding().await?;
        let pull = resolve(self.blobs(), &reference, settings, progress).await?;
        let names = reference_names(&reference, pull.image())?;
        if let Some(found) = self.get(&pull.image().config)?
            && self.is_unpacked(&found)?
            && self.add_names(&found.id, &names)?.is_some()
        {
            report_present(&found, progress);
            return Ok(found);
        }
        let adding = self.room_for(&pull, adding).await?;
        let fetched = Fetching::start(adding, &pull)?.run(&pull, progress).await?;
        let new = self.described(pull.image())?;
        let stored = blocking(move || fetched.commit(new, &names)).await?;
        self.within_limit(&stored).await?;
        Ok(stored)
    }

    async fn with_layers(&self, image: StoredImage) -> Result<StoredImage, ImageError> {
        if self.is_unpacked(&image)? {
            return Ok(image);
        }
        let store = self.clone();
        blocking(move || store.unpack_missing(&image).map(|()| image)).await
    }

    async fn adding(&self) -> Result<Adding, ImageError> {
        let store = self.clone();
        blocking(move || store.begin_adding()).await
    }

    /// Makes room for what will be fetched, as far as that is known before it is unpacked.
    async fn room_for(&self, pull: &Pull, adding: Adding) -> Result<Adding, ImageError> {
        if self.settings().max_bytes.is_none() {
            return Ok(adding);
        }
        let mut needed: u64 = 0;
        let mut kept = BTreeSet::from([pull.image().manifest_digest, Digest::from(&pull.image().config)]);
        for layer in &pull.image().layers {
            if self.unpacked(&layer.diff_id)?.is_none() {
                kept.insert(layer.digest);
                // At least as much again when it is unpacked.
                let fetched = self.blobs().size(&layer.digest)?.unwrap_or(0);
                needed = needed.saturating_add((2 * layer.size).saturating_sub(fetched));
            }
        }
        drop(adding);
        let (store, id) = (self.clone(), pull.image().config.clone());
        blocking(move || {
            store.make_room(needed, Some(&id), &kept)?;
            store.begin_adding()
        })
        .await
    }

    /// Now that its size is known. An image that can't stay goes again.
    async fn within_limit(&self, image: &StoredImage) -> Result<(), ImageError> {
        if self.settings().max_bytes.is_none() {
            return Ok(());
        }
        let (store, image) = (self.clone(), image.clone());
        blocking(move || store.settle_within_limit(&image)).await
    }

    /// What the configuration of a fetched image says, checked.
    fn described(&self, image: &FetchedImage) -> Result<NewImage, ImageError> {
        let digest = Digest::from(&image.config);
        let missing = || ImageError::Missing { image: image.config.to_string() };
        let bytes = self.blobs().read(&digest, CONFIG_BYTES_MAX)?.ok_or_else(missing)?;
        let unsupported = |why| ImageError::Unsupported { reference: image.config.short().to_owned(), why };
        let document = ConfigDocument::parse(&bytes).map_err(unsupported)?;
        Ok(NewImage {
            id: image.config.clone(),
            config: document.config,
            manifest: image.manifest_digest,
            platform: document.platform,
            created: document.created,
            layers: image.layers.iter().map(stored_layer).collect(),
        })
    }
}

/// Layers of one image on their way.
struct Fetching {
    adding: Arc<Adding>,
    /// Layers whose blobs are here go in; closed when no more come.
    arrived: Sender<LayerSource>,
    done: UnboundedReceiver<Result<Digest, ImageError>>,
    workers: Vec<JoinHandle<()>>,
    present: BTreeSet<Digest>,
}

impl Fetching {
    fn start(adding: Adding, pull: &Pull) -> Result<Self, ImageError> {
        let mut present = BTreeSet::new();
        for layer in &pull.image().layers {
            if adding.store().unpacked(&layer.diff_id)?.is_some() {
                present.insert(layer.diff_id);
            }
        }
        let adding = Arc::new(adding);
        let (arrived, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let (tell, done) = unbounded_channel();
        let workers = (0..UNPACKED_AT_ONCE).map(|_| {
            let (adding, waiting, tell) = (Arc::clone(&adding), Arc::clone(&waiting), tell.clone());
            spawn_blocking(move || unpack_arriving(&adding, &waiting, &tell))
        });
        let workers = workers.collect();
        Ok(Self { adding, arrived, done, workers, present })
    }

    /// Until all layers are here and unpacked, or one fails.
    async fn run(self, pull: &Pull, progress: &dyn PullProgress) -> Result<Arc<Adding>, ImageError> {
        let Self { adding, arrived, mut done, workers, present } = self;
        for layer in pull.image().layers.iter().filter(|layer| present.contains(&layer.diff_id)) {
            progress.report(PullEvent::LayerPresent { id: layer.digest.short() });
        }
        let fetch = async move {
            let wanted = |layer: &Layer| !present.contains(&layer.diff_id);
            let arrived = |layer: &Layer, path| {
                let source =
                    LayerSource { diff_id: layer.diff_id, media_type: layer.media_type.clone(), path };
                if arrived.send(source).is_err() {
                    tracing::debug!("unpacking has failed: a layer that arrived is not unpacked");
                }
            };
            pull.layers(wanted, arrived, progress).await
        };
        let unpack = async {
            while let Some(layer) = done.recv().await {
                let diff_id = layer?;
                let of = pull.image().layers.iter().find(|layer| layer.diff_id == diff_id);
                if let Some(layer) = of {
                    progress.report(PullEvent::LayerDone { id: layer.digest.short() });
                }
            }
            Ok(())
        };
        // A layer that can't be unpacked ends the fetching of others; one that can't be fetched doesn't wait for others.
        match select(pin!(fetch), pin!(unpack)).await {
            Either::Left((fetched, unpack)) => {
                fetched?;
                unpack.await?;
            }
            Either::Right((unpacked, _)) => unpacked?,
        }
        for worker in workers {
            worker.await.map_err(thread_failed)?;
        }
        Ok(adding)
    }
}

/// Unpacks what arrives until no more can, or something fails.
fn unpack_arriving(
    adding: &Adding,
    waiting: &Mutex<Receiver<LayerSource>>,
    tell: &UnboundedSender<Result<Digest, ImageError>>,
) {
    loop {
        // Whoever has the lock waits for the next layer; the other is unpacking, or waits for the lock.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(layer) = next else { return };
        let unpacked = adding.unpack(&layer).map(|_| layer.diff_id);
        let failed = unpacked.is_err();
        if tell.send(unpacked).is_err() || failed {
            return;
        }
    }
}

/// Runs `work` where blocking is fine.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    spawn_blocking(work).await.map_err(thread_failed)?
}

fn thread_failed(error: tokio::task::JoinError) -> ImageError {
    let source = std::io::Error::other(error);
    ImageError::Io { action: "unpack into", path: "the image store".into(), source }
}

/// What the registry says that means it, but names by digest that no file can have.
fn reference_names(reference: &Reference, image: &FetchedImage) -> Result<Vec<Reference>, ImageError> {
    let mut names = Vec::new();
    for name in &image.names {
        let name: Reference = name.parse()?;
        if name.digest().is_none() || name == *reference || is_nameable(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.push(reference.clone());
    }
    Ok(names)
}

fn stored_layer(layer: &Layer) -> StoredLayer {
    StoredLayer {
        diff_id: layer.diff_id,
        blob: layer.digest,
        blob_bytes: layer.size,
        media_type: layer.media_type.clone(),
        bytes: 0,
        hides_all_lower: false,
    }
}

fn report_present(image: &StoredImage, progress: &dyn PullProgress) {
    for layer in &image.layers {
        progress.report(PullEvent::LayerPresent { id: layer.blob.short() });
    }
}
