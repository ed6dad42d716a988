//! What the host puts into the root before anything runs there. The image, and what an earlier start of the box has left,
//! are hostile: no path is resolved beyond the root, and what is in the place of ours is replaced.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::mount::at;

/// The folders that every root has, with the permissions that they get whatever the image says.
const FOLDERS: [(&str, u32); 5] =
    [("dev", 0o755), ("etc", 0o755), ("proc", 0o555), ("sys", 0o555), ("tmp", 0o1777)];

/// Made anew at each start: nothing that is put there stays.
const MADE_ANEW: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Makes [`FOLDERS`] real folders. Permissions that an earlier start of the box has changed are left.
pub(super) fn folders(root: &OwnedFd, fresh: bool) -> Result<(), String> {
    for (name, mode) in FOLDERS {
        own_folder(root, name, mode, fresh).map_err(at(format!("make the folder /{name}")))?;
    }
    Ok(())
}

fn own_folder(root: &OwnedFd, name: &str, mode: u32, fresh: bool) -> Result<(), Errno> {
    let make = || rustix::fs::mkdirat(root, name, mode.into());
    match make() {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if !fresh => return Ok(()),
                FileType::Directory => {}
                _ => {
                    rustix::fs::unlinkat(root, name, AtFlags::empty())?;
                    make()?;
                }
            }
        }
        Err(errno) => return Err(errno),
    }
    // A real folder by now, and nobody else is there to change that.
    rustix::fs::chmodat(root, name, mode.into(), AtFlags::empty())
}

/// Writes a file in the place of whatever is there but a folder.
pub(super) fn file(root: &OwnedFd, path: &Path, mode: u32, content: &[u8]) -> Result<(), String> {
    let what = || format!("write {}", path.display());
    let inside = inside(path).map_err(|why| format!("{}: {why}", what()))?;
    let name = inside.file_name().ok_or_else(|| format!("{}: it is no name of a file", what()))?;
    let parent = inside.parent().unwrap_or(Path::new(""));
    let write = || -> Result<(), Errno> {
        let parent = folder_below(root, parent)?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, name, flags, Mode::from(mode))?;
        let mut rest = content;
        while !rest.is_empty() {
            let length = rustix::io::write(&file, rest)?;
            rest = rest.get(length..).unwrap_or_default();
        }
        // Whatever the umask.
        rustix::fs::fchmod(&file, Mode::from(mode & 0o7777))
    };
    write().map_err(at(what()))
}

/// Makes the folder where commands start, unless it is in what is made anew.
pub(super) fn workdir(root: &OwnedFd, path: &Path) -> Result<(), String> {
    let what = || format!("make the folder {}", path.display());
    let inside = inside(path).map_err(|why| format!("{}: {why}", what()))?;
    if MADE_ANEW.iter().any(|folder| path.starts_with(folder)) {
        return Ok(());
    }
    folder_below(root, &inside).map(drop).map_err(at(what()))
}

/// Refers to `path`, to be mounted on: a folder, or a file, made with its parents where it is missing. Links are followed as
/// within the root.
pub(super) fn place(root: &OwnedFd, path: &Path, is_file: bool) -> Result<OwnedFd, String> {
    let what = || format!("make {}", path.display());
    let inside = inside(path).map_err(|why| format!("{}: {why}", what()))?;
    if !is_file {
        return folder_below(root, &inside).map_err(at(what()));
    }
    let name = inside.file_name().ok_or_else(|| format!("{}: it is no name of a file", what()))?;
    let make = || -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::openat2(root, &inside, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let parent = folder_below(root, inside.parent().unwrap_or(Path::new("")))?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, name, flags, Mode::from(0o644))
    };
    make().map_err(at(what()))
}

/// `path` from the root on.
fn inside(path: &Path) -> Result<PathBuf, &'static str> {
    if !path.is_absolute() {
        return Err("the path is not absolute");
    }
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err("the path holds \"..\""),
        }
    }
    Ok(inside)
}

/// The folder at `path`, made with its parents where it is missing. Links are followed as within the root.
fn folder_below(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let mut folder = open_folder(root.as_fd(), Path::new("."))?;
    let mut so_far = PathBuf::new();
    for name in path {
        so_far.push(name);
        folder = match open_folder(root.as_fd(), &so_far) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&folder, name, 0o755.into())?;
                open_folder(root.as_fd(), &so_far)?
            }
            other => other?,
        };
    }
    Ok(folder)
}

fn open_folder(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("root")).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(place.path().join("root"), flags, Mode::empty()).unwrap();
        (place, root)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn links_and_files_in_the_place_of_our_folders_are_replaced() {
        let (place, root) = root();
        let inside = place.path().join("root");
        symlink(place.path(), inside.join("dev")).unwrap();
        std::fs::write(inside.join("proc"), "").unwrap();
        std::fs::create_dir(inside.join("tmp")).unwrap();
        folders(&root, true).unwrap();
        for (name, wanted) in FOLDERS {
            assert!(std::fs::symlink_metadata(inside.join(name)).unwrap().is_dir(), "{name}");
            assert_eq!(mode(&inside.join(name)), wanted, "{name}");
        }
        std::fs::set_permissions(inside.join("tmp"), PermissionsExt::from_mode(0o700)).unwrap();
        folders(&root, false).unwrap();
        assert_eq!(mode(&inside.join("tmp")), 0o700, "the box's own choice");
    }

    #[test]
    fn no_link_leads_out() {
        let (place, root) = root();
        let inside = place.path().join("root");
        symlink(place.path(), inside.join("out")).unwrap();
        symlink("../../..", inside.join("up")).unwrap();
        symlink("/nonexistent", inside.join("link")).unwrap();
        for path in ["/out/f", "/up/f", "/up/deep/f", "/link", "/a/b/c"] {
            // Absolute links are resolved from the root on, where the first leads nowhere.
            let result = file(&root, Path::new(path), 0o604, b"content");
            assert_eq!(result.is_ok(), path != "/out/f", "{path}: {result:?}");
        }
        assert!(!place.path().join("f").exists() && !place.path().join("deep").exists());
        for path in ["f", "deep/f", "link", "a/b/c"] {
            assert_eq!(std::fs::read(inside.join(path)).unwrap(), b"content", "{path}");
            assert_eq!(mode(&inside.join(path)), 0o604, "{path}");
        }
        file(&root, Path::new("/f"), 0o600, b"new").unwrap();
        assert_eq!(std::fs::read(inside.join("f")).unwrap(), b"new");
    }

    #[test]
    fn wrong_paths_are_refused() {
        let (_place, root) = root();
        for (path, expected) in [("relative", "not absolute"), ("/a/../b", ".."), ("/", "no name")] {
            let error = file(&root, Path::new(path), 0o644, b"").unwrap_err();
            assert!(error.contains(expected), "{path}: {error}");
        }
    }

    #[test]
    fn a_workdir_is_made_but_not_where_nothing_stays() {
        let (place, root) = root();
        workdir(&root, Path::new("/a/b")).unwrap();
        workdir(&root, Path::new("/a/b")).unwrap();
        workdir(&root, Path::new("/proc/x")).unwrap();
        workdir(&root, Path::new("/")).unwrap();
        assert!(place.path().join("root/a/b").is_dir());
        assert!(!place.path().join("root/proc").exists());
        std::fs::write(place.path().join("root/file"), "").unwrap();
        assert!(workdir(&root, Path::new("/file")).unwrap_err().contains("not a directory"));
    }
}
