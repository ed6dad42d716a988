//! Unpacking in this very process.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use agentkernel_sys::remove_tree::remove_contents;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Ownership, UnpackError, UnpackReport, UnpackRequest, Unpacker, unpack_layer};
use crate::ImageError;

/// Unpacks as whoever this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direct {
    ownership: Ownership,
}

impl Direct {
    /// As root, or root of a user namespace, with the image's own owners; as anybody else without.
    pub fn new() -> Self {
        match rustix::process::geteuid().is_root() {
            true => Self { ownership: Ownership::Keep },
            false => Self { ownership: Ownership::Ignore },
        }
    }

    /// With the owners that the caller decides: root of a user namespace without further ids can't keep the image's.
    pub fn with(ownership: Ownership) -> Self {
        Self { ownership }
    }

    fn unpack_into(&self, request: &UnpackRequest) -> Result<UnpackReport, ImageError> {
        let UnpackRequest { blob, target, .. } = request;
        let source = File::open(blob).map_err(ImageError::io("open", blob))?;
        let compressed = source.metadata().map_err(ImageError::io("read", blob))?.len();
        rustix::fs::mkdir(target, Mode::RWXU).map_err(ImageError::io("make", target))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder =
            rustix::fs::open(target, flags, Mode::empty()).map_err(ImageError::io("open", target))?;
        let failed = |source| ImageError::Layer { diff_id: request.diff_id, source };
        let (report, found) =
            unpack_layer(source, compressed, folder, self.ownership, request.limits).map_err(failed)?;
        match found == request.diff_id {
            true => Ok(report),
            false => Err(failed(UnpackError::WrongContent { expected: request.diff_id, found })),
        }
    }
}

impl Default for Direct {
    fn default() -> Self {
        Self::new()
    }
}

impl Unpacker for Direct {
    fn kind(&self) -> String {
        match self.ownership {
            Ownership::Keep => "root".to_owned(),
            Ownership::Ignore => "single".to_owned(),
        }
    }

    fn unpack(&self, request: &UnpackRequest) -> Result<UnpackReport, ImageError> {
        self.unpack_into(request)
    }

    fn remove(&self, folder: &Path) -> Result<(), ImageError> {
        remove_folder(folder)
    }
}

/// Removes a folder whatever a stranger's layer put into it; links are never followed.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), ImageError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(folder, flags, Mode::empty()) {
        // A layer may take the right to look into it from its owner.
        Err(Errno::ACCESS) => rustix::fs::chmod(folder, Mode::RWXU)
            .and_then(|()| rustix::fs::open(folder, flags, Mode::empty())),
        other => other,
    };
    let removed = opened
        .and_then(|handle| {
            rustix::fs::fchmod(&handle, Mode::RWXU)?;
            remove_contents(handle.as_fd())
        })
        .and_then(|()| rustix::fs::rmdir(folder));
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(ImageError::io("remove", folder)(errno)),
    }
}
