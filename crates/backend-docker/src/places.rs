//! The agent's own places in a container, before it is started. An engine mounts them one after the other and resolves
//! each in the container's root as it is then: a link that an image, or an earlier run, has left at one of them leads to a
//! place over which a later mount (a volume that the image declares, a folder of the user's) puts other files. What the
//! engine then starts as first process, with all that the agent is given, would be theirs.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use agentkernel_backend::BackendError;
use agentkernel_model::ImageId;
use bollard::query_parameters::{ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder};
use futures_util::StreamExt;
use futures_util::future::try_join_all;

use crate::EngineKind;
use crate::backend::Parts;
use crate::boot::mount_points;
use crate::connection::Connected;
use crate::failure::{failed, status};
use crate::program::{self, Way};

/// The bit of a symbolic link in a mode as engines tell it (Go's io/fs, `ModeSymlink`).
const LINK: u32 = 1 << 27;

/// The unit of tar streams.
const BLOCK: usize = 512;

/// Refuses a container that was made and doesn't run, and has anything but files and folders at our places.
pub(crate) async fn check(engine: &Connected, container: &str, way: Way) -> Result<(), BackendError> {
    let places: &[&str] = match way {
        Way::Door => &[program::PROGRAM, program::DOOR],
        Way::Engine => &[program::PROGRAM_VOLUME, program::OWN],
    };
    for point in mount_points(engine, container).await? {
        let is_below = Path::new(&point).starts_with(program::FOLDER);
        if is_below && point != program::OWN && !places.contains(&point.as_str()) {
            return Err(refusal(&point, "a volume of the image's"));
        }
    }
    check_one(engine, container, program::FOLDER).await?;
    match engine.facts.kind {
        EngineKind::Docker => {
            try_join_all(places.iter().map(|place| check_one(engine, container, place))).await.map(drop)
        }
        // It would show what is going to be mounted there, and not what it is mounted on.
        EngineKind::Podman => check_folder(engine, container, places).await,
    }
}

fn refusal(place: &str, what: &str) -> BackendError {
    BackendError::Invalid {
        what: format!(
            "there is {what} at {place} of the sandbox, which is agentkernel's own place: its image, or what ran in it \
             before, has put it there to be started instead of the agent; don't use it"
        ),
    }
}

async fn check_one(engine: &Connected, container: &str, place: &str) -> Result<(), BackendError> {
    let options = ContainerArchiveInfoOptionsBuilder::default().path(place).build();
    match engine.docker.get_container_archive_info(container, Some(options)).await {
        Ok(found) if found.file_mode & LINK != 0 => Err(refusal(place, "a symbolic link")),
        Ok(_) => Ok(()),
        // The engine makes it.
        Err(error) if status(&error) == Some(404) => Ok(()),
        Err(error) => Err(failed(format!("look at {place} of a container"))(error)),
    }
}

async fn check_folder(engine: &Connected, container: &str, places: &[&str]) -> Result<(), BackendError> {
    let step = || format!("look at {} of a container", program::FOLDER);
    let options = DownloadFromContainerOptionsBuilder::default().path(program::FOLDER).build();
    let mut chunks = engine.docker.download_from_container(container, Some(options)).boxed();
    let mut kinds = Kinds::default();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => {
                kinds.read(&chunk).map_err(|source| BackendError::runtime(step(), source))?;
            }
            Err(error) if status(&error) == Some(404) => return Ok(()),
            Err(error) => return Err(failed(step())(error)),
        }
    }
    for place in places {
        if matches!(kinds.found.get(place.trim_start_matches('/')), Some(false)) {
            return Err(refusal(place, "a link"));
        }
    }
    Ok(())
}

/// Reads a tar stream of a folder in pieces, and keeps whether its direct entries are files and folders. Names that are
/// longer than a header holds are none of ours.
#[derive(Default)]
struct Kinds {
    found: BTreeMap<String, bool>,
    header: Vec<u8>,
    /// Bytes of content that are still to come.
    skipped: u64,
}

impl Kinds {
    fn read(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let skipped = bytes.len().min(usize::try_from(self.skipped).unwrap_or(usize::MAX));
            self.skipped -= skipped as u64;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - self.header.len()));
            self.header.extend(head);
            bytes = rest;
            if self.header.len() == BLOCK {
                self.entry()?;
                self.header.clear();
            }
        }
        Ok(())
    }

    fn entry(&mut self) -> io::Result<()> {
        // The end is made of zeros.
        if self.header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let header = tar::Header::from_byte_slice(&self.header);
        let name = String::from_utf8_lossy(&header.path_bytes()).trim_matches('/').to_owned();
        let kind = header.entry_type();
        if name.matches('/').count() <= 1 && !kind.is_pax_local_extensions() {
            self.found.insert(name, kind.is_file() || kind.is_dir());
        }
        let size = header.entry_size()?;
        let blocks = size.div_ceil(BLOCK as u64);
        self.skipped = blocks.checked_mul(BLOCK as u64).ok_or(io::ErrorKind::InvalidData)?;
        Ok(())
    }
}

/// Whether containers of `image` were found to have none, when fresh and without mounts. An image's id is the digest of
/// all its content, so that this holds for ever.
pub(crate) fn is_known_good(parts: &Parts, image: &ImageId) -> bool {
    note(parts, image).exists()
}

/// Remembers that. Best effort: the next box looks again.
pub(crate) fn remember_good(parts: &Parts, image: &ImageId) {
    let path = note(parts, image);
    let written =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, b""));
    if let Err(error) = written {
        tracing::debug!(%error, path = %path.display(), "an image's check isn't remembered");
    }
}

fn note(parts: &Parts, image: &ImageId) -> std::path::PathBuf {
    parts.folder().join("images").join(image.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_s_entries_are_told_apart_however_they_arrive() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, kind: tar::EntryType, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content).unwrap();
        };
        add("own/", tar::EntryType::Directory, b"");
        add("own/a", tar::EntryType::Regular, &[b'x'; 700]);
        add("own/a/deep", tar::EntryType::Symlink, b"");
        add("own/door", tar::EntryType::Symlink, b"");
        add("own/hard", tar::EntryType::Link, b"");
        let bytes = builder.into_inner().unwrap();
        let expected = [("own", true), ("own/a", true), ("own/door", false), ("own/hard", false)];
        for size in [1, 7, 512, 4096] {
            let mut kinds = Kinds::default();
            bytes.chunks(size).for_each(|chunk| kinds.read(chunk).unwrap());
            assert_eq!(kinds.found, expected.map(|(name, plain)| (name.to_owned(), plain)).into(), "{size}");
        }
        let mut kinds = Kinds::default();
        assert!(kinds.read(&[b'x'; 512]).is_err());
    }
}
