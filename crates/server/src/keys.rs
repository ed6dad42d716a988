//! The file of API keys: what `agentkernel key` writes and the server reads.
//!
//! A key is 256 random bits. What is kept of it is its SHA-256: nobody can go back from that, and nobody can guess 256
//! random bits, so that the slow hashes with salt which passwords need would only make every request slower.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use agentkernel_service::{Quota, Scope};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

/// What every key begins with, so that scanners for leaked secrets find it.
const PREFIX: &str = "ak_";
/// The version of the file's form.
const VERSION: u32 = 1;
/// A file that is longer is none of ours.
const MOST_BYTES: u64 = 1 << 20;
/// The most keys of one file: each request is compared with all.
const MOST_KEYS: usize = 1000;
/// Names that mean somebody else in the log.
const RESERVED: [&str; 3] = ["local", "mcp", "environment"];

/// Why keys can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A step on the file failed.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// The step, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what we write.
    #[error("{} is no file of API keys: {why}; remove it to start with none", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Others could put keys into it.
    #[error("{} belongs to somebody else or can be changed by others: chown it to the server's user and chmod 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A name that can't be.
    #[error(
        "{name:?} is no name for a key: use 1 to 63 letters, digits, '-', '_' and '.', and none of local, mcp, environment"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// There is one by that name.
    #[error("there is a key by the name {name:?} already: remove it first, or choose another name")]
    AlreadyExists {
        /// The name.
        name: String,
    },
    /// There is none by that name.
    #[error("there is no key by the name {name:?}; `agentkernel key list` shows them")]
    NotFound {
        /// The name.
        name: String,
    },
    /// Enough is enough.
    #[error("there are {MOST_KEYS} keys already: remove some first")]
    TooMany,
}

impl KeyError {
    fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: source.into() }
    }
}

/// The SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash(pub(crate) [u8; 32]);

impl KeyHash {
    /// Of what a client sent.
    pub(crate) fn of(key: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
        Self(hash)
    }
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<hash>")
    }
}

/// One key, without the key.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// Its name: what the log and quotas know it by.
    pub name: String,
    /// How far it reaches.
    pub scope: Scope,
    /// How much it may ask for.
    pub quota: Quota,
    /// When it was made; RFC 3339, UTC.
    pub created_at: String,
    pub(crate) hash: KeyHash,
}

/// A key to make.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its name.
    pub name: String,
    /// How far it reaches.
    pub scope: Scope,
    /// How much it may ask for.
    pub quota: Quota,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    keys: Vec<Stored>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    name: String,
    scope: String,
    sha256: String,
    created_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    per_minute: Option<u32>,
}

/// The keys of one state directory.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// Of the server whose state directory this is.
    pub fn of(state_dir: &Path) -> Self {
        Self { path: state_dir.join("daemon/keys.json") }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, in the order in which they were made. A file that isn't there has none.
    pub fn list(&self) -> Result<Vec<KeyEntry>, KeyError> {
        let file = match OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&self.path)
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(KeyError::io("read", &self.path)(error)),
        };
        let metadata = file.metadata().map_err(KeyError::io("read", &self.path))?;
        let owner = metadata.uid();
        if metadata.mode() & 0o022 != 0 || owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err(KeyError::Exposed { path: self.path.clone() });
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(KeyError::io("read", &self.path))?;
        self.parse(&bytes)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Vec<KeyEntry>, KeyError> {
        let damaged = |why: String| KeyError::Damaged { path: self.path.clone(), why };
        let document: Document = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if document.version != VERSION {
            return Err(damaged(format!(
                "its version is {}, and this program knows {VERSION}",
                document.version
            )));
        }
        if document.keys.len() > MOST_KEYS {
            return Err(KeyError::TooMany);
        }
        document.keys.into_iter().map(|key| key.into_entry().map_err(&damaged)).collect()
    }

    /// Makes a key; returns it. It can't be had again.
    pub fn create(&self, new: &NewKey) -> Result<String, KeyError> {
        check_name(&new.name)?;
        let _lock = self.lock()?;
        let mut keys = self.list()?;
        if keys.iter().any(|key| key.name == new.name) {
            return Err(KeyError::AlreadyExists { name: new.name.clone() });
        }
        if keys.len() >= MOST_KEYS {
            return Err(KeyError::TooMany);
        }
        let mut random = [0; 32];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(KeyError::io("choose a key for", &self.path))?;
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        keys.push(KeyEntry {
            name: new.name.clone(),
            scope: new.scope,
            quota: new.quota,
            created_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            hash: KeyHash::of(&key),
        });
        self.write(&keys)?;
        Ok(key)
    }

    /// Takes a key back. A server that runs refuses it from its next request on.
    pub fn remove(&self, name: &str) -> Result<(), KeyError> {
        let _lock = self.lock()?;
        let mut keys = self.list()?;
        let before = keys.len();
        keys.retain(|key| key.name != name);
        if keys.len() == before {
            return Err(KeyError::NotFound { name: name.to_owned() });
        }
        self.write(&keys)
    }

    /// Keeps others from changing the file until it is dropped.
    fn lock(&self) -> Result<File, KeyError> {
        let folder = self.folder();
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(KeyError::io("make", folder))?;
        let path = folder.join("keys.lock");
        let file = private(OpenOptions::new().write(true).create(true).truncate(false))
            .open(&path)
            .map_err(KeyError::io("open", &path))?;
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(KeyError::io("lock", &path))?;
        Ok(file)
    }

    /// Replaces the file: a reader sees the old or the new one whole.
    fn write(&self, keys: &[KeyEntry]) -> Result<(), KeyError> {
        let document = Document { version: VERSION, keys: keys.iter().map(Stored::from).collect() };
        let mut bytes = serde_json::to_vec_pretty(&document)
            .map_err(|error| KeyError::io("write", &self.path)(io::Error::other(error)))?;
        bytes.push(b'\n');
        let temporary = self.path.with_extension("json.tmp");
        let written = private(OpenOptions::new().write(true).create(true).truncate(true))
            .open(&temporary)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        written.map_err(KeyError::io("write", &temporary))?;
        std::fs::rename(&temporary, &self.path)
            .and_then(|()| File::open(self.folder())?.sync_all())
            .map_err(KeyError::io("write", &self.path))
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let fine = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
    let begins = name.bytes().next().is_some_and(|letter| letter.is_ascii_alphanumeric());
    if !begins || name.len() > 63 || !name.bytes().all(fine) || RESERVED.contains(&name) {
        return Err(KeyError::Name { name: name.chars().take(80).collect() });
    }
    Ok(())
}

