//! One layer on top of others, as overlayfs shows them (kernel documentation, filesystems/overlayfs.rst): a folder over a
//! folder shows what is in both and has the upper one's attributes, anything else replaces what is below it.

use super::tree::{Children, Kind, NodeId, Tree};

impl Tree {
    /// Lays the folder `upper` over the folder `lower`, of which nothing else is left. No folder is in two others, so
    /// each is seen once.
    pub(super) fn merge(&mut self, lower: NodeId, upper: NodeId) {
        let mut waiting = vec![(Some(lower), upper)];
        while let Some((lower, upper)) = waiting.pop() {
            let (own, opaque) = self.take_children(upper);
            let mut shown = match lower {
                Some(lower) if !opaque => self.take_children(lower).0,
                _ => Children::new(),
            };
            for (name, node) in own {
                match self.node(node).kind {
                    Kind::Whiteout => {
                        shown.remove(&name);
                    }
                    Kind::Folder { .. } => {
                        let below = shown.insert(name, node);
                        waiting.push((below.filter(|below| self.children(*below).is_some()), node));
                    }
                    Kind::File { .. } | Kind::Symlink(_) | Kind::Pipe => {
                        shown.insert(name, node);
                    }
                }
            }
            if let Kind::Folder { children, .. } = &mut self.node_mut(upper).kind {
                *children = shown;
            }
        }
    }

    fn take_children(&mut self, folder: NodeId) -> (Children, bool) {
        match &mut self.node_mut(folder).kind {
            Kind::Folder { children, opaque } => (std::mem::take(children), std::mem::take(opaque)),
            _ => (Children::new(), false),
        }
    }
}
