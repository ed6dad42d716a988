//! The folder of all logs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::SystemTime;

use agentkernel_protocol::{ExecutionEntry, Failure};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::note::{self, Note};
use super::{Log, ring};
use crate::failure::system;
use crate::random_id::is_id;

/// Where logs go if the backend gave no folder.
const OWN_FOLDER: &str = "/run/agentkernel";

/// The most files that are looked at: root of a container may have put any number there.
const MAX_FILES: usize = 10_000;

/// The most notes that are read.
const MAX_NOTES: usize = 1024;

/// The folder, as every log holds it.
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    /// Whether commands are noted for the next agent.
    pub(super) keeps: bool,
}

impl Opened {
    /// A file that is gone already is what is wanted.
    pub(super) fn unlink(&self, name: &str) {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()).ok();
    }
}

/// A command of an earlier agent, with its log.
pub(crate) struct Kept {
    pub(crate) entry: ExecutionEntry,
    pub(crate) started: SystemTime,
    pub(crate) log: Rc<Log>,
}

/// The folder, opened when it is first needed.
pub(crate) struct LogFolder {
    given: Option<OwnedFd>,
    keeps: bool,
    opened: RefCell<Option<Rc<Opened>>>,
}

impl LogFolder {
    /// `given` by the backend, or one of our own, made when it is needed. `keeps`: whether a later agent will look for what
    /// this one leaves.
    pub(crate) fn new(given: Option<OwnedFd>, keeps: bool) -> Self {
        Self { given, keeps, opened: RefCell::new(None) }
    }

    pub(super) fn open(&self) -> Result<Rc<Opened>, Failure> {
        let mut opened = self.opened.borrow_mut();
        if let Some(folder) = opened.as_ref() {
            return Ok(Rc::clone(folder));
        }
        let fail = |error| system("opening the folder of logs", error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match &self.given {
            Some(given) => rustix::io::fcntl_dupfd_cloexec(given, 3).map_err(fail)?,
            None => {
                match rustix::fs::mkdirat(CWD, OWN_FOLDER, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(fail(error)),
                }
                rustix::fs::openat(CWD, OWN_FOLDER, flags, Mode::empty()).map_err(fail)?
            }
        };
        let folder = Rc::new(Opened { fd, keeps: self.keeps });
        *opened = Some(Rc::clone(&folder));
        Ok(folder)
    }

    /// What an earlier agent has left, oldest first. Removes what belongs to no command.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        // Without a folder no log can be made either, which is then said.
        let Ok(folder) = self.open() else { return Vec::new() };
        let mut found = look(&folder);
        let notes = if self.keeps { std::mem::take(&mut found.notes) } else { Vec::new() };
        let mut notes: Vec<Note> =
            notes.iter().take(MAX_NOTES).filter_map(|id| note::read(&folder.fd, id)).collect();
        notes.sort_by_key(|note| note.written);
        let kept = notes.into_iter().map(|Note { entry, started, .. }| {
            let segments = found.segments.remove(&entry.id).unwrap_or_default();
            found.others.retain(|name| name.strip_prefix(note::PREFIX) != Some(entry.id.as_str()));
            let log = Log::kept(Rc::clone(&folder), entry.id.clone(), segments);
            Kept { entry, started, log: Rc::new(log) }
        });
        let kept = kept.collect();
        let orphans = found.segments.iter().flat_map(|(id, generations)| {
            generations.iter().map(move |generation| ring::file_name(id, *generation))
        });
        orphans.chain(found.others).for_each(|name| folder.unlink(&name));
        kept
    }
}

/// What lies in a folder.
#[derive(Default)]
struct Found {
    /// Ids of commands.
    notes: Vec<String>,
    /// Of each id.
    segments: BTreeMap<String, Vec<u64>>,
    /// Everything that is ours by its name and not a segment, notes included.
    others: Vec<String>,
}

fn look(folder: &Opened) -> Found {
    let mut found = Found::default();
    // The backend's descriptor may be one by path (open(2), O_PATH), which can't be listed itself.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listed = rustix::fs::openat(&folder.fd, c".", flags, Mode::empty());
    let Ok(entries) = listed.and_then(Dir::new) else { return found };
    for entry in entries.flatten().take(MAX_FILES) {
        let Ok(name) = entry.file_name().to_str() else { continue };
        if let Some((id, generation)) = ring::parse_file_name(name) {
            found.segments.entry(id.to_owned()).or_default().push(generation);
            continue;
        }
        if let Some(id) = name.strip_prefix(note::PREFIX).filter(|id| is_id(id)) {
            found.notes.push(id.to_owned());
        }
        if [note::PREFIX, note::WRITING_PREFIX, ring::PREFIX].iter().any(|prefix| name.starts_with(prefix)) {
            found.others.push(name.to_owned());
        }
    }
    found
}
