//! A file tree in memory, with links, owners and permission bits.

use std::collections::BTreeMap;

use agentkernel_backend::{BackendError, FileInfo, FileKind};
use agentkernel_model::ByteString;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    File(Vec<u8>),
    Directory,
    Link(Vec<u8>),
    /// `/dev/null`, `/dev/zero`, a pipe: by its name.
    Special(&'static str),
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Why not, in the words of errno(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TreeError {
    #[error("No such file or directory")]
    NotFound,
    #[error("Not a directory")]
    NotADirectory,
    #[error("Is a directory")]
    IsADirectory,
    #[error("Too many levels of symbolic links")]
    Loop,
    #[error("File exists")]
    Exists,
    #[error("Directory not empty")]
    NotEmpty,
    #[error("Read-only file system")]
    ReadOnly,
    #[error("Permission denied")]
    Denied,
    #[error("Not a regular file")]
    Special,
    #[error("Invalid argument")]
    Invalid,
}

impl TreeError {
    /// As a guest reports it.
    pub(super) fn of(self, path: &[u8]) -> BackendError {
        let path = String::from_utf8_lossy(path).into_owned();
        match self {
            Self::NotFound => BackendError::NotFound { what: format!("{path} in the sandbox") },
            Self::ReadOnly | Self::Denied => {
                BackendError::runtime(format!("use {path} in the sandbox"), self.to_string())
            }
            _ => BackendError::Invalid { what: format!("{path} in the sandbox: {self}") },
        }
    }
}

/// All files of one box, by absolute path.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: BTreeMap<Vec<u8>, Node>,
    read_only_root: bool,
}

/// Folders that stay writable under a read-only root.
const ALWAYS_WRITABLE: [&[u8]; 2] = [b"/tmp", b"/dev/shm"];

fn node(content: Content, mode: u32) -> Node {
    Node { content, mode, uid: 0, gid: 0 }
}

/// The folder of a canonical path.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) if at > 0 => &path[..at],
        _ => b"/",
    }
}

/// The last component.
pub(super) fn name(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(path, |at| &path[at + 1..])
}

/// `path` seen from `folder`.
pub(super) fn join(folder: &[u8], path: &[u8]) -> Vec<u8> {
    match (path.first(), folder) {
        (Some(b'/'), _) => path.to_vec(),
        (_, b"/") => [b"/", path].concat(),
        _ => [folder, b"/", path].concat(),
    }
}

impl Tree {
    /// A freshly unpacked image.
    pub(super) fn new(read_only_root: bool) -> Self {
        let mut nodes = BTreeMap::new();
        for folder in
            ["/", "/bin", "/dev", "/etc", "/home", "/proc", "/root", "/usr", "/usr/bin", "/var", "/workspace"]
        {
            nodes.insert(folder.into(), node(Content::Directory, 0o755));
        }
        for folder in ALWAYS_WRITABLE {
            nodes.insert(folder.into(), node(Content::Directory, 0o1777));
        }
        for program in super::programs::NAMES {
            nodes.insert(format!("/bin/{program}").into(), node(Content::File(b"\x7fELF".into()), 0o755));
        }
        for special in ["/dev/null", "/dev/zero"] {
            nodes.insert(special.into(), node(Content::Special(special), 0o666));
        }
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
        nodes.insert(b"/etc/passwd".into(), node(Content::File(passwd.into()), 0o644));
        nodes.insert(
            b"/etc/group".into(),
            node(Content::File(b"root:x:0:\nnogroup:x:65534:\n".into()), 0o644),
        );
        Self { nodes, read_only_root }
    }

    /// The canonical path; its last component need not exist. Links on the way are followed, the last only on request.
    pub(super) fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Vec<u8>, TreeError> {
        let mut todo: Vec<Vec<u8>> = path
            .split(|byte| *byte == b'/')
            .rev()
            .filter(|part| !part.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        let mut done = b"/".to_vec();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_slice() {
                b"." => continue,
                b".." => done = parent(&done).to_vec(),
                _ => {
                    let next = join(&done, &part);
                    match self.nodes.get(&next).map(|node| &node.content) {
                        Some(Content::Link(target)) if follow_last || !todo.is_empty() => {
                            links += 1;
                            if links > 40 {
                                return Err(TreeError::Loop);
                            }
                            if target.starts_with(b"/") {
                                done = b"/".to_vec();
                            }
                            todo.extend(
                                target
                                    .split(|byte| *byte == b'/')
                                    .rev()
                                    .filter(|p| !p.is_empty())
                                    .map(<[u8]>::to_vec),
                            );
                        }
                        Some(Content::Directory) => done = next,
                        Some(_) if !todo.is_empty() => return Err(TreeError::NotADirectory),
                        None if !todo.is_empty() => return Err(TreeError::NotFound),
                        _ => done = next,
                    }
                }
            }
        }
        Ok(done)
    }

