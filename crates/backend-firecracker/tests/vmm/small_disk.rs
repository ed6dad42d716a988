//! A disk that is soon full.

use std::path::{Path, PathBuf};

use crate::stage::is_root;

/// Mounted over a folder; gone when dropped.
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// `None`, with the reason printed, where there can be none.
    pub(crate) fn over(folder: &Path, mebibytes: u32) -> Option<Self> {
        use rustix::mount::{MountFlags, mount};
        if !is_root() {
            println!("SKIPPED: only root can mount a small disk");
            return None;
        }
        std::fs::create_dir_all(folder).unwrap();
        let options = std::ffi::CString::new(format!("size={mebibytes}m,mode=700")).unwrap();
        match mount("small", folder, "tmpfs", MountFlags::empty(), Some(options.as_c_str())) {
            Ok(()) => Some(Self { at: folder.to_owned() }),
            Err(errno) => {
                println!("SKIPPED: no small disk can be mounted here: {errno}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(errno) = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH) {
            println!("{} stays mounted: {errno}", self.at.display());
        }
    }
}
