//! The files of an image in memory, without their contents.

use std::collections::BTreeMap;
use std::io::BufRead;

use rustix::io::Errno;

use super::xattr;
use crate::unpack::{Attributes, EntryPath, FileEntry, Ground, Made, Present, UnpackError, refused};

/// A node by its place in [`Tree::nodes`].
pub(crate) type NodeId = u32;

/// What is in a folder, by name, in the order of the names' bytes.
pub(crate) type Children = BTreeMap<Box<[u8]>, NodeId>;

/// Bytes that a node takes beside its name: itself, and its share of the tables.
const NODE_BYTES: u64 = 160;

/// A file, folder, link or pipe, under one name or several.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub(crate) mode: u16,
    /// Since 1970.
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
    /// As they follow its inode.
    pub(crate) xattrs: Box<[u8]>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Folder {
        children: Children,
        /// Whether it hides what lower layers have in it.
        opaque: bool,
    },
    /// Its content is that of entry `number` of layer `layer`.
    File {
        size: u64,
        layer: u32,
        number: u64,
    },
    Symlink(Box<[u8]>),
    Pipe,
    /// Hides a name of lower layers.
    Whiteout,
}

/// All layers until now merged, and the one that is laid out now.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// What is shown, the layer in work not counted.
    pub(crate) root: NodeId,
    /// The root of the layer in work.
    layer_root: NodeId,
    layer: u32,
    remembered_bytes: u64,
    remembered_bytes_max: u64,
}

impl Tree {
    /// Of no layer. All names, links and attributes together may take `remembered_bytes_max`.
    pub(crate) fn new(remembered_bytes_max: u64) -> Self {
        let nodes = vec![Node::folder()];
        Self { nodes, root: 0, layer_root: 0, layer: 0, remembered_bytes: 0, remembered_bytes_max }
    }

    /// From now on layer `layer` is laid out.
    pub(crate) fn begin_layer(&mut self, layer: u32) -> Result<(), UnpackError> {
        self.layer = layer;
        self.layer_root = self.add(Node::folder(), 0)?;
        Ok(())
    }

    /// The layer is whole: it goes on top of the others.
    pub(crate) fn end_layer(&mut self) {
        self.merge(self.root, self.layer_root);
        self.root = self.layer_root;
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// What is in a folder; `None` where `id` is something else.
    pub(crate) fn children(&self, id: NodeId) -> Option<&Children> {
        match &self.node(id).kind {
            Kind::Folder { children, .. } => Some(children),
            _ => None,
        }
    }

    fn add(&mut self, node: Node, name_bytes: usize) -> Result<NodeId, UnpackError> {
        let link_bytes = match &node.kind {
            Kind::Symlink(target) => target.len(),
            _ => 0,
        };
        self.remember(NODE_BYTES + (name_bytes + link_bytes + node.xattrs.len()) as u64)?;
        let limit = u64::from(u32::MAX);
        let too_many = UnpackError::TooMuch { what: "files of all layers", limit };
        let id = u32::try_from(self.nodes.len()).map_err(|_| too_many)?;
        self.nodes.push(node);
        Ok(id)
    }

    fn remember(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.remembered_bytes += bytes;
        let limit = self.remembered_bytes_max;
        match self.remembered_bytes > limit {
            true => Err(UnpackError::TooMuch {
                what: "bytes of the names, links and attributes of all layers",
                limit,
            }),
            false => Ok(()),
        }
    }

    /// The folder `path` of the layer in work; `None` where it isn't there.
    fn folder_at(&self, path: &[u8]) -> Result<Option<NodeId>, Errno> {
        let mut at = self.layer_root;
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            let Some(next) = self.children(at).and_then(|children| children.get(part)) else {
                return Ok(None);
            };
            match self.node(*next).kind {
                Kind::Folder { .. } => at = *next,
                Kind::Symlink(_) => return Err(Errno::LOOP),
                _ => return Err(Errno::NOTDIR),
            }
        }
        Ok(Some(at))
    }

    /// What is under `path` in the layer in work.
    fn at(&self, path: &EntryPath) -> Result<Option<NodeId>, Errno> {
        let Some((parent, name)) = path.split() else { return Ok(Some(self.layer_root)) };
        let Some(parent) = self.folder_at(parent)? else { return Ok(None) };
        Ok(self.children(parent).and_then(|children| children.get(name)).copied())
    }

    fn children_mut(&mut self, folder: &[u8]) -> Result<Option<&mut Children>, Errno> {
        let Some(folder) = self.folder_at(folder)? else { return Ok(None) };
        match &mut self.node_mut(folder).kind {
            Kind::Folder { children, .. } => Ok(Some(children)),
            _ => Ok(None),
        }
    }

    /// Puts `node` under `path`, whatever is there.
    fn put(&mut self, path: &EntryPath, node: NodeId) -> Result<Made, UnpackError> {
        let Some((parent, name)) = path.split() else {
            return Err(UnpackError::InTheWay { path: path.clone(), why: "it is the layer's root" });
        };
        let children = self.children_mut(parent).map_err(|errno| refused(path, errno))?;
        let children = children.ok_or_else(|| refused(path, Errno::NOENT))?;
        let before = children.insert(name.into(), node);
        let folder_went = before.is_some_and(|before| self.children(before).is_some());
        Ok(Made { folder_went, attributes_left_out: 0 })
    }

