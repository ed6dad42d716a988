//! One log: at most so many bytes on disk, in two segments of which the older is dropped when the newer is full. Each
//! record says which stream it is of and where in the whole output it stands, so that nothing that was dropped goes
//! unnoticed. What can't be written is dropped and counted; the command never notices.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::SystemTime;

use agentkernel_protocol::{
    ExecutionEntry, Failure, FailureKind, LOG_RECORD_HEADER, LogRecord, MAX_LOG_RECORD, Stream,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::sync::{OnceCell, watch};

use super::folder::{LogFolder, Opened};
use super::note;
use super::walk::walk;
use crate::failure::failure;
use crate::random_id::{is_id, random_id};

/// The smallest log: two segments with room for a few lines each.
const MIN_LIMIT: u64 = 4096;

/// What segments' file names start with.
pub(super) const PREFIX: &str = "log-";

/// The file of a segment.
pub(super) fn file_name(id: &str, generation: u64) -> String {
    format!("{PREFIX}{id}.{generation}")
}

/// The command and the number of the segment in a file of this name.
pub(super) fn parse_file_name(name: &str) -> Option<(&str, u64)> {
    let (id, generation) = name.strip_prefix(PREFIX)?.split_once('.')?;
    let generation = generation.parse().ok().filter(|number: &u64| number.to_string() == generation)?;
    is_id(id).then_some((id, generation))
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
    /// Nothing may be made any more.
    removed: bool,
}

/// How far a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// The offset after the last byte.
    pub(super) end: u64,
    /// The command has ended.
    pub(super) ended: bool,
}

