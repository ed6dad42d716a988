//! Making, removing and renaming.

use rustix::fs::{AtFlags, FileType, RenameFlags};
use rustix::io::Errno;

use crate::attributes::permissions;
use crate::server::{FolderServer, Reply};
use crate::wire::{Answer, Fields};

impl FolderServer {
    pub(crate) fn make_folder(&self, node: u64, mut fields: Fields<'_>) -> Reply {
        let mode = permissions(fields.u32()?, FileType::Directory)?;
        fields.skip(4)?;
        let name = fields.name()?;
        let folder = self.folder(node)?;
        rustix::fs::mkdirat(&folder.place, name, mode)?;
        self.told_of_new(&folder, name)
    }

    /// Files, pipes and sockets. A device of the host is nothing that a guest makes.
    pub(crate) fn make_node(&self, node: u64, mut fields: Fields<'_>) -> Reply {
        let mode = fields.u32()?;
        fields.skip(12)?;
        let name = fields.name()?;
        let kind = FileType::from_raw_mode(mode);
        if !matches!(kind, FileType::RegularFile | FileType::Fifo | FileType::Socket) {
            return Err(Errno::PERM);
        }
        let folder = self.folder(node)?;
        rustix::fs::mknodat(&folder.place, name, kind, permissions(mode, kind)?, 0)?;
        self.told_of_new(&folder, name)
    }

    pub(crate) fn make_link(&self, node: u64, mut fields: Fields<'_>) -> Reply {
        let (name, content) = (fields.name()?, fields.link()?);
        let folder = self.folder(node)?;
        rustix::fs::symlinkat(content, &folder.place, name)?;
        self.told_of_new(&folder, name)
    }

    /// Another name for a file. `node` is the folder.
    pub(crate) fn make_name(&self, node: u64, mut fields: Fields<'_>) -> Reply {
        let (file, name) = (fields.u64()?, fields.name()?);
        let (file, folder) = (self.nodes.get(file)?, self.folder(node)?);
        // What the descriptor refers to, be that a link: not what a link says.
        let source = Self::descriptor_name(&file.place);
        rustix::fs::linkat(self.descriptors(), source, &folder.place, name, AtFlags::SYMLINK_FOLLOW)?;
        self.told_of_new(&folder, name)
    }

    fn told_of_new(&self, folder: &crate::nodes::Node, name: &std::ffi::CStr) -> Reply {
        let mut answer = Answer::new();
        self.tell(&mut answer, Self::refer(folder, name)?)?;
        Ok(answer)
    }

    pub(crate) fn remove(&self, node: u64, mut fields: Fields<'_>, flags: AtFlags) -> Reply {
        let name = fields.name()?;
        rustix::fs::unlinkat(&self.folder(node)?.place, name, flags)?;
        Ok(Answer::new())
    }

    pub(crate) fn rename(&self, node: u64, mut fields: Fields<'_>, has_flags: bool) -> Reply {
        let target = fields.u64()?;
        let flags = match has_flags {
            false => RenameFlags::empty(),
            true => {
                let flags = RenameFlags::from_bits_retain(fields.u32()?);
                fields.skip(4)?;
                flags
            }
        };
        // A white-out is a device.
        if !(RenameFlags::NOREPLACE | RenameFlags::EXCHANGE).contains(flags) {
            return Err(Errno::INVAL);
        }
        let (from, to) = (fields.name()?, fields.name()?);
        let (source, target) = (self.folder(node)?, self.folder(target)?);
        rustix::fs::renameat_with(&source.place, from, &target.place, to, flags)?;
        Ok(Answer::new())
    }
}
