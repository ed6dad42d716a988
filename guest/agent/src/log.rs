//! The logs of detached commands: at most so many bytes on disk, in two segments of which the older is dropped when the
//! newer is full. Each record says which stream it is of and where in the whole output it stands, so that nothing that
//! was dropped goes unnoticed. What can't be written is dropped and counted; the command never notices.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use agentkernel_protocol::{Failure, FailureKind, Stream};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::GetRandomFlags;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::failure::{failure, system};
use crate::pump;

/// The smallest log: two segments with room for a few lines each.
const MIN_LIMIT: u64 = 4096;

/// The longest content of a record.
pub(crate) const MAX_RECORD: usize = 32 * 1024;

/// The length of a record's header.
pub(crate) const RECORD_HEADER: usize = 13;

/// Where logs go if the backend gave no folder.
const OWN_FOLDER: &str = "/run/agentkernel";

/// What a log's file names start with.
const PREFIX: &str = "log-";

/// How much of a command's last output is looked for at its end: all that a pipe can hold.
const DRAIN_LIMIT: usize = 1 << 20;

/// A random name of 16 hexadecimal digits.
pub(crate) fn random_id() -> String {
    let mut bytes = [0; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(bytes.get_mut(filled..).unwrap_or_default(), GetRandomFlags::empty()) {
            Ok(length) => filled += length,
            Err(Errno::INTR) => {}
            // A kernel without it: the address space's own randomness and the clock are what is left.
            Err(_) => {
                let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                bytes = (clock.tv_nsec as u64 ^ (&raw const bytes as u64)).to_ne_bytes();
                filled = bytes.len();
            }
        }
    }
    format!("{:016x}", u64::from_ne_bytes(bytes))
}

/// The folder of all logs.
pub(crate) struct LogFolder {
    given: Option<OwnedFd>,
    opened: RefCell<Option<Rc<OwnedFd>>>,
}

impl LogFolder {
    /// `given` by the backend, or one of our own, made when it is needed first.
    pub(crate) fn new(given: Option<OwnedFd>) -> Self {
        Self { given, opened: RefCell::new(None) }
    }

    fn open(&self) -> Result<Rc<OwnedFd>, Failure> {
        let mut opened = self.opened.borrow_mut();
        if let Some(folder) = opened.as_ref() {
            return Ok(Rc::clone(folder));
        }
        let fail = |error| system("opening the folder of logs", error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match &self.given {
            Some(given) => rustix::io::fcntl_dupfd_cloexec(given, 3).map_err(fail)?,
            None => {
                match rustix::fs::mkdirat(CWD, OWN_FOLDER, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(fail(error)),
                }
                rustix::fs::openat(CWD, OWN_FOLDER, flags, Mode::empty()).map_err(fail)?
            }
        };
        remove_old(&folder);
        let folder = Rc::new(folder);
        *opened = Some(Rc::clone(&folder));
        Ok(folder)
    }
}

/// Logs of an earlier agent can't be asked for any more.
fn remove_old(folder: &OwnedFd) {
    let Ok(entries) = Dir::read_from(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_bytes().starts_with(PREFIX.as_bytes()) {
            // One that can't be removed does no harm.
            rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty()).ok();
        }
    }
}

struct Segment {
    generation: u64,
    /// The offset of its first byte in the whole output.
    start: u64,
    /// The length of the file, headers included.
    length: u64,
    /// Open while it is written.
    file: Option<OwnedFd>,
}

#[derive(Default)]
struct Written {
    segments: VecDeque<Segment>,
    generation: u64,
}

/// How far a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// All output so far, dropped or not.
    pub(crate) end: u64,
    /// The command has ended, and this was its output.
    pub(crate) ended: bool,
}

/// The log of one command.
pub(crate) struct Log {
    folder: Rc<OwnedFd>,
    id: String,
    segment_limit: u64,
    written: RefCell<Written>,
    progress: watch::Sender<Progress>,
}

impl Log {
    /// An empty one.
    pub(crate) fn new(folder: &LogFolder, limit: u64) -> Result<Rc<Self>, Failure> {
        if limit < MIN_LIMIT {
            let why = format!("a log of {limit} bytes is too small: at least {MIN_LIMIT} are needed");
            return Err(failure(FailureKind::Invalid, why));
        }
        Ok(Rc::new(Self {
            folder: folder.open()?,
            id: random_id(),
            segment_limit: limit / 2,
            written: RefCell::default(),
            progress: watch::Sender::new(Progress::default()),
        }))
    }

