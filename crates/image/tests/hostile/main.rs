//! Images that a hostile stranger might make, and what must not come of them: each is refused or contained, and what is
//! outside the store stays as it is.

#![cfg(test)]

use std::path::{Path, PathBuf};

use crafted::Tar;

#[path = "../crafted/streams.rs"]
mod crafted;
#[path = "../crafted/erofs.rs"]
mod erofs;
mod images;
mod layers;

/// All below `folder`, links not followed.
pub(crate) fn walk(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                waiting.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

pub(crate) fn tar() -> Tar {
    Tar::default()
}