    fn make(
        &mut self,
        path: &EntryPath,
        kind: Kind,
        attributes: Option<&Attributes>,
    ) -> Result<Made, UnpackError> {
        let mut node = Node { kind, ..Node::folder() };
        let attributes_left_out = attributes.map_or(0, |attributes| node.take(attributes));
        let node = self.add(node, path.split().map_or(0, |(_, name)| name.len()))?;
        Ok(Made { attributes_left_out, ..self.put(path, node)? })
    }
}

impl Node {
    /// An empty one that no entry describes.
    fn folder() -> Self {
        let kind = Kind::Folder { children: Children::new(), opaque: false };
        Self { kind, uid: 0, gid: 0, mode: 0o755, seconds: 0, nanoseconds: 0, xattrs: Box::default() }
    }

    /// How many attributes could not be had.
    fn take(&mut self, attributes: &Attributes) -> u64 {
        if let Some((uid, gid)) = attributes.owner {
            (self.uid, self.gid) = (uid.as_raw(), gid.as_raw());
        }
        self.mode = (attributes.mode.as_raw_mode() & 0o7777) as u16;
        (self.seconds, self.nanoseconds) = (attributes.modified.seconds, attributes.modified.nanoseconds);
        match self.kind {
            // The mode of a link is always this (symlink(7)); extended attributes of a user are for files and folders
            // (xattr(7)), and no others are unpacked on disk either.
            Kind::Symlink(_) => self.mode = 0o777,
            Kind::Pipe | Kind::Whiteout => {}
            Kind::Folder { .. } | Kind::File { .. } => {
                let left_out;
                (self.xattrs, left_out) = xattr::encode(&attributes.xattrs);
                return left_out;
            }
        }
        0
    }
}

impl Ground for Tree {
    fn present(&mut self, path: &EntryPath) -> Result<Present, UnpackError> {
        let there = self.at(path).map_err(|errno| refused(path, errno))?;
        Ok(there.map_or(Present::Nothing, |node| match self.node(node).kind {
            Kind::Folder { .. } => Present::Folder,
            Kind::File { .. } => Present::File,
            Kind::Symlink(_) => Present::Symlink,
            Kind::Whiteout => Present::Whiteout,
            Kind::Pipe => Present::Other,
        }))
    }

    fn has_parent(&mut self, path: &EntryPath) -> bool {
        path.split().is_some_and(|(parent, _)| matches!(self.folder_at(parent), Ok(Some(_))))
    }

    /// The content is read in the second pass.
    fn file(
        &mut self,
        path: &EntryPath,
        entry: FileEntry,
        attributes: &Attributes,
        _content: &mut impl BufRead,
    ) -> Result<Made, UnpackError> {
        let kind = Kind::File { size: entry.size, layer: self.layer, number: entry.number };
        self.make(path, kind, Some(attributes))
    }

    fn folder(&mut self, path: &EntryPath) -> Result<Made, UnpackError> {
        self.make(path, Kind::Folder { children: Children::new(), opaque: false }, None)
    }

    fn symlink(
        &mut self,
        path: &EntryPath,
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<Made, UnpackError> {
        self.make(path, Kind::Symlink(target.into()), Some(attributes))
    }

    fn pipe(&mut self, path: &EntryPath, attributes: &Attributes) -> Result<Made, UnpackError> {
        self.make(path, Kind::Pipe, Some(attributes))
    }

    fn hard_link(&mut self, path: &EntryPath, target: &EntryPath) -> Result<Made, UnpackError> {
        let gone = || refused(path, Errno::NOENT);
        let node = self.at(target).map_err(|errno| refused(target, errno))?.ok_or_else(gone)?;
        // A folder that makes place takes the target with it.
        let is_below = target.as_bytes().starts_with(path.as_bytes())
            && target.as_bytes().get(path.as_bytes().len()) == Some(&b'/');
        if is_below {
            return Err(gone());
        }
        self.remember(NODE_BYTES + path.as_bytes().len() as u64)?;
        self.put(path, node)
    }

    fn whiteout(&mut self, path: &EntryPath) -> Result<Made, UnpackError> {
        self.make(path, Kind::Whiteout, None)
    }

    fn make_opaque(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        let folder = self.folder_at(path.as_bytes()).map_err(|errno| refused(path, errno))?;
        let folder = folder.ok_or_else(|| refused(path, Errno::NOENT))?;
        if let Kind::Folder { opaque, .. } = &mut self.node_mut(folder).kind {
            *opaque = true;
        }
        Ok(())
    }

    fn finish_folder(&mut self, path: &EntryPath, attributes: &Attributes) -> Result<u64, UnpackError> {
        let folder = self.folder_at(path.as_bytes()).map_err(|errno| refused(path, errno))?;
        let folder = folder.ok_or_else(|| refused(path, Errno::NOENT))?;
        let left_out = self.node_mut(folder).take(attributes);
        let xattr_bytes = self.node(folder).xattrs.len() as u64;
        self.remember(xattr_bytes)?;
        Ok(left_out)
    }
}
