//! From a source to files in their place.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use agentkernel_image::{Blobs, Digest, Hasher};
use agentkernel_model::{PullEvent, PullProgress};
use rustix::fs::{FlockOperation, flock};

use super::manifest::{digest_of, parse};
use super::source::Opened;
use super::{Part, ProvisionError, Source, check_kernel, version_of};
use crate::api::Version;
use crate::start;

/// What to install.
pub struct InstallRequest {
    /// From where.
    pub source: Source,
    /// The digest of the source's list, as hexadecimal digits. A mirror is not read without.
    pub manifest_sha256: Option<String>,
    /// The folder of this backend.
    pub folder: PathBuf,
}

/// What was installed.
#[derive(Debug)]
pub struct Installed {
    /// Each with where it is, and whether it was there already.
    pub parts: Vec<(Part, PathBuf, bool)>,
    /// The version of Firecracker.
    pub version: Version,
}

/// Gets the files, makes sure that they are what the list says and of use, and puts them in place. One process at a time;
/// another waits and then finds most of it done. What was fetched when it fails is of use to the next attempt.
///
/// # Errors
/// [`ProvisionError`]; nothing that was in place has changed then, unless the file system refuses in the last step.
pub async fn install(
    request: &InstallRequest,
    progress: &dyn PullProgress,
) -> Result<Installed, ProvisionError> {
    let InstallRequest { source, manifest_sha256, folder } = request;
    let origin = source.manifest();
    let wrong_manifest = |why: String| ProvisionError::Manifest { origin: origin.clone(), why };
    let pinned = match manifest_sha256 {
        Some(hex) => {
            let why = || wrong_manifest(format!("{hex:?} is not the 64 hexadecimal digits of a SHA-256"));
            Some(digest_of(hex).ok_or_else(why)?)
        }
        None if matches!(source, Source::Mirror { .. }) => return Err(ProvisionError::NotPinned),
        None => None,
    };
    let opened = source.open()?;
    progress.report(PullEvent::Resolving { reference: origin.clone() });
    let bytes = opened.manifest(progress).await?;
    let found = Digest::of(&bytes);
    if let Some(expected) = pinned.filter(|expected| *expected != found) {
        return Err(ProvisionError::WrongManifest { origin, expected, found });
    }
    let wanted = wanted(&parse(&bytes).map_err(wrong_manifest)?, &origin)?;
    start::make_private(folder).map_err(ProvisionError::io("make", folder))?;
    let _alone = alone(folder, progress).await?;
    let downloads = folder.join("downloads");
    let staged = stage(&wanted, &opened, folder, &Blobs::new(&downloads), progress).await?;
    let version = check(&staged).await?;
    put_in_place(&staged, folder)?;
    match fs::remove_dir_all(&downloads) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "what was fetched and isn't needed any more could not be removed");
        }
        _ => {}
    }
    let parts = staged.into_iter().map(|staged| (staged.part, staged.part.place(folder), staged.is_there));
    Ok(Installed { parts: parts.collect(), version })
}

fn wanted(files: &BTreeMap<String, Digest>, origin: &str) -> Result<Vec<(Part, Digest)>, ProvisionError> {
    let mut wanted = Vec::new();
    for part in Part::ALL {
        match files.get(&part.file()) {
            Some(digest) => wanted.push((part, *digest)),
            None if part.is_required() => {
                return Err(ProvisionError::NotListed { origin: origin.to_owned(), file: part.file() });
            }
            None => {}
        }
    }
    Ok(wanted)
}

/// Nobody else installs while this is open.
async fn alone(folder: &Path, progress: &dyn PullProgress) -> Result<File, ProvisionError> {
    let path = folder.join(".setup-lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(ProvisionError::io("open", &path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(file);
    }
    progress
        .report(PullEvent::Retry { why: "another setup is at work; this one goes on after it".to_owned() });
    let waited = tokio::task::spawn_blocking(move || {
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                other => return other.map(|()| file),
            }
        }
    });
    let failed = ProvisionError::io("lock", path);
    match waited.await {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(error)) => Err(failed(error.into())),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}

/// A file that is what the list says.
struct Staged {
    part: Part,
    /// Where it is now.
    path: PathBuf,
    /// Whether that is its place.
    is_there: bool,
}

async fn stage(
    wanted: &[(Part, Digest)],
    source: &Opened,
    folder: &Path,
    blobs: &Blobs,
    progress: &dyn PullProgress,
) -> Result<Vec<Staged>, ProvisionError> {
    let mut staged = Vec::new();
    for &(part, digest) in wanted {
        let place = part.place(folder);
        if digest_of_file(&place).map_err(ProvisionError::io("read", &place))? == Some(digest) {
            progress.report(PullEvent::LayerPresent { id: part.file() });
            staged.push(Staged { part, path: place, is_there: true });
            continue;
        }
        source.fetch(part, digest, blobs, progress).await?;
        let path = blobs.path(&digest);
        let mode = if part.is_program() { 0o755 } else { 0o444 };
        fs::set_permissions(&path, Permissions::from_mode(mode))
            .map_err(ProvisionError::io("make executable", &path))?;
        staged.push(Staged { part, path, is_there: false });
    }
    Ok(staged)
}

fn digest_of_file(path: &Path) -> io::Result<Option<Digest>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match io::Read::read(&mut file, &mut buffer) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether they are of use, and belong together.
async fn check(staged: &[Staged]) -> Result<Version, ProvisionError> {
    let mut found = Vec::new();
    for Staged { part, path, .. } in staged {
        let unusable = |why| ProvisionError::Unusable { file: part.file(), why };
        match part {
            Part::Kernel => check_kernel(path).map_err(unusable)?,
            Part::Firecracker | Part::Jailer => found.push(version_of(*part, path).await.map_err(unusable)?),
            Part::VhostDeviceVsock => {}
        }
    }
    match found.as_slice() {
        [firecracker, jailer] if firecracker == jailer => Ok(*firecracker),
        [firecracker, jailer] => Err(ProvisionError::Unusable {
            file: Part::Jailer.file(),
            why: format!(
                "it is of version {jailer}, and Firecracker of {firecracker}: take both of one release"
            ),
        }),
        _ => Err(ProvisionError::Unusable {
            file: Part::Firecracker.file(),
            why: "it says no version".to_owned(),
        }),
    }
}

/// Each file whole: a machine that starts meanwhile gets the old or the new one.
fn put_in_place(staged: &[Staged], folder: &Path) -> Result<(), ProvisionError> {
    let programs = folder.join("bin");
    start::make_private(&programs).map_err(ProvisionError::io("make", &programs))?;
    for Staged { part, path, .. } in staged.iter().filter(|staged| !staged.is_there) {
        fs::rename(path, part.place(folder)).map_err(ProvisionError::io("install", path))?;
    }
    for folder in [programs.as_path(), folder] {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(ProvisionError::io("write", folder))?;
    }
    Ok(())
}