    /// The command's id, which names the files.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Follows its growth.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Adds output.
    pub(crate) fn append(&self, stream: Stream, mut bytes: &[u8]) {
        let mut offset = self.progress.borrow().end;
        let end = offset + bytes.len() as u64;
        while !bytes.is_empty() {
            let written = self.append_record(stream, offset, bytes);
            if written == 0 {
                break;
            }
            offset += written as u64;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        self.progress.send_modify(|progress| progress.end = end);
    }

    /// How many of `bytes` were written; 0 where nothing can be.
    fn append_record(&self, stream: Stream, offset: u64, bytes: &[u8]) -> usize {
        let mut written = self.written.borrow_mut();
        let header = RECORD_HEADER as u64;
        let room = |segment: &Segment| (self.segment_limit - segment.length).saturating_sub(header);
        if written.segments.back().map_or(0, room) == 0 && self.rotate(&mut written, offset).is_err() {
            return 0;
        }
        let Some(segment) = written.segments.back_mut() else { return 0 };
        let length = bytes.len().min(MAX_RECORD).min(room(segment).try_into().unwrap_or(usize::MAX));
        let Some(file) = &segment.file else { return 0 };
        let mut record = Vec::with_capacity(RECORD_HEADER + length);
        record.extend_from_slice(&offset.to_le_bytes());
        record.extend_from_slice(&(length as u32).to_le_bytes());
        record.push(stream.number());
        record.extend_from_slice(bytes.get(..length).unwrap_or_default());
        match rustix::io::pwrite(file, &record, segment.length) {
            Ok(count) if count == record.len() => {
                segment.length += count as u64;
                length
            }
            // A full disk: a part of a record is overwritten by the next try.
            _ => 0,
        }
    }

    fn rotate(&self, written: &mut Written, start: u64) -> Result<(), Errno> {
        let generation = written.generation + 1;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = self.file_name(generation);
        let file = rustix::fs::openat(self.folder.as_fd(), name, flags, Mode::from_raw_mode(0o600))?;
        written.generation = generation;
        if let Some(full) = written.segments.back_mut() {
            full.file = None;
        }
        written.segments.push_back(Segment { generation, start, length: 0, file: Some(file) });
        if written.segments.len() > 2
            && let Some(oldest) = written.segments.pop_front()
        {
            self.unlink(oldest.generation);
        }
        Ok(())
    }

    fn file_name(&self, generation: u64) -> String {
        format!("{PREFIX}{}.{generation}", self.id)
    }

    fn unlink(&self, generation: u64) {
        // A file that is gone already is what is wanted.
        rustix::fs::unlinkat(self.folder.as_fd(), self.file_name(generation), AtFlags::empty()).ok();
    }

    /// The command has ended, and all of its output is in.
    pub(crate) fn command_ended(&self) {
        self.progress.send_modify(|progress| progress.ended = true);
    }

    /// Nothing will be added any more.
    pub(crate) fn close(&self) {
        if let Some(last) = self.written.borrow_mut().segments.back_mut() {
            last.file = None;
        }
    }

    /// The offset of the oldest byte that is still there, or of the next one.
    pub(crate) fn oldest(&self) -> u64 {
        let end = self.progress.borrow().end;
        self.written.borrow().segments.front().map_or(end, |segment| segment.start)
    }

    /// The generation of the segment that holds `offset` or comes next after it.
    pub(crate) fn generation_at(&self, offset: u64) -> Option<u64> {
        let written = self.written.borrow();
        let holds = written.segments.iter().rev().find(|segment| segment.start <= offset);
        holds.or(written.segments.front()).map(|segment| segment.generation)
    }

    /// Whether a later segment than `generation` is there, and which.
    pub(crate) fn after(&self, generation: u64) -> Option<u64> {
        let written = self.written.borrow();
        written.segments.iter().map(|segment| segment.generation).find(|other| *other > generation)
    }

    /// Opens a segment for reading, and says how much of it is complete; `None` for all of it.
    pub(crate) fn open(&self, generation: u64) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(self.folder.as_fd(), self.file_name(generation), flags, Mode::empty())
    }

    /// The complete part of a segment; `None` where it was dropped and is complete by that.
    pub(crate) fn length(&self, generation: u64) -> Option<u64> {
        let written = self.written.borrow();
        written.segments.iter().find(|segment| segment.generation == generation).map(|segment| segment.length)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let segments = std::mem::take(&mut self.written.borrow_mut().segments);
        for segment in segments {
            self.unlink(segment.generation);
        }
    }
}

/// Puts everything that comes from `fd` into the log.
pub(crate) async fn collect(fd: Rc<AsyncFd<OwnedFd>>, log: Rc<Log>, stream: Stream) {
    loop {
        let Ok(mut ready) = fd.readable().await else { return };
        let read =
            ready.try_io(|fd| pump::read_now(fd.get_ref(), MAX_RECORD, |bytes| add(&log, stream, bytes)));
        match read {
            Ok(Ok(0)) => return,
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}

fn add(log: &Log, stream: Stream, bytes: &[u8]) -> usize {
    if !bytes.is_empty() {
        log.append(stream, bytes);
    }
    bytes.len()
}

/// Puts what is there already into the log.
pub(crate) fn drain(fd: &AsyncFd<OwnedFd>, log: &Log, stream: Stream) {
    let mut drained = 0;
    while drained < DRAIN_LIMIT {
        match pump::read_now(fd.get_ref(), MAX_RECORD, |bytes| add(log, stream, bytes)) {
            Ok(0) => return,
            Ok(length) => drained += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (std::path::PathBuf, LogFolder) {
        let path = std::env::temp_dir().join(format!("agentkernel-log-test-{}", random_id()));
        std::fs::create_dir(&path).unwrap();
        let fd = OwnedFd::from(std::fs::File::open(&path).unwrap());
        (path, LogFolder::new(Some(fd)))
    }

    fn bytes_on_disk(path: &std::path::Path) -> u64 {
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn a_log_never_grows_beyond_its_limit_and_leaves_nothing_behind() {
        let (path, folder) = folder();
        std::fs::write(path.join("log-old.1"), b"left over").unwrap();
        let log = Log::new(&folder, 10_000).unwrap();
        assert_eq!(bytes_on_disk(&path), 0, "old logs are removed");
        for round in 0..1000 {
            log.append(if round % 2 == 0 { Stream::Output } else { Stream::Error }, &[b'x'; 77]);
            assert!(bytes_on_disk(&path) <= 10_000);
        }
        assert_eq!(log.progress().borrow().end, 77_000);
        assert!(log.oldest() > 60_000 && log.oldest() < 77_000, "{}", log.oldest());
        drop(log);
        assert_eq!(bytes_on_disk(&path), 0);
        std::fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn a_tiny_log_is_refused() {
        let (path, folder) = folder();
        assert!(Log::new(&folder, 100).is_err());
        std::fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn ids_differ() {
        assert_ne!(random_id(), random_id());
        assert_eq!(random_id().len(), 16);
    }
}
