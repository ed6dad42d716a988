//! Tar streams of the fake's file tree.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use agentkernel_backend::BackendError;

use super::tree::{Content, Node, Tree, join, name};

/// The tar stream of `path`; its entries are named from its last component on.
pub(super) fn pack(tree: &Tree, path: &[u8]) -> Result<Vec<u8>, BackendError> {
    let failed = |error: std::io::Error| BackendError::runtime("pack a tar stream", error);
    let (path, _) = tree.get(path, false).map_err(|error| error.of(path))?;
    let cut = path.len() - name(&path).len();
    let mut archive = tar::Builder::new(Vec::new());
    for (at, node) in tree.under(&path) {
        let inside = if at == b"/" { &b"."[..] } else { &at[cut.min(at.len())..] };
        let inside = Path::new(std::ffi::OsStr::from_bytes(inside));
        let mut header = tar::Header::new_gnu();
        header.set_mode(node.mode);
        header.set_uid(u64::from(node.uid));
        header.set_gid(u64::from(node.gid));
        header.set_size(0);
        match &node.content {
            Content::File(bytes) => {
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, inside, bytes.as_slice()).map_err(failed)?;
            }
            Content::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                archive.append_data(&mut header, inside, std::io::empty()).map_err(failed)?;
            }
            Content::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                let target = Path::new(std::ffi::OsStr::from_bytes(target));
                archive.append_link(&mut header, inside, target).map_err(failed)?;
            }
            Content::Special(_) => {}
        }
    }
    archive.into_inner().map_err(failed)
}

/// Unpacks `stream` into the folder `path`. All names are checked before anything is written.
pub(super) fn unpack(tree: &mut Tree, path: &[u8], stream: &[u8]) -> Result<(), BackendError> {
    let invalid = |what: String| BackendError::Invalid { what };
    let broken =
        |error: std::io::Error| BackendError::Invalid { what: format!("not a whole tar stream: {error}") };
    // tar::Archive takes a stream that ends between entries as whole; two zero blocks must be there.
    if stream.len() < 1024 || stream[stream.len() - 1024..].iter().any(|byte| *byte != 0) {
        return Err(invalid("the tar stream ends too early".to_owned()));
    }
    let mut entries = Vec::new();
    for entry in tar::Archive::new(stream).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let inside = entry.path().map_err(broken)?.into_owned();
        let plain = inside.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !plain {
            return Err(invalid(format!("tar entry {} leaves its folder", inside.display())));
        }
        let content = match entry.header().entry_type() {
            tar::EntryType::Directory => Content::Directory,
            tar::EntryType::Symlink => {
                let target = entry.link_name().map_err(broken)?.unwrap_or_default();
                Content::Link(target.as_os_str().as_bytes().to_vec())
            }
            kind if kind.is_file() => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(broken)?;
                Content::File(bytes)
            }
            kind => return Err(invalid(format!("tar entry {} is of kind {kind:?}", inside.display()))),
        };
        let mode = entry.header().mode().map_err(broken)? & 0o7777;
        entries.push((inside, Node { content, mode, uid: 0, gid: 0 }));
    }
    let mut copy = tree.clone();
    copy.make_dir(path, None).map_err(|error| error.of(path))?;
    let root = copy.resolve(path, true).map_err(|error| error.of(path))?;
    for (inside, node) in entries {
        let inside: std::path::PathBuf =
            inside.components().filter(|part| *part != Component::CurDir).collect();
        if inside.as_os_str().is_empty() {
            continue;
        }
        let at = join(&root, inside.as_os_str().as_bytes());
        let fail = |error: super::tree::TreeError| error.of(&at);
        // A link made by an earlier entry must not lead the next one away.
        let folder = super::tree::parent(&at).to_vec();
        let mut above = folder.as_slice();
        while above.len() > root.len() {
            if copy.get(above, false).is_ok_and(|(_, found)| matches!(found.content, Content::Link(_))) {
                return Err(invalid(format!("tar entry {} goes through a link", inside.display())));
            }
            above = super::tree::parent(above);
        }
        if node.content == Content::Directory {
            copy.make_dir(&at, Some(node.mode)).map_err(fail)?;
            continue;
        }
        copy.make_dir(&folder, None).map_err(fail)?;
        match copy.remove(&at, false) {
            Ok(()) | Err(super::tree::TreeError::NotFound) => {}
            Err(error) => return Err(fail(error)),
        }
        copy.add(&at, node).map_err(fail)?;
    }
    *tree = copy;
    Ok(())
}