    /// The file at `path`.
    pub(super) fn get(&self, path: &[u8], follow: bool) -> Result<(Vec<u8>, &Node), TreeError> {
        let path = self.resolve(path, follow)?;
        let node = self.nodes.get(&path).ok_or(TreeError::NotFound)?;
        Ok((path, node))
    }

    fn writable(&self, path: &[u8]) -> Result<(), TreeError> {
        let exempt = ALWAYS_WRITABLE.iter().any(|folder| path.starts_with(folder));
        if self.read_only_root && !exempt { Err(TreeError::ReadOnly) } else { Ok(()) }
    }

    fn parent_is_folder(&self, path: &[u8]) -> Result<(), TreeError> {
        match self.nodes.get(parent(path)).map(|node| &node.content) {
            Some(Content::Directory) => Ok(()),
            Some(_) => Err(TreeError::NotADirectory),
            None => Err(TreeError::NotFound),
        }
    }

    /// Puts a new file where none is.
    pub(super) fn add(&mut self, path: &[u8], new: Node) -> Result<(), TreeError> {
        let path = self.resolve(path, false)?;
        if self.nodes.contains_key(&path) {
            return Err(TreeError::Exists);
        }
        self.parent_is_folder(&path)?;
        self.writable(&path)?;
        self.nodes.insert(path, new);
        Ok(())
    }

    /// Writes a regular file whole, through links; `mode` only where given or where it is new.
    pub(super) fn write(
        &mut self,
        path: &[u8],
        mode: Option<u32>,
        bytes: Vec<u8>,
        uid: u32,
    ) -> Result<(), TreeError> {
        let path = self.resolve(path, true)?;
        match self.nodes.get(&path).map(|node| &node.content) {
            Some(Content::Directory) => return Err(TreeError::IsADirectory),
            Some(Content::Special("/dev/null")) => return Ok(()),
            Some(Content::Special(_)) => return Err(TreeError::Special),
            _ => {}
        }
        self.parent_is_folder(&path)?;
        self.writable(&path)?;
        if uid != 0 {
            self.may(&path, uid, 0o2)?;
        }
        let entry = self.nodes.entry(path).or_insert_with(|| Node {
            content: Content::File(Vec::new()),
            mode: 0o644,
            uid,
            gid: uid,
        });
        entry.content = Content::File(bytes);
        entry.mode = mode.unwrap_or(entry.mode) & 0o7777;
        Ok(())
    }

    /// Appends to a regular file.
    pub(super) fn append(&mut self, path: &[u8], bytes: &[u8]) -> Result<(), TreeError> {
        let path = self.resolve(path, true)?;
        match self.nodes.get_mut(&path).map(|node| &mut node.content) {
            Some(Content::File(content)) => content.extend_from_slice(bytes),
            Some(Content::Special(_)) => {}
            _ => return Err(TreeError::NotFound),
        }
        Ok(())
    }

    /// Whether `uid` may do `bit` (4 read, 2 write, 1 execute) with the file, or with the folder of one still missing.
    pub(super) fn may(&self, path: &[u8], uid: u32, bit: u32) -> Result<(), TreeError> {
        let path = self.resolve(path, true)?;
        let node =
            self.nodes.get(&path).or_else(|| self.nodes.get(parent(&path))).ok_or(TreeError::NotFound)?;
        let bits = if node.uid == uid { node.mode >> 6 } else { node.mode };
        if uid == 0 || bits & bit != 0 { Ok(()) } else { Err(TreeError::Denied) }
    }

