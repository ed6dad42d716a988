//! A layer laid out in a folder, in the form that overlayfs takes.

use std::io::BufRead;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, XattrFlags};

use super::UnpackError;
use super::attributes::Attributes;
use super::entry_path::{EntryPath, c_string};
use super::folder::{
    Folder, OPAQUE_XATTR, create_file, create_folder, create_pipe, create_whiteout, refused, write_all,
};
use super::ground::{FileEntry, Ground, Made, Present};
use crate::tar::TarError;

impl Ground for Folder {
    fn present(&mut self, path: &EntryPath) -> Result<Present, UnpackError> {
        Folder::present(self, path)
    }

    fn has_parent(&mut self, path: &EntryPath) -> bool {
        matches!(self.parent(path), Ok(Some(_)))
    }

    fn file(
        &mut self,
        path: &EntryPath,
        entry: FileEntry,
        attributes: &Attributes,
        content: &mut impl BufRead,
    ) -> Result<Made, UnpackError> {
        let (mut file, folder_went) = self.replace(path, create_file)?;
        let written = write_all(path, content, &mut file)?;
        if written != entry.size {
            return Err(TarError::Truncated.into());
        }
        let attributes_left_out = attributes.apply(file.as_fd()).map_err(|errno| refused(path, errno))?;
        Ok(Made { folder_went, attributes_left_out })
    }

    fn folder(&mut self, path: &EntryPath) -> Result<Made, UnpackError> {
        self.replace(path, create_folder).map(made)
    }

    fn symlink(
        &mut self,
        path: &EntryPath,
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<Made, UnpackError> {
        let target = c_string(target);
        self.replace(path, |parent, name| {
            rustix::fs::symlinkat(&target, parent, name)?;
            attributes.apply_at(parent, name, true)
        })
        .map(made)
    }

    fn pipe(&mut self, path: &EntryPath, attributes: &Attributes) -> Result<Made, UnpackError> {
        self.replace(path, |parent, name| {
            create_pipe(parent, name)?;
            attributes.apply_at(parent, name, false)
        })
        .map(made)
    }

    fn hard_link(&mut self, path: &EntryPath, target: &EntryPath) -> Result<Made, UnpackError> {
        let from = self.open(&target.parent())?;
        let target_name = c_string(target.split().map_or(&b"."[..], |(_, name)| name));
        self.replace(path, |parent, name| {
            // Without AT_SYMLINK_FOLLOW: of a symbolic link the link itself gets another name.
            rustix::fs::linkat(&from, &target_name, parent, name, AtFlags::empty())
        })
        .map(made)
    }

    fn whiteout(&mut self, path: &EntryPath) -> Result<Made, UnpackError> {
        self.replace(path, create_whiteout).map(made)
    }

    fn make_opaque(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        let handle = self.open(path)?;
        rustix::fs::fsetxattr(&handle, OPAQUE_XATTR, b"y", XattrFlags::empty())
            .map_err(|errno| refused(path, errno))
    }

    fn finish_folder(&mut self, path: &EntryPath, attributes: &Attributes) -> Result<u64, UnpackError> {
        let handle = match path.is_root() {
            true => self.root().try_clone(),
            false => Ok(self.open(path)?),
        };
        let failed = |source| UnpackError::Write { path: path.clone(), source };
        attributes.apply(handle.map_err(failed)?.as_fd()).map_err(|errno| refused(path, errno))
    }
}

fn made(((), folder_went): ((), bool)) -> Made {
    Made { folder_went, attributes_left_out: 0 }
}
