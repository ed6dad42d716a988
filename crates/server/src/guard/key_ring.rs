//! The keys that a running server accepts.

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, PoisonError, RwLock};

use agentkernel_service::{Quota, Scope};
use subtle::ConstantTimeEq;

use crate::keys::{KeyEntry, KeyFile, KeyHash};

/// The name of the key that comes from the environment.
const ENVIRONMENT: &str = "environment";

/// All keys: those of the file, as it is at each request, and the one of `AGENTKERNEL_API_KEY`, which reaches as far as
/// any.
pub struct KeyRing {
    file: Option<KeyFile>,
    fixed: Option<KeyHash>,
    read: RwLock<Arc<Read>>,
}

/// The file as it was last read.
struct Read {
    stamp: Option<Stamp>,
    keys: Vec<KeyEntry>,
    /// The file is there and can't be used: nobody gets in by it, and nobody without a key.
    broken: bool,
}

/// Changes whenever the file does: it is replaced, never written over.
#[derive(PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
}

/// Whose key it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) quota: Option<Quota>,
}

impl KeyRing {
    /// Over a file, which need not be there, and a key that is always good.
    pub fn new(file: Option<KeyFile>, fixed: Option<&str>) -> Self {
        let read = Arc::new(Read { stamp: None, keys: Vec::new(), broken: false });
        let ring = Self { file, fixed: fixed.map(KeyHash::of), read: RwLock::new(read) };
        ring.current();
        ring
    }

    /// Whether there are keys at all: where there are none, this machine's own requests need none.
    pub fn is_configured(&self) -> bool {
        let read = self.current();
        self.fixed.is_some() || read.broken || !read.keys.is_empty()
    }

    /// Whose key this is. Takes as long for each wrong key as for any other: every hash is compared whole.
    pub(crate) fn holder(&self, key: &str) -> Option<Holder> {
        let hash = KeyHash::of(key);
        let mut found = None;
        if let Some(fixed) = &self.fixed
            && bool::from(fixed.0.ct_eq(&hash.0))
        {
            found = Some(Holder { name: ENVIRONMENT.to_owned(), scope: Scope::Admin, quota: None });
        }
        for key in &self.current().keys {
            if bool::from(key.hash.0.ct_eq(&hash.0)) {
                let quota = Some(key.quota).filter(|quota| *quota != Quota::default());
                found = Some(Holder { name: key.name.clone(), scope: key.scope, quota });
            }
        }
        found
    }

    /// The file's keys. One stat(2) where it hasn't changed, which is what lets a key that was removed end at once.
    fn current(&self) -> Arc<Read> {
        let read = Arc::clone(&self.read.read().unwrap_or_else(PoisonError::into_inner));
        let Some(file) = &self.file else { return read };
        let stamp = std::fs::symlink_metadata(file.path()).ok().map(|metadata| Stamp {
            inode: metadata.ino(),
            size: metadata.size(),
            mode: metadata.mode(),
            modified: (metadata.ctime(), metadata.ctime_nsec()),
        });
        if stamp == read.stamp {
            return read;
        }
        let fresh = Arc::new(match file.list() {
            Ok(keys) => Read { stamp, keys, broken: false },
            Err(error) => {
                tracing::error!(%error, "no key of the file is accepted");
                Read { stamp, keys: Vec::new(), broken: true }
            }
        });
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::keys::NewKey;

    fn new(name: &str, scope: Scope, quota: Quota) -> NewKey {
        NewKey { name: name.to_owned(), scope, quota }
    }

    #[test]
    fn keys_are_known_from_the_request_after_they_were_made_to_the_one_before_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::of(dir.path());
        let ring = KeyRing::new(Some(file.clone()), None);
        assert!(!ring.is_configured() && ring.holder("").is_none());
        let quota = Quota { concurrent: None, per_minute: Some(9) };
        let ci = file.create(&new("ci", Scope::Run, quota)).unwrap();
        let ops = file.create(&new("ops", Scope::Admin, Quota::default())).unwrap();
        let holder = Holder { name: "ci".to_owned(), scope: Scope::Run, quota: Some(quota) };
        assert_eq!(ring.holder(&ci), Some(holder));
        assert_eq!(ring.holder(&ops).map(|holder| (holder.scope, holder.quota)), Some((Scope::Admin, None)));
        file.remove("ci").unwrap();
        assert!(ring.holder(&ci).is_none() && ring.holder(&ops).is_some());
    }

    #[test]
    fn the_key_of_the_environment_reaches_everywhere() {
        let ring = KeyRing::new(None, Some("s3cret"));
        assert!(ring.is_configured());
        assert_eq!(ring.holder("s3cret").map(|holder| holder.scope), Some(Scope::Admin));
        for wrong in ["", "s3cre", "s3crett", "S3cret"] {
            assert!(ring.holder(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_can_not_be_trusted_locks_everybody_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::of(dir.path());
        let key = file.create(&new("ci", Scope::Run, Quota::default())).unwrap();
        let ring = KeyRing::new(Some(file.clone()), None);
        assert!(ring.holder(&key).is_some());
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o666)).unwrap();
        assert!(ring.holder(&key).is_none() && ring.is_configured());
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o600)).unwrap();
        assert!(ring.holder(&key).is_some());
    }
}
