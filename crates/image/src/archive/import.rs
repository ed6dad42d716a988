//! From a file, a folder or a stream to stored images.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use agentkernel_model::{ImageConfig, ImageId};
use serde::Serialize;

use super::manifest_document::{GZIP_LAYER_TYPE, PLAIN_LAYER_TYPE, ZSTD_LAYER_TYPE, manifest};
use super::members::{FileReader, FolderMembers, Members, TarMembers};
use super::{docker_save, oci_layout, rootfs};
use crate::config_document::ConfigDocument;
use crate::error::tame;
use crate::store::{Adding, LayerSource, NewImage, StoredLayer};
use crate::unpack::Decoder;
use crate::{Begun, Digest, ImageError, ImageStore, PartialBlob, Platform, Reference};

/// Where images come from.
pub enum ImportSource {
    /// A tar file, compressed or not, or the folder of an OCI layout.
    Path(PathBuf),
    /// A tar stream, compressed or not: standard input, or an engine's export.
    Stream(Box<dyn Read + Send>),
}

/// What is imported, and as what.
pub struct ImportRequest {
    /// Where from.
    pub source: ImportSource,
    /// What the image is called; empty takes the names in the archive. A tar of a root folder has none, and needs one here.
    pub names: Vec<Reference>,
    /// How commands start in an image made of a tar of a root folder; archives of images say that themselves.
    pub config: ImageConfig,
    /// Which of several platforms; this machine's where none is named.
    pub platform: Option<Platform>,
}

/// An image that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Which.
    pub id: ImageId,
    /// The whole names that it got; an image without any goes with the next prune.
    pub names: Vec<String>,
}

/// An image in an archive: what the archive says, so far as it is bounded and consistent.
pub(crate) struct FoundImage {
    pub(crate) names: Vec<Reference>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Option<Vec<u8>>,
    pub(crate) layers: Vec<FoundLayer>,
}

/// A layer in an archive.
pub(crate) struct FoundLayer {
    pub(crate) member: String,
    /// Digest and bytes of the blob, where the archive says them.
    pub(crate) expected: Option<(Digest, u64)>,
    pub(crate) media_type: Option<String>,
}

impl ImageStore {
    /// Takes the images of `request` in; which kind of archive it is shows in what it holds. Blocks.
    ///
    /// # Errors
    /// [`ImageError::Archive`] for what is no image; [`ImageError::Layer`]; what the file system gives. Images that were
    /// complete before something failed stay.
    pub fn import(&self, request: ImportRequest) -> Result<Vec<Imported>, ImageError> {
        let ImportRequest { source, names, config, platform } = request;
        let platform = platform.unwrap_or_else(Platform::of_this_machine);
        let adding = self.begin_adding()?;
        let import = Import { store: self, adding: &adding, origin: origin(&source) };
        let stored = match source {
            ImportSource::Path(path) if path.is_dir() => {
                let members = FolderMembers::open(&path).map_err(ImageError::io("open", &path))?;
                let found = oci_layout::read(&members, &platform).map_err(|why| import.refuse(why))?;
                let found = found.ok_or_else(|| {
                    import.refuse("a folder must be an OCI image layout (`oci-layout`, `index.json`)")
                })?;
                import.images(&members, found, &names)?
            }
            source => import.tar(source, &names, &config, &platform)?,
        };
        drop(adding);
        for (image, _) in &stored {
            self.settle_within_limit(image)?;
        }
        let imported = stored.into_iter().map(|(image, names)| Imported {
            id: image.id,
            names: names.iter().map(Reference::to_string).collect(),
        });
        Ok(imported.collect())
    }
}

fn origin(source: &ImportSource) -> String {
    match source {
        ImportSource::Path(path) => path.display().to_string(),
        ImportSource::Stream(_) => "the stream".to_owned(),
    }
}

type Stored = (crate::StoredImage, Vec<Reference>);

/// One import underway.
struct Import<'a> {
    store: &'a ImageStore,
    adding: &'a Adding,
    origin: String,
}

