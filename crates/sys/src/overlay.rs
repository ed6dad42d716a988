//! Overlay filesystems of many lower folders, made inside a user namespace. All of it is child-safe: whatever needs
//! memory is prepared by [`OverlayFolders::new`].

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::mount::{MountAttributes, set_attributes};

/// The longest text that fsconfig(2) takes, without its end.
const MOST_BYTES: usize = 255;

/// What names of links are made of.
const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The folders of an overlay. Paths are resolved in the working directory when the overlay is made.
#[derive(Debug)]
pub struct OverlayFolders {
    /// Topmost first.
    lowers: Vec<CString>,
    upper: CString,
    work: CString,
    /// For kernels that want all lower folders in one text of 255 bytes: short names for links to them.
    links: Vec<CString>,
    /// The links, joined; `None` where they are too many.
    joined: Option<CString>,
}

impl OverlayFolders {
    /// `lowers` has the topmost first; at most 255 bytes each.
    pub fn new(lowers: Vec<CString>, upper: CString, work: CString) -> Self {
        let links: Vec<CString> = (0..lowers.len()).map(link_name).collect();
        let joined = links.iter().map(|link| link.as_bytes()).collect::<Vec<_>>().join(&b':');
        let joined = (joined.len() <= MOST_BYTES).then(|| CString::new(joined).unwrap_or_default());
        Self { lowers, upper, work, links, joined }
    }

    /// How many lower folders there are.
    pub fn count(&self) -> usize {
        self.lowers.len()
    }

    /// An overlay of them, attached nowhere, with its notes in `user.overlay.*` attributes, as user namespaces must have
    /// them (kernel documentation, filesystems/overlayfs.rst, "userxattr"). Errors: fsopen(2), fsconfig(2); E2BIG where a
    /// kernel older than 6.8 can't take so many folders.
    pub fn mount(&self, attributes: MountAttributes) -> Result<OwnedFd, Errno> {
        match self.mount_as(attributes, Lowers::OneByOne) {
            // `lowerdir+` is known since Linux 6.8.
            Err(Errno::INVAL) => self.mount_as(attributes, Lowers::Joined),
            other => other,
        }
    }

    fn mount_as(&self, attributes: MountAttributes, form: Lowers) -> Result<OwnedFd, Errno> {
        let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let set = |key: &CStr, value: &CStr| rustix::mount::fsconfig_set_string(&context, key, value);
        match form {
            Lowers::OneByOne => self.lowers.iter().try_for_each(|lower| set(c"lowerdir+", lower))?,
            Lowers::Joined => {
                self.make_links()?;
                set(c"lowerdir", self.joined.as_deref().ok_or(Errno::TOOBIG)?)?;
            }
        }
        set(c"upperdir", &self.upper)?;
        set(c"workdir", &self.work)?;
        rustix::mount::fsconfig_set_flag(&context, c"userxattr")?;
        rustix::mount::fsconfig_create(&context)?;
        let tree = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        set_attributes(&tree, attributes, false, None)?;
        Ok(tree)
    }

    fn make_links(&self) -> Result<(), Errno> {
        self.links.iter().zip(&self.lowers).try_for_each(|(link, lower)| {
            match rustix::fs::unlinkat(rustix::fs::CWD, link, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => rustix::fs::symlink(lower, link),
                Err(errno) => Err(errno),
            }
        })
    }
}

/// How the kernel is told of the lower folders.
#[derive(Clone, Copy)]
enum Lowers {
    OneByOne,
    Joined,
}

/// One letter for the first ones, two for the rest.
fn link_name(index: usize) -> CString {
    let letter = |index: usize| LETTERS[index % LETTERS.len()];
    let name = match index / LETTERS.len() {
        0 => vec![letter(index)],
        above => vec![letter(above - 1), letter(index)],
    };
    CString::new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::forked::{in_child, is_root};

    fn c(text: &str) -> CString {
        CString::new(text).unwrap()
    }

    #[test]
    fn names_of_links_differ_and_fit_for_many_layers() {
        let names: BTreeSet<CString> = (0..1000).map(link_name).collect();
        assert_eq!(names.len(), 1000);
        let folders = |count| OverlayFolders::new(vec![c("x"); count], c("upper"), c("work"));
        assert_eq!(folders(3).joined, Some(c("0:1:2")));
        assert!(folders(97).joined.is_some_and(|joined| joined.as_bytes().len() <= MOST_BYTES));
        assert_eq!(folders(128).joined, None);
    }

    /// Makes an overlay of two layers in a mount namespace of its own; 0 where the topmost wins and both are seen.
    fn overlay_in(folder: &Path, form: Lowers) -> u8 {
        let try_it = || -> Result<bool, Errno> {
            use rustix::mount::{MountPropagationFlags, mount_change};
            rustix::process::chdir(folder)?;
            #[expect(unsafe_code, reason = "unshare has no safe wrapper")]
            // SAFETY: a plain flag, in a child of its own.
            if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
                return Err(crate::mount::last_errno());
            }
            mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            let lowers = vec![c("layers/second"), c("layers/first")];
            let folders = OverlayFolders::new(lowers, c("upper"), c("work"));
            let tree = folders.mount_as(MountAttributes::PLAIN, form)?;
            let read = |name: &CStr| -> Result<Vec<u8>, Errno> {
                let file =
                    rustix::fs::openat(&tree, name, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())?;
                let mut bytes = [0; 16];
                let length = rustix::io::read(file, &mut bytes)?;
                Ok(bytes[..length].to_vec())
            };
            Ok(read(c"both")? == b"second" && read(c"lowest")? == b"first")
        };
        match try_it() {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(_) => 2,
        }
    }

    #[test]
    fn the_topmost_layer_wins_however_the_kernel_is_told() {
        if !is_root() {
            return;
        }
        for form in [Lowers::OneByOne, Lowers::Joined] {
            let folder = tempfile::tempdir().unwrap();
            for (path, content) in
                [("first/both", "first"), ("first/lowest", "first"), ("second/both", "second")]
            {
                let path = folder.path().join("layers").join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            for name in ["upper", "work"] {
                std::fs::create_dir(folder.path().join(name)).unwrap();
            }
            let status = in_child(|| overlay_in(folder.path(), form));
            assert_eq!(status.code(), Some(0));
        }
    }
}
