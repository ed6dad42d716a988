//! What can go wrong with images.

use std::io;
use std::path::{Path, PathBuf};

use crate::Digest;
use crate::unpack::UnpackError;

/// Why an image could not be found, fetched, stored, unpacked, imported or exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A text is not an image reference.
    #[error("image {text:?} is not valid: {why}")]
    Reference {
        /// The text, shortened.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A text is not a digest that we can verify.
    #[error("digest {text:?} is not `sha256:` and 64 lower-case hex digits")]
    Digest {
        /// The text, shortened.
        text: String,
    },
    /// No registry that could have the image answers.
    #[error(
        "image {reference} is not here and registry {registry} can't be reached: {why}; without it: \
         `agentkernel image import FILE`, an image of `agentkernel image list`, or `--backend native --image host`"
    )]
    Unreachable {
        /// What was asked for.
        reference: String,
        /// Who should have it.
        registry: String,
        /// Each attempt and why it failed.
        why: String,
    },
    /// The registry answers, and doesn't have it.
    #[error("registry {registry} has no image {reference}{why}; check the name and tag")]
    NotFound {
        /// What was asked for.
        reference: String,
        /// Who was asked.
        registry: String,
        /// What the registry said, or nothing.
        why: String,
    },
    /// The registry has it for others.
    #[error("registry {registry} doesn't give image {reference} to {who}{why}; {fix}")]
    Denied {
        /// What was asked for.
        reference: String,
        /// Who was asked.
        registry: String,
        /// `everybody`, or whose credentials were shown.
        who: String,
        /// What the registry said, or nothing.
        why: String,
        /// What to do.
        fix: String,
    },
    /// The registry or a mirror says something that it must not say.
    #[error("registry {registry} gave a wrong answer for {what}: {why}")]
    Answer {
        /// Who was asked.
        registry: String,
        /// For what.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Content that isn't what its digest says: never kept.
    #[error("{what} from {origin} has digest {found} instead of {expected}; nothing of it was kept")]
    WrongDigest {
        /// A layer, a manifest, ....
        what: String,
        /// Where it came from.
        origin: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// Content that isn't as long as its descriptor says.
    #[error("{what} from {origin} has {found} instead of {expected} bytes")]
    WrongSize {
        /// A layer, a manifest, ....
        what: String,
        /// Where it came from.
        origin: String,
        /// What its descriptor says.
        expected: u64,
        /// `more than 5`, `3`.
        found: String,
    },
    /// Something above a limit.
    #[error("{what} has {found} {unit}, at most {limit} are taken{fix}")]
    TooLarge {
        /// A layer, a manifest, ....
        what: String,
        /// How much it has.
        found: u64,
        /// Of what: `bytes`, `layers`.
        unit: &'static str,
        /// How much is taken.
        limit: u64,
        /// What to do, with a leading semicolon, or nothing.
        fix: &'static str,
    },
    /// An image that exists, but not for this machine.
    #[error(
        "image {reference} has nothing for platform {wanted}; there is {available}; choose another image or, to take one that this machine can't run by itself, name its platform"
    )]
    Platform {
        /// What was asked for.
        reference: String,
        /// The platform.
        wanted: String,
        /// Those that there are.
        available: String,
    },
    /// Something that is well formed and that we don't take.
    #[error("image {reference} can't be used: {why}")]
    Unsupported {
        /// The image.
        reference: String,
        /// Why.
        why: String,
    },
    /// Stored credentials can't be read.
    #[error(
        "the credentials of registry {registry} can't be had from {origin}: {why}; repair it or run `docker logout {registry}`"
    )]
    Credentials {
        /// Whose.
        registry: String,
        /// A file or a credential helper.
        origin: String,
        /// Why.
        why: String,
    },
    /// A setting that can't be honoured.
    #[error("setting {setting} has value {value:?}: {why}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Its value, without secrets.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// An image that isn't here, or of which something isn't here any more.
    #[error(
        "image {image} is not here; `agentkernel image pull` fetches it, `agentkernel image import` takes it from a file"
    )]
    Missing {
        /// What was asked for.
        image: String,
    },
    /// An image that is here unpacked only: what it came as went to keep within the limit of bytes.
    #[error(
        "image {image} can't be exported: the archives that it came as were dropped to keep within `images.max_size`, and \
         its unpacked files don't give them back; remove it, raise the limit and pull or import it again"
    )]
    Unpacked {
        /// What was asked for.
        image: String,
    },
    /// As [`ImageError::Unpacked`], where a block device should be made of it.
    #[error(
        "image {image} can't be made into a block device for a virtual machine: the archives that it came as were dropped \
         to keep within `images.max_size`; remove it, raise the limit and pull or import it again"
    )]
    LayersDropped {
        /// What was asked for.
        image: String,
    },
    /// The beginning of several ids.
    #[error("{prefix} is the beginning of several images' ids; give more digits")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
    },
    /// An image that something needs.
    #[error("image {image} is in use by a sandbox, so it was not removed; remove the sandbox first")]
    InUse {
        /// What was asked for.
        image: String,
    },
    /// An image that goes by several names, given by id.
    #[error("image {image} has several names ({}); remove it by each name, or with --force", names.join(", "))]
    SeveralNames {
        /// What was asked for.
        image: String,
        /// Its names.
        names: Vec<String>,
    },
    /// What may go isn't enough to stay within the limit.
    #[error(
        "images would take {needed} bytes, the limit is {max_bytes}{}; raise `images.max_size`, remove sandboxes or run `agentkernel image prune --all`",
        if in_use.is_empty() { String::new() } else { format!(", and these are in use: {}", in_use.join(", ")) }
    )]
    Quota {
        /// The limit.
        max_bytes: u64,
        /// What is needed.
        needed: u64,
        /// Images that could not go.
        in_use: Vec<String>,
    },
    /// A file that is no image, or a damaged or hostile one.
    #[error("{origin} can't be imported: {why}")]
    Archive {
        /// The file or folder.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something of the store's own that can't be understood.
    #[error("{path} is damaged: {why}; delete it, then pull or import the image again", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Something that a newer agentkernel wrote.
    #[error("{path} has format version {found}, this agentkernel knows up to {known}; use the newer agentkernel that wrote it", path = path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A layer that can't be unpacked.
    #[error("layer {} can't be unpacked: {source}", diff_id.short())]
    Layer {
        /// Its `diff_id`.
        diff_id: Digest,
        /// What is wrong with it.
        source: UnpackError,
    },
    /// The file system refused.
    #[error("could not {action} {path}: {source}{hint}", path = path.display(), hint = hint(source))]
    Io {
        /// A verb: `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space with `agentkernel image prune` or choose another folder with --state-dir"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; choose a folder that you can write with --state-dir"
        }
        _ => "",
    }
}

impl ImageError {
    /// For `map_err`: `source` happened while doing `action` to `path`.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source: source.into() }
    }
}

/// Hostile text for a message: at most 200 characters, nothing that a terminal would obey.
pub(crate) fn tame(text: &str) -> String {
    let harmless = |c: char| match c {
        '\'' | '"' | '\\' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    let mut tamed: String = text.chars().take(200).map(harmless).collect();
    if text.chars().nth(200).is_some() {
        tamed.push('…');
    }
    tamed
}

/// [`tame`], in quotation marks.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", tame(text))
}
