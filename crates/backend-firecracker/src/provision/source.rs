//! Where files come from.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use agentkernel_image::{Begun, Blobs, Digest, Mirror, RegistrySettings};
use agentkernel_model::{PullEvent, PullProgress};

use super::manifest::MANIFEST_BYTES_MAX;
use super::{MANIFEST, Part, ProvisionError};

/// A folder with `SHA256SUMS` and the files that it lists.
pub enum Source {
    /// On this computer.
    Folder(PathBuf),
    /// On a web server, reached as registries are.
    Mirror {
        /// Its address.
        address: String,
        /// Proxies, certificate authorities, patience.
        settings: Box<RegistrySettings>,
    },
}

/// One that can be read.
pub(super) enum Opened {
    Folder(PathBuf),
    Mirror(Box<Mirror>),
}

impl Source {
    /// For people: where the list is.
    pub(super) fn manifest(&self) -> String {
        match self {
            Self::Folder(folder) => folder.join(MANIFEST).display().to_string(),
            Self::Mirror { address, .. } => format!("{}/{MANIFEST}", address.trim_end_matches('/')),
        }
    }

    pub(super) fn open(&self) -> Result<Opened, ProvisionError> {
        Ok(match self {
            Self::Folder(folder) => Opened::Folder(folder.clone()),
            Self::Mirror { address, settings } => Opened::Mirror(Box::new(Mirror::open(address, settings)?)),
        })
    }
}

impl Opened {
    /// The list, as it is.
    pub(super) async fn manifest(&self, progress: &dyn PullProgress) -> Result<Vec<u8>, ProvisionError> {
        match self {
            Self::Mirror(mirror) => Ok(mirror.read(MANIFEST, MANIFEST_BYTES_MAX, progress).await?),
            Self::Folder(folder) => {
                let path = folder.join(MANIFEST);
                let mut bytes = Vec::new();
                File::open(&path)
                    .and_then(|file| file.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes))
                    .map_err(ProvisionError::io("read", path))?;
                Ok(bytes)
            }
        }
    }

    /// Makes sure that a file is in `blobs`.
    pub(super) async fn fetch(
        &self,
        part: Part,
        digest: Digest,
        blobs: &Blobs,
        progress: &dyn PullProgress,
    ) -> Result<(), ProvisionError> {
        match self {
            Self::Mirror(mirror) => {
                Ok(mirror.fetch(&part.file(), digest, part.bytes_max(), blobs, progress).await?)
            }
            Self::Folder(folder) => copy(folder.join(part.file()), part, digest, blobs, progress),
        }
    }
}

fn copy(
    path: PathBuf,
    part: Part,
    digest: Digest,
    blobs: &Blobs,
    progress: &dyn PullProgress,
) -> Result<(), ProvisionError> {
    let failed = |action| ProvisionError::io(action, path.clone());
    let mut file = File::open(&path).map_err(failed("read"))?;
    let bytes = file.metadata().map_err(failed("read"))?.len();
    if bytes > part.bytes_max() {
        let why = format!("it has {bytes} bytes, at most {} are taken", part.bytes_max());
        return Err(ProvisionError::Unusable { file: part.file(), why });
    }
    let Begun::Partial(mut partial) = blobs.begin(&digest, bytes)? else { return Ok(()) };
    // It costs less to copy it again than to find out whether what is there is right.
    partial.restart()?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if let Err(error) = partial.write(&buffer[..count]) {
                    // There may be no room for it: the rest of the machine needs what there is.
                    partial.discard()?;
                    return Err(error.into());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("read")(error)),
        }
    }
    if let Err(found) = partial.verify() {
        partial.discard()?;
        let (what, origin) = (part.file(), path.display().to_string());
        return Err(
            agentkernel_image::ImageError::WrongDigest { what, origin, expected: digest, found }.into()
        );
    }
    partial.commit()?;
    progress.report(PullEvent::LayerDone { id: part.file() });
    Ok(())
}