    /// The content of a regular file, through links.
    pub(super) fn read(&self, path: &[u8]) -> Result<Vec<u8>, TreeError> {
        match &self.get(path, true)?.1.content {
            Content::File(bytes) => Ok(bytes.clone()),
            Content::Directory => Err(TreeError::IsADirectory),
            Content::Special("/dev/null") => Ok(Vec::new()),
            Content::Special(_) | Content::Link(_) => Err(TreeError::Special),
        }
    }

    /// A folder's entries, sorted by name.
    pub(super) fn list(&self, path: &[u8]) -> Result<Vec<FileInfo>, TreeError> {
        let (path, node) = self.get(path, true)?;
        if node.content != Content::Directory {
            return Err(TreeError::NotADirectory);
        }
        let inside = self.nodes.iter().filter(|(at, _)| at.as_slice() != b"/" && parent(at) == path);
        let mut entries: Vec<_> = inside.map(|(at, node)| info(at, node)).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// All canonical paths at and under `path`, folders before what is in them.
    pub(super) fn under(&self, path: &[u8]) -> Vec<(Vec<u8>, Node)> {
        let inside = |at: &[u8]| at == path || path == b"/" || at.starts_with(&[path, b"/"].concat());
        self.nodes.iter().filter(|(at, _)| inside(at)).map(|(at, node)| (at.clone(), node.clone())).collect()
    }

    /// Removes a file or folder; a link itself, never what it names.
    pub(super) fn remove(&mut self, path: &[u8], recursive: bool) -> Result<(), TreeError> {
        let path = self.get(path, false)?.0;
        self.writable(&path)?;
        let all = self.under(&path);
        if path == b"/" {
            return Err(TreeError::Invalid);
        }
        if all.len() > 1 && !recursive {
            return Err(TreeError::NotEmpty);
        }
        for (at, _) in all {
            self.nodes.remove(&at);
        }
        Ok(())
    }

    /// Makes a folder and its parents.
    pub(super) fn make_dir(&mut self, path: &[u8], mode: Option<u32>) -> Result<(), TreeError> {
        match self.get(path, true) {
            Ok((_, found)) if found.content == Content::Directory => return Ok(()),
            Ok(_) => return Err(TreeError::NotADirectory),
            Err(TreeError::NotFound) => {}
            Err(error) => return Err(error),
        }
        self.make_dir(parent(path), None)?;
        self.add(path, node(Content::Directory, mode.unwrap_or(0o755)))
    }

    /// Sets permission bits.
    pub(super) fn set_mode(&mut self, path: &[u8], mode: u32) -> Result<(), TreeError> {
        let path = self.get(path, true)?.0;
        self.writable(&path)?;
        self.nodes.get_mut(&path).ok_or(TreeError::NotFound)?.mode = mode & 0o7777;
        Ok(())
    }
}

/// As the contract describes a file.
pub(super) fn info(path: &[u8], node: &Node) -> FileInfo {
    let (kind, size) = match &node.content {
        Content::File(bytes) => (FileKind::File, bytes.len()),
        Content::Directory => (FileKind::Directory, 0),
        Content::Link(target) => (FileKind::Symlink, target.len()),
        Content::Special(_) => (FileKind::Other, 0),
    };
    FileInfo {
        name: ByteString(name(path).to_vec()),
        kind,
        size: size as u64,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        modified: 1_700_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_and_loops_end() {
        let mut tree = Tree::new(false);
        tree.add(b"/tmp/l", node(Content::Link(b"../../../etc/passwd".into()), 0o777)).unwrap();
        assert!(tree.read(b"/tmp/l").unwrap().starts_with(b"root:"));
        tree.add(b"/tmp/a", node(Content::Link(b"a".into()), 0o777)).unwrap();
        assert_eq!(tree.read(b"/tmp/a"), Err(TreeError::Loop));
        tree.remove(b"/tmp/l", true).unwrap();
        assert!(tree.read(b"/etc/passwd").is_ok());
    }

    #[test]
    fn a_read_only_root_keeps_tmp_writable() {
        let mut tree = Tree::new(true);
        assert_eq!(tree.write(b"/etc/x", None, vec![1], 0), Err(TreeError::ReadOnly));
        tree.write(b"/tmp/x", None, vec![1], 0).unwrap();
        tree.make_dir(b"/tmp/a/b/c", None).unwrap();
        assert_eq!(tree.remove(b"/tmp/a", false), Err(TreeError::NotEmpty));
    }
}
