//! Why nothing was installed.

use std::io;
use std::path::PathBuf;

use agentkernel_image::{Digest, ImageError, MirrorError};

/// Why nothing was installed. Whatever it is, what was there before still is.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// A mirror without a digest: whoever has the mirror, or stands before it, would choose what runs.
    #[error(
        "the digest of the mirror's SHA256SUMS is needed: get it from who runs the mirror, by another way than the mirror, \
         and give it with --sha256 HEX"
    )]
    NotPinned,
    /// The list isn't the one that was meant.
    #[error(
        "{origin} has digest {found} instead of {expected}: it is not the list that was meant; nothing was changed"
    )]
    WrongManifest {
        /// Where it came from.
        origin: String,
        /// What was asked for.
        expected: Digest,
        /// What it has.
        found: Digest,
    },
    /// The list can't be understood.
    #[error("{origin}: {why}; `sha256sum FILE... > SHA256SUMS` writes it")]
    Manifest {
        /// Where it came from.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// The list lacks something.
    #[error(
        "{origin} lists no {file}: it must name firecracker-ARCH, jailer-ARCH and vmlinux-ARCH of this machine"
    )]
    NotListed {
        /// Where it came from.
        origin: String,
        /// What is missing.
        file: String,
    },
    /// The mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// A file that can't be kept, or isn't what the list says.
    #[error(transparent)]
    Keep(#[from] ImageError),
    /// A file that is what the list says, and no use.
    #[error("{file} can't be used: {why}; nothing was changed")]
    Unusable {
        /// Its name.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file system refused.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// A verb.
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ProvisionError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
