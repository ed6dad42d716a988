//! What a folder of this machine shows.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) time: (i64, i64),
    /// Of a file, or the target of a link.
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the same file.
    pub(crate) same_as: PathBuf,
}

/// All below `root`, which is an empty path, links not followed.
pub(crate) fn seen(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let whole = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(&path) };
        let metadata = whole.symlink_metadata().unwrap();
        let content = if metadata.is_file() {
            std::fs::read(&whole).unwrap()
        } else if metadata.is_symlink() {
            std::fs::read_link(&whole).unwrap().as_os_str().as_bytes().to_vec()
        } else {
            if metadata.is_dir() {
                let entries = std::fs::read_dir(&whole).unwrap();
                waiting.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
            }
            Vec::new()
        };
        let one = Seen {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            time: (metadata.mtime(), metadata.mtime_nsec()),
            content,
            xattrs: xattrs(&whole),
            same_as: PathBuf::new(),
        };
        all.insert(path, (metadata.ino(), one));
    }
    let mut first: BTreeMap<u64, PathBuf> = BTreeMap::new();
    for (path, (inode, one)) in &all {
        if one.mode & 0o170_000 != 0o040_000 {
            first.entry(*inode).or_insert_with(|| path.clone());
        }
    }
    let named = |(path, (inode, one)): (PathBuf, (u64, Seen))| {
        let same_as = first.get(&inode).cloned().unwrap_or_default();
        (path, Seen { same_as, ..one })
    };
    all.into_iter().map(named).collect()
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65_536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty() && !name.starts_with(b"user.overlay."))
        .map(|name| {
            let mut value = vec![0; 65_536];
            let length = rustix::fs::lgetxattr(path, &*CString::new(name).unwrap(), &mut value[..]).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

/// The first difference, for people.
#[track_caller]
pub(crate) fn assert_same(one: &BTreeMap<PathBuf, Seen>, two: &BTreeMap<PathBuf, Seen>) {
    for path in one.keys().chain(two.keys()) {
        let (one, two) = (one.get(path), two.get(path));
        let short = |seen: &Seen| {
            let content = seen.content[..seen.content.len().min(40)].escape_ascii().to_string();
            format!(
                "{content:?} of {} bytes, {:?}",
                seen.content.len(),
                Seen { content: Vec::new(), ..seen.clone() }
            )
        };
        assert!(one == two, "{path:?}: {:?} and {:?}", one.map(short), two.map(short));
    }
}
