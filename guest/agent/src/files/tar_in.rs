//! Unpacks a tar stream into a folder and nowhere else: every path is resolved beneath it, whatever links the archive or
//! the box have put there.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use agentkernel_protocol::{Event, Failure, FailureKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::{content, folder, path};
use crate::failure::{failure, io, system};
use crate::worker::Pipes;

/// Folders whose permissions and times are set at the end: what is put into them would change or be denied them.
const MAX_DELAYED: usize = 1_000_000;

/// Unpacks into the folder `path`.
pub(super) fn unpack(pipes: &Pipes, path: &[u8]) -> Result<Event, Failure> {
    folder::make(path, None)?;
    let base = path::open_folder(path).map_err(path::plain)?;
    let mut target = Target { base, folders: Vec::new() };
    let mut archive = Archive::new(&pipes.input);
    let broken = |error: std::io::Error| failure(FailureKind::Invalid, format!("the tar stream: {error}"));
    for entry in archive.entries().map_err(broken)? {
        target.put(&mut entry.map_err(broken)?)?;
    }
    // Padding after the archive's end.
    content::copy(&mut &pipes.input, &mut std::io::sink()).map_err(|error| io("the tar stream", &error))?;
    target.finish()?;
    if !content::input_is_complete(pipes) {
        return Err(failure(FailureKind::Other, "the tar stream was not sent to the end"));
    }
    Ok(Event::Done)
}

struct Target {
    base: OwnedFd,
    folders: Vec<(Vec<u8>, u32, i64)>,
}

/// The components of an archive's path. What climbs or is absolute is refused, not cut down: who made such an archive
/// means something else than we would do.
fn components(name: &[u8]) -> Result<Vec<&[u8]>, Failure> {
    use std::os::unix::ffi::OsStrExt;
    let refuse =
        || failure(FailureKind::Invalid, format!("{}: the path leaves the folder", path::shown(name)));
    let mut parts = Vec::new();
    for part in Path::new(std::ffi::OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(part) => parts.push(part.as_bytes()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(refuse()),
        }
    }
    Ok(parts)
}

impl Target {
    fn put(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), Failure> {
        let name = entry.path_bytes().into_owned();
        let parts = components(&name)?;
        let Some((last, above)) = parts.split_last() else { return Ok(()) };
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let named = |error: Errno| match error {
            Errno::XDEV | Errno::LOOP => failure(
                FailureKind::Invalid,
                format!("{}: a link leads out of the folder", path::shown(&name)),
            ),
            error => system(&path::shown(&name), error),
        };
        let parent = self.parent(above).map_err(named)?;
        let mode = entry.header().mode().unwrap_or(0o644) & 0o7777;
        let modified =
            entry.header().mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
        match kind {
            EntryType::Directory => {
                self.make_folder(&parent, last).map_err(named)?;
                if self.folders.len() == MAX_DELAYED {
                    return Err(failure(FailureKind::Invalid, "the tar stream has too many folders"));
                }
                self.folders.push((parts.join(&b'/'), mode, modified));
                Ok(())
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                make_room(&parent, last).map_err(named)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file =
                    rustix::fs::openat(&parent, *last, flags, Mode::from_raw_mode(0o600)).map_err(named)?;
                let mut file = File::from(file);
                content::copy(entry, &mut file).map_err(|error| io(&path::shown(&name), &error))?;
                rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(named)?;
                rustix::fs::futimens(&file, &times(modified)).map_err(named)
            }
            EntryType::Symlink => {
                let target = link_target(entry, &name)?;
                make_room(&parent, last).map_err(named)?;
                rustix::fs::symlinkat(target, &parent, *last).map_err(named)?;
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(&parent, *last, &times(modified), flags).map_err(named)
            }
            EntryType::Link => {
                let target = link_target(entry, &name)?;
                let target = components(&target)?;
                let (file, above) = target.split_last().ok_or_else(|| named(Errno::INVAL))?;
                let from = self.parent(above).map_err(named)?;
                make_room(&parent, last).map_err(named)?;
                // Without following: a link to a symbolic link is one to that link itself.
                rustix::fs::linkat(&from, *file, &parent, *last, AtFlags::empty()).map_err(named)
            }
            _ => Err(failure(
                FailureKind::Invalid,
                format!("{}: devices, pipes and sockets are not unpacked", path::shown(&name)),
            )),
        }
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if path.is_empty() {
            return rustix::fs::openat(&self.base, c".", flags, Mode::empty());
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        path::open_below(&self.base, path, flags, resolve)
    }

    /// The folder of an entry, made where it is missing.
    fn parent(&self, above: &[&[u8]]) -> Result<OwnedFd, Errno> {
        match self.open(&above.join(&b'/')) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let mut folder = self.open(b"")?;
        for end in 1..=above.len() {
            let path = above.get(..end).unwrap_or_default().join(&b'/');
            folder = match self.open(&path) {
                Err(Errno::NOENT) => {
                    let name = above.get(end - 1).copied().unwrap_or_default();
                    rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755))?;
                    self.open(&path)?
                }
                other => other?,
            };
        }
        Ok(folder)
    }

    /// A folder that is there already is kept, also where it is a link to one beneath.
    fn make_folder(&self, parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(()),
            FileType::Symlink if leads_to_folder(parent, name) => Ok(()),
            _ => {
                rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
                rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))
            }
        }
    }

    fn finish(&self) -> Result<(), Failure> {
        // Inner ones first: an outer one may deny the way to them.
        for (name, mode, modified) in self.folders.iter().rev() {
            let named = |error| system(&path::shown(name), error);
            // Replaced by a later entry, or a link out of the folder by now: not a folder of ours.
            let Ok(folder) = self.open(name) else { continue };
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(*mode)).map_err(named)?;
            rustix::fs::futimens(&folder, &times(*modified)).map_err(named)?;
        }
        Ok(())
    }
}

fn leads_to_folder(parent: &OwnedFd, name: &[u8]) -> bool {
    let stat = rustix::fs::statat(parent, name, AtFlags::empty());
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn link_target(entry: &Entry<'_, impl Read>, name: &[u8]) -> Result<Vec<u8>, Failure> {
    let target = entry.link_name_bytes().map(|target| target.into_owned());
    let missing = || failure(FailureKind::Invalid, format!("{}: a link without a target", path::shown(name)));
    target.filter(|target| !target.is_empty()).ok_or_else(missing)
}

/// What is in the way of a file goes, but for a folder.
fn make_room(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

fn times(modified: i64) -> Timestamps {
    let time = Timespec { tv_sec: modified, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_are_refused() {
        for bad in [&b"/etc/passwd"[..], b"../x", b"a/../../x", b"a/.."] {
            assert!(components(bad).is_err(), "{bad:?}");
        }
        assert_eq!(components(b"./a//b/").unwrap(), [b"a", b"b"]);
        assert!(components(b"./").unwrap().is_empty());
    }
}