impl Stored {
    fn into_entry(self) -> Result<KeyEntry, String> {
        let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == self.scope);
        let scope =
            scope.ok_or_else(|| format!("key {:?} has the unknown scope {:?}", self.name, self.scope))?;
        let hash = unhex(&self.sha256).ok_or_else(|| format!("key {:?} has no SHA-256", self.name))?;
        let quota = Quota { concurrent: self.concurrent, per_minute: self.per_minute };
        Ok(KeyEntry { name: self.name, scope, quota, created_at: self.created_at, hash: KeyHash(hash) })
    }
}

impl From<&KeyEntry> for Stored {
    fn from(key: &KeyEntry) -> Self {
        Self {
            name: key.name.clone(),
            scope: key.scope.as_str().to_owned(),
            sha256: key.hash.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            created_at: key.created_at.clone(),
            concurrent: key.quota.concurrent,
            per_minute: key.quota.per_minute,
        }
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn new(name: &str, scope: Scope) -> NewKey {
        NewKey { name: name.to_owned(), scope, quota: Quota { concurrent: Some(3), per_minute: None } }
    }

    #[test]
    fn keys_are_made_listed_and_removed_and_their_text_is_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyFile::of(dir.path());
        assert!(keys.list().unwrap().is_empty());
        let first = keys.create(&new("ci", Scope::Run)).unwrap();
        let second = keys.create(&new("ops", Scope::Admin)).unwrap();
        assert!(first.starts_with("ak_") && first.len() == 46 && first != second, "{first}");
        let listed = keys.list().unwrap();
        assert_eq!(listed.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["ci", "ops"]);
        assert_eq!((listed[0].scope, listed[0].quota.concurrent), (Scope::Run, Some(3)));
        assert_eq!(listed[0].hash, KeyHash::of(&first));
        let text = std::fs::read_to_string(keys.path()).unwrap();
        assert!(!text.contains(&first[3..]));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(keys.path()), mode(keys.folder())), (0o600, 0o700));
        assert!(matches!(keys.create(&new("ci", Scope::Read)), Err(KeyError::AlreadyExists { .. })));
        keys.remove("ci").unwrap();
        assert!(matches!(keys.remove("ci"), Err(KeyError::NotFound { .. })));
        assert_eq!(keys.list().unwrap().len(), 1);
    }

    #[test]
    fn names_are_plain_words() {
        for name in ["", "-a", "a b", "a/b", "local", "mcp", "environment", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("ci-2.main_x").is_ok());
    }

    #[test]
    fn a_file_that_others_can_change_or_that_is_damaged_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyFile::of(dir.path());
        keys.create(&new("ci", Scope::Run)).unwrap();
        std::fs::set_permissions(keys.path(), PermissionsExt::from_mode(0o620)).unwrap();
        assert!(matches!(keys.list(), Err(KeyError::Exposed { .. })));
        std::fs::set_permissions(keys.path(), PermissionsExt::from_mode(0o600)).unwrap();
        for text in ["", "{}", "{\"version\":2,\"keys\":[]}", "{\"version\":1,\"keys\":[{\"name\":\"x\"}]}"] {
            std::fs::write(keys.path(), text).unwrap();
            assert!(matches!(keys.list(), Err(KeyError::Damaged { .. })), "{text}");
            assert!(keys.create(&new("other", Scope::Run)).is_err(), "nothing is overwritten");
        }
    }

    #[test]
    fn two_who_make_keys_at_once_both_have_theirs() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let keys = KeyFile::of(dir.path());
                scope.spawn(move || {
                    (0..5).for_each(|n| {
                        drop(keys.create(&new(&format!("k{thread}-{n}"), Scope::Read)).unwrap())
                    });
                });
            }
        });
        assert_eq!(KeyFile::of(dir.path()).list().unwrap().len(), 20);
    }
}
