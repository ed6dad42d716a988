//! Removing a tree that a hostile tenant has made: any depth, any names, with two descriptors and no allocation.
//! Folders inside folders are moved up to the top before they are emptied, so depth costs nothing; links are removed and
//! never followed. Child-safe.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, RenameFlags};
use rustix::io::Errno;

/// Bytes of folder entries read at once; one entry takes at most 280.
const BUFFER_BYTES: usize = 4096;

/// Where a folder is.
#[derive(Clone, Copy)]
enum Place {
    Top,
    Below,
}

/// A name at the top that nobody has, made without allocation.
struct FreshName {
    next: u64,
    text: [u8; 24],
}

impl FreshName {
    fn advance(&mut self) -> &CStr {
        self.next += 1;
        let mut rest = self.next;
        let mut end = self.text.len() - 1;
        self.text = [0; 24];
        while rest > 0 {
            end -= 1;
            // A digit fits a byte.
            self.text[end] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        end -= 1;
        self.text[end] = b'~';
        CStr::from_bytes_until_nul(&self.text[end..]).unwrap_or(c"~")
    }
}

/// Removes all that is in the folder `top`, and leaves it empty.
///
/// # Errors
/// What unlinkat(2), renameat2(2) and openat(2) give; what is gone already is no error.
pub fn remove_contents(top: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut fresh = FreshName { next: 0, text: [0; 24] };
    while empty_once(top, top, Place::Top, &mut fresh)? {}
    Ok(())
}

/// One pass over `folder`: files go, folders below the top move up, folders at the top are emptied and go. Whether
/// anything was found.
fn empty_once(
    top: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    place: Place,
    fresh: &mut FreshName,
) -> Result<bool, Errno> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    let reader = open_folder(folder, c".")?;
    let mut entries = RawDir::new(&reader, &mut buffer);
    let mut found = false;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        found = true;
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        match place {
            Place::Below => move_up(top, folder, name, fresh)?,
            Place::Top => remove_folder(top, name, fresh)?,
        }
    }
    Ok(found)
}

fn remove_folder(top: BorrowedFd<'_>, name: &CStr, fresh: &mut FreshName) -> Result<(), Errno> {
    let folder: OwnedFd = match open_folder(top, name) {
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(top, name, Mode::RWXU, AtFlags::empty())?;
            open_folder(top, name)?
        }
        other => other?,
    };
    while empty_once(top, folder.as_fd(), Place::Below, fresh)? {}
    match rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn move_up(
    top: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &CStr,
    fresh: &mut FreshName,
) -> Result<(), Errno> {
    loop {
        match rustix::fs::renameat_with(folder, name, top, fresh.advance(), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Ok(()),
            // Its owner may have taken the right to write into it from itself.
            Err(Errno::ACCESS) => rustix::fs::chmodat(folder, name, Mode::RWXU, AtFlags::empty())?,
            other => return other,
        }
    }
}

fn open_folder(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeper_than_any_path_and_never_through_a_link() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("precious"), "kept").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let top: OwnedFd = std::fs::File::open(folder.path()).unwrap().into();
        let mut below = rustix::io::fcntl_dupfd_cloexec(&top, 0).unwrap();
        for _ in 0..5000 {
            rustix::fs::mkdirat(&below, c"deep", Mode::RWXU).unwrap();
            rustix::fs::symlinkat(outside.path(), &below, c"link").unwrap();
            below = open_folder(below.as_fd(), c"deep").unwrap();
        }
        std::fs::write(folder.path().join("~1"), "in the way of the first fresh name").unwrap();
        for number in 0..300 {
            std::fs::write(folder.path().join(format!("file with a long name {number}")), "").unwrap();
        }
        drop(below);
        remove_contents(top.as_fd()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(std::fs::read_to_string(outside.path().join("precious")).unwrap(), "kept");
    }
}