impl Import<'_> {
    fn refuse(&self, why: impl Into<String>) -> ImageError {
        ImageError::Archive { origin: self.origin.clone(), why: why.into() }
    }

    fn tar(
        &self,
        source: ImportSource,
        names: &[Reference],
        config: &ImageConfig,
        platform: &Platform,
    ) -> Result<Vec<Stored>, ImageError> {
        let (file, blob) = self.plain_file(source)?;
        let members = TarMembers::new(&file).map_err(|error| self.refuse(tame(&error.to_string())))?;
        let refuse = |why| self.refuse(why);
        let found = match docker_save::read(&members).map_err(refuse)? {
            Some(found) => Some(found),
            None => oci_layout::read(&members, platform).map_err(refuse)?,
        };
        match found {
            Some(found) => {
                let stored = self.images(&members, found, names);
                // What was unpacked on the way is of no use any more.
                if let Some((digest, _)) = blob {
                    self.store.blobs().remove(&digest)?;
                }
                stored
            }
            None => self.root_folder(&file, blob, names, config, platform),
        }
    }

    /// The tar as a file that can be read anywhere. What is compressed or comes as a stream becomes a blob first.
    fn plain_file(&self, source: ImportSource) -> Result<(File, Option<(Digest, u64)>), ImageError> {
        let mut limits = self.store.settings().unpack;
        let stream: Box<dyn Read + Send> = match source {
            ImportSource::Stream(stream) => stream,
            ImportSource::Path(path) => {
                let file = File::open(&path).map_err(ImageError::io("open", &path))?;
                let metadata = file.metadata().map_err(ImageError::io("look at", &path))?;
                if metadata.is_file() {
                    let start = BufReader::new(FileReader::new(&file));
                    let decoder = Decoder::new(start).map_err(|error| self.refuse(error.to_string()))?;
                    if decoder.is_plain() {
                        drop(decoder);
                        return Ok((file, None));
                    }
                    let bound = metadata.len().saturating_mul(limits.ratio).saturating_add(limits.free_bytes);
                    limits.stream_bytes = limits.stream_bytes.min(bound);
                }
                Box::new(file)
            }
        };
        let decoder = Decoder::new(BufReader::with_capacity(256 << 10, stream))
            .map_err(|error| self.refuse(error.to_string()))?;
        let blobs = self.store.blobs();
        let (digest, size) = blobs.take_in(decoder, limits.stream_bytes, &self.origin)?;
        let missing = || self.refuse("what was read of it is gone again");
        Ok((blobs.open(&digest)?.ok_or_else(missing)?, Some((digest, size))))
    }

    fn images(
        &self,
        members: &dyn Members,
        found: Vec<FoundImage>,
        names: &[Reference],
    ) -> Result<Vec<Stored>, ImageError> {
        match (found.len(), names.is_empty()) {
            (0, _) => return Err(self.refuse("it holds no image")),
            (1, _) | (_, true) => {}
            (count, false) => {
                return Err(
                    self.refuse(format!("it holds {count} images, which can't all get the same name"))
                );
            }
        }
        let mut kept = HashMap::new();
        let stored = found.into_iter().map(|image| {
            let names = if names.is_empty() { image.names.clone() } else { names.to_vec() };
            self.image(members, &image, &names, &mut kept).map(|stored| (stored, names))
        });
        stored.collect()
    }

    fn image(
        &self,
        members: &dyn Members,
        found: &FoundImage,
        names: &[Reference],
        kept: &mut HashMap<String, (Digest, u64)>,
    ) -> Result<crate::StoredImage, ImageError> {
        let document = ConfigDocument::parse(&found.config).map_err(|why| self.refuse(why))?;
        if document.diff_ids.len() != found.layers.len() {
            let (named, there) = (document.diff_ids.len(), found.layers.len());
            return Err(self.refuse(format!("its configuration names {named} layers, there are {there}")));
        }
        let mut layers = Vec::new();
        for (layer, diff_id) in found.layers.iter().zip(&document.diff_ids) {
            let (blob, blob_bytes) = match kept.get(&layer.member) {
                Some(known) => *known,
                None => self.keep(members, layer)?,
            };
            kept.insert(layer.member.clone(), (blob, blob_bytes));
            let media_type = match &layer.media_type {
                Some(media_type) => media_type.clone(),
                None => self.media_type(&blob)?.to_owned(),
            };
            let (bytes, hides_all_lower) = (0, false);
            layers.push(StoredLayer {
                diff_id: *diff_id,
                blob,
                blob_bytes,
                media_type,
                bytes,
                hides_all_lower,
            });
        }
        let manifest = match &found.manifest {
            Some(manifest) => manifest.clone(),
            None => manifest(&found.config, &layers).map_err(|error| self.refuse(error.to_string()))?,
        };
        self.commit(&found.config, &manifest, document, layers, names)
    }

    fn root_folder(
        &self,
        file: &File,
        blob: Option<(Digest, u64)>,
        names: &[Reference],
        config: &ImageConfig,
        platform: &Platform,
    ) -> Result<Vec<Stored>, ImageError> {
        if names.is_empty() {
            return Err(self.refuse(
                "it is no archive of images; as a tar of a root folder it needs a name for the image",
            ));
        }
        let (diff_id, blob_bytes) = match blob {
            Some(known) => known,
            None => {
                let limit = self.store.settings().unpack.stream_bytes;
                self.store.blobs().take_in(FileReader::new(file), limit, &self.origin)?
            }
        };
        let config = rootfs::config_document(diff_id, platform, config).map_err(|why| self.refuse(why))?;
        let document = ConfigDocument::parse(&config).map_err(|why| self.refuse(why))?;
        let layers = vec![StoredLayer {
            diff_id,
            blob: diff_id,
            blob_bytes,
            media_type: PLAIN_LAYER_TYPE.to_owned(),
            bytes: 0,
            hides_all_lower: false,
        }];
        let manifest = manifest(&config, &layers).map_err(|error| self.refuse(error.to_string()))?;
        let stored = self.commit(&config, &manifest, document, layers, names)?;
        Ok(vec![(stored, names.to_vec())])
    }

    /// Makes a layer of the archive a blob.
    fn keep(&self, members: &dyn Members, layer: &FoundLayer) -> Result<(Digest, u64), ImageError> {
        let unreadable = |error: io::Error| self.refuse(tame(&error.to_string()));
        let (source, size) = members
            .open(&layer.member)
            .map_err(unreadable)?
            .ok_or_else(|| self.refuse(format!("layer {:?} is missing in it", tame(&layer.member))))?;
        let blobs = self.store.blobs();
        let Some((digest, expected)) = layer.expected else {
            return blobs.take_in(source, size, "a layer");
        };
        if expected != size {
            return Err(self.refuse(format!("layer {digest} has {size} bytes instead of {expected}")));
        }
        if let Begun::Partial(partial) = blobs.begin(&digest, size)? {
            copy(source, *partial).map_err(|error| match error {
                ImageError::WrongDigest { found, .. } => {
                    self.refuse(format!("layer {digest} has digest {found}"))
                }
                other => other,
            })?;
        }
        Ok((digest, size))
    }

    fn media_type(&self, blob: &Digest) -> Result<&'static str, ImageError> {
        let missing = || self.refuse("a layer of it is gone again");
        let file = self.store.blobs().open(blob)?.ok_or_else(missing)?;
        match Decoder::new(BufReader::new(file)).map_err(|error| self.refuse(error.to_string()))? {
            Decoder::Plain(_) => Ok(PLAIN_LAYER_TYPE),
            Decoder::Gzip(_) => Ok(GZIP_LAYER_TYPE),
            Decoder::Zstd(_) => Ok(ZSTD_LAYER_TYPE),
        }
    }

    fn commit(
        &self,
        config: &[u8],
        manifest: &[u8],
        document: ConfigDocument,
        layers: Vec<StoredLayer>,
        names: &[Reference],
    ) -> Result<crate::StoredImage, ImageError> {
        let blobs = self.store.blobs();
        let (id, manifest) = (blobs.put(config)?.to_image_id(), blobs.put(manifest)?);
        self.unpack(&layers)?;
        let ConfigDocument { config, platform, created, .. } = document;
        self.adding.commit(NewImage { id, config, manifest, platform, created, layers }, names)
    }

    /// Two at a time; each has a thread that decompresses beside.
    fn unpack(&self, layers: &[StoredLayer]) -> Result<(), ImageError> {
        let waiting = Mutex::new(layers.iter());
        let work = || {
            loop {
                let next = waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                let Some(layer) = next else { return Ok(()) };
                self.adding.unpack(&LayerSource {
                    diff_id: layer.diff_id,
                    media_type: layer.media_type.clone(),
                    path: self.store.blobs().path(&layer.blob),
                })?;
            }
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(work);
            let own = work();
            own.and(other.join().unwrap_or_else(|_| Err(self.refuse("unpacking it failed"))))
        })
    }
}

fn copy(mut source: impl Read, mut partial: PartialBlob) -> Result<(), ImageError> {
    partial.restart()?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return partial.commit(),
            Ok(count) => partial.write(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ImageError::io("read", Path::new("a layer of the archive"))(error)),
        }
    }
}