/// One log. Its files stay until [`Log::remove`].
pub(crate) struct Log {
    folder: Rc<Opened>,
    id: String,
    segment_limit: u64,
    written: RefCell<Written>,
    progress: watch::Sender<Progress>,
    /// Whether `written` and `progress` are what the files say; always so where they were written here.
    known: OnceCell<()>,
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
            known: OnceCell::new_with(Some(())),
        }))
    }

    /// That of an ended command of an earlier agent, in the files of these generations. Only the newest two can be meant:
    /// others are removed.
    pub(super) fn kept(folder: Rc<Opened>, id: String, mut generations: Vec<u64>) -> Self {
        generations.sort_unstable();
        let newest = generations.split_off(generations.len().saturating_sub(2));
        generations.iter().for_each(|generation| folder.unlink(&file_name(&id, *generation)));
        let written = Written {
            generation: newest.last().copied().unwrap_or(0),
            segments: newest
                .into_iter()
                .map(|generation| Segment { generation, start: 0, length: 0, file: None })
                .collect(),
            removed: false,
        };
        Self {
            folder,
            id,
            segment_limit: 0,
            written: RefCell::new(written),
            progress: watch::Sender::new(Progress { end: 0, ended: true }),
            known: OnceCell::new(),
        }
    }

    /// The command's id, which names the files.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Follows its growth.
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Writes down where the command is, for the next agent. Best effort: without room its output is lost as well.
    pub(crate) fn note(&self, entry: &ExecutionEntry, started: SystemTime) {
        if self.folder.keeps && !self.written.borrow().removed {
            note::write(&self.folder.fd, entry, started).ok();
        }
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
        let header = LOG_RECORD_HEADER as u64;
        let room = |segment: &Segment| (self.segment_limit - segment.length).saturating_sub(header);
        let is_full = written.segments.back().map_or(0, room) == 0;
        if written.removed || (is_full && self.rotate(&mut written, offset).is_err()) {
            return 0;
        }
        let Some(segment) = written.segments.back_mut() else { return 0 };
        let length = bytes.len().min(MAX_LOG_RECORD).min(room(segment).try_into().unwrap_or(usize::MAX));
        let Some(file) = &segment.file else { return 0 };
        let header = LogRecord { offset, length, stream }.encode();
        let record = [IoSlice::new(&header), IoSlice::new(bytes.get(..length).unwrap_or_default())];
        match rustix::io::pwritev(file, &record, segment.length) {
            Ok(count) if count == header.len() + length => {
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
        let name = file_name(&self.id, generation);
        let file = rustix::fs::openat(&self.folder.fd, name, flags, Mode::from_raw_mode(0o600))?;
        written.generation = generation;
        if let Some(full) = written.segments.back_mut() {
            full.file = None;
        }
        written.segments.push_back(Segment { generation, start, length: 0, file: Some(file) });
        if written.segments.len() > 2
            && let Some(oldest) = written.segments.pop_front()
        {
            self.folder.unlink(&file_name(&self.id, oldest.generation));
        }
        Ok(())
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

    /// Takes away all of it, and the command's note. Who reads it goes on.
    pub(crate) fn remove(&self) {
        let mut written = self.written.borrow_mut();
        written.removed = true;
        for segment in written.segments.drain(..) {
            self.folder.unlink(&file_name(&self.id, segment.generation));
        }
        self.folder.unlink(&format!("{}{}", note::PREFIX, self.id));
    }

    /// Bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        let size = |segment: &Segment| {
            let size = || rustix::fs::fstat(self.open(segment.generation).ok()?).ok();
            let known = self.known.initialized();
            if known { segment.length } else { size().map_or(0, |stat| stat.st_size.unsigned_abs()) }
        };
        self.written.borrow().segments.iter().map(size).sum()
    }

    /// Finds out what the files of an earlier agent hold, where that isn't known yet. To be called before anything below.
    pub(super) async fn know(&self) {
        self.known.get_or_init(|| self.look()).await;
    }

    async fn look(&self) {
        let generations: Vec<u64> =
            self.written.borrow().segments.iter().map(|segment| segment.generation).collect();
        let mut segments = VecDeque::new();
        let mut end = 0;
        for generation in generations {
            let Ok(file) = self.open(generation) else { continue };
            let Some(found) = walk(&file).await else { continue };
            if found.start != end {
                // A gap: what is before it can't be given out as one with the rest.
                segments.clear();
            }
            end = found.end;
            let (start, length) = (found.start, found.length);
            segments.push_back(Segment { generation, start, length, file: None });
        }
        let mut written = self.written.borrow_mut();
        if !written.removed {
            written.segments = segments;
        }
        self.progress.send_modify(|progress| progress.end = end);
    }

    /// The offset of the oldest byte that is still there, or of the next one.
    pub(super) fn oldest(&self) -> u64 {
        let end = self.progress.borrow().end;
        self.written.borrow().segments.front().map_or(end, |segment| segment.start)
    }

    /// The generation of the segment that holds `offset` or comes next after it.
    pub(super) fn generation_at(&self, offset: u64) -> Option<u64> {
        let written = self.written.borrow();
        let holds = written.segments.iter().rev().find(|segment| segment.start <= offset);
        holds.or(written.segments.front()).map(|segment| segment.generation)
    }

    /// Whether a later segment than `generation` is there, and which.
    pub(super) fn after(&self, generation: u64) -> Option<u64> {
        let written = self.written.borrow();
        written.segments.iter().map(|segment| segment.generation).find(|other| *other > generation)
    }

    /// Opens a segment for reading.
    pub(super) fn open(&self, generation: u64) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder.fd, file_name(&self.id, generation), flags, Mode::empty())
    }

    /// The complete part of a segment; `None` where it was dropped and is complete by that.
    pub(super) fn length(&self, generation: u64) -> Option<u64> {
        let written = self.written.borrow();
        written.segments.iter().find(|segment| segment.generation == generation).map(|segment| segment.length)
    }
}

#[cfg(test)]
mod tests {
    use agentkernel_protocol::State;

    use super::*;

    fn folder(path: &std::path::Path, keeps: bool) -> LogFolder {
        LogFolder::new(Some(OwnedFd::from(std::fs::File::open(path).unwrap())), keeps)
    }

