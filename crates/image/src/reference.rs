//! Which image in which registry a text means. The rules are Docker's, so that the same text means the same image:
//! `docker.io` where no registry is named, `library/` before a lone name there, tag `latest` where nothing is said
//! (grammar: `github.com/distribution/reference`, package documentation).

use std::fmt;
use std::str::FromStr;

use agentkernel_model::ImageRef;

use crate::{Digest, ImageError};

/// The registry that is meant where none is named.
pub const DOCKER_HUB: &str = "docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// An image's whole name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host and, where it is named, port: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The image's name in its registry: `library/python`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` only where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index. Where there is one, it alone decides; the tag is for people.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Registry and repository.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same name, by `digest`, without a tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// What the registry is asked for: the digest, else the tag.
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// As people write it: without what is meant anyway (`python:3.12`, not `docker.io/library/python:3.12`).
    pub fn familiar(&self) -> String {
        let whole = self.to_string();
        let Some(short) = whole.strip_prefix("docker.io/") else { return whole };
        match short.strip_prefix(OFFICIAL) {
            Some(lone) if !self.repository[OFFICIAL.len()..].contains('/') => lone.to_owned(),
            _ => short.to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut whole = self.name();
        if let Some(tag) = &self.tag {
            whole = format!("{whole}:{tag}");
        }
        if let Some(digest) = &self.digest {
            whole = format!("{whole}@{digest}");
        }
        f.pad(&whole)
    }
}

impl FromStr for Reference {
    type Err = ImageError;
    fn from_str(text: &str) -> Result<Self, ImageError> {
        parse(text).map_err(|why| ImageError::Reference { text: text.chars().take(80).collect(), why })
    }
}

impl TryFrom<&ImageRef> for Reference {
    type Error = ImageError;
    fn try_from(image: &ImageRef) -> Result<Self, ImageError> {
        image.as_str().parse()
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) if digest.starts_with("sha256:") => {
            let digest = digest.parse().map_err(|_| "a digest is `sha256:` and 64 lower-case hex digits")?;
            (rest, Some(digest))
        }
        Some(_) => return Err("only digests that begin with `sha256:` can be verified"),
    };
    // The first colon after the last slash begins a tag; one before belongs to a registry's port.
    let path_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[path_start..].find(':') {
        Some(colon) => (&rest[..path_start + colon], Some(&rest[path_start + colon + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (registry, repository) = split_registry(name)?;
    check_registry(&registry)?;
    check_repository(&repository)?;
    if registry.len() + 1 + repository.len() > NAME_BYTES_MAX {
        return Err("its name is longer than 255 characters");
    }
    let tag = match (tag, digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some(DEFAULT_TAG.to_owned()),
    };
    Ok(Reference { registry, repository, tag, digest })
}

/// A first part with a dot or a colon, upper-case letters, or `localhost` is a registry; else all is a repository.
fn split_registry(name: &str) -> Result<(String, String), &'static str> {
    let is_registry = |part: &str| {
        part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase())
    };
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DOCKER_HUB, name),
    };
    // The Hub's older name.
    let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
    if registry != DOCKER_HUB || repository.contains('/') {
        return Ok((registry.to_owned(), repository.to_owned()));
    }
    if repository.len() == 64 && repository.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("64 hex digits are an id, not a name");
    }
    Ok((registry.to_owned(), format!("{OFFICIAL}{repository}")))
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    match tag.as_bytes() {
        [] => Err("its tag is empty"),
        bytes if bytes.len() > TAG_BYTES_MAX => Err("its tag is longer than 128 characters"),
        [first, ..] if !is_word(*first) => Err("a tag begins with a letter, a digit or `_`"),
        [_, rest @ ..] if rest.iter().all(|b| is_word(*b) || b".-".contains(b)) => Ok(()),
        _ => Err("a tag has only letters, digits and the characters _ . -"),
    }
}

pub(crate) fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or("its registry's address has no `]`")?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| "its registry is no IPv6 address")?;
            ("", port.strip_prefix(':').or((!port.is_empty()).then_some("x")))
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    if port.is_some_and(|port| port.is_empty() || port.len() > 5 || port.parse::<u16>().is_err()) {
        return Err("its registry's port is no number up to 65535");
    }
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    match registry.starts_with('[') || host.split('.').all(is_label) {
        true => Ok(()),
        false => Err("its registry is no host name"),
    }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("a repository's name has only lower-case letters");
    }
    match repository.split('/').all(is_path_part) {
        true => Ok(()),
        false => Err(
            "the parts of its name are lower-case letters and digits with one `.`, one or two `_` or any number of `-` between",
        ),
    }
}

/// Letters and digits; between them `.`, `_`, `__` or any number of `-`.
fn is_path_part(part: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = [part.bytes().next(), part.bytes().last()];
    if !ends.iter().all(|end| end.is_some_and(is_letter)) {
        return false;
    }
    let mut separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators.all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests;