    fn bytes_on_disk(path: &std::path::Path) -> u64 {
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    fn entry(log: &Log, state: State) -> ExecutionEntry {
        ExecutionEntry { id: log.id().to_owned(), argv: Vec::new(), pid: 1, detached: true, state, age_ms: 0 }
    }

    #[test]
    fn a_log_never_grows_beyond_its_limit_and_leaves_nothing_behind() {
        let path = tempfile::tempdir().unwrap();
        let folder = folder(path.path(), true);
        let log = Log::new(&folder, 10_000).unwrap();
        for round in 0..1000 {
            log.append(if round % 2 == 0 { Stream::Output } else { Stream::Error }, &[b'x'; 77]);
            assert!(bytes_on_disk(path.path()) <= 10_000);
            assert_eq!(bytes_on_disk(path.path()), log.bytes());
        }
        assert_eq!(log.progress().borrow().end, 77_000);
        assert!(log.oldest() > 60_000 && log.oldest() < 77_000, "{}", log.oldest());
        log.note(&entry(&log, State::Running), SystemTime::now());
        log.remove();
        assert_eq!(std::fs::read_dir(path.path()).unwrap().count(), 0);
        log.append(Stream::Output, b"of a process that was left behind");
        log.note(&entry(&log, State::TimedOut), SystemTime::now());
        assert_eq!(std::fs::read_dir(path.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_tiny_log_is_refused() {
        let path = tempfile::tempdir().unwrap();
        assert!(Log::new(&folder(path.path(), true), 100).is_err());
    }

    #[test]
    fn names_of_segments_are_exact() {
        let id = "0123456789abcdef";
        assert_eq!(parse_file_name(&file_name(id, 12)), Some((id, 12)));
        for other in
            ["log-0123456789abcdef.", "log-0123456789abcdef.01", "log-0123456789abcdef.+1", "log-x.1", ""]
        {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn the_next_agent_finds_what_was_noted_and_removes_the_rest() {
        let path = tempfile::tempdir().unwrap();
        let (one, other, started) = {
            let folder = folder(path.path(), true);
            let logs = [Log::new(&folder, 10_000).unwrap(), Log::new(&folder, 10_000).unwrap()];
            let started = SystemTime::now();
            for log in &logs {
                log.note(&entry(log, State::Running), started);
                (0..200).for_each(|_| log.append(Stream::Output, &[b'x'; 77]));
            }
            logs[1].note(&entry(&logs[1], State::Exited(4)), started);
            let unknown = Log::new(&folder, 10_000).unwrap();
            unknown.append(Stream::Error, b"nobody was told of it");
            (logs[0].id().to_owned(), (logs[1].id().to_owned(), logs[1].oldest()), started)
        };
        std::fs::write(path.path().join("command-short"), b"").unwrap();
        std::fs::write(path.path().join(format!("log-{}.1", other.0)), b"planted").unwrap();
        std::fs::write(path.path().join("something else"), b"").unwrap();
        let kept = folder(path.path(), true).kept();
        let states: Vec<_> = kept.iter().map(|kept| (kept.entry.id.clone(), kept.entry.state)).collect();
        assert_eq!(states, [(one, State::Lost), (other.0, State::Exited(4))]);
        let since = |time: SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
        assert_eq!(since(kept[1].started), since(started));
        let log = &kept[1].log;
        log.know().await;
        assert_eq!(
            (log.oldest(), *log.progress().borrow()),
            (other.1, Progress { end: 15_400, ended: true })
        );
        // Two notes, two segments of each log, and what isn't ours.
        assert_eq!(std::fs::read_dir(path.path()).unwrap().count(), 7);
        assert!(folder(path.path(), false).kept().is_empty());
        assert_eq!(
            std::fs::read_dir(path.path()).unwrap().count(),
            1,
            "a box that nobody starts again keeps nothing"
        );
    }
}
