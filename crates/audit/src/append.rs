//! Appending: one lock, one look at the file, one write(2).

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::FlockOperation;

use crate::chain::seal;
use crate::head::{Head, ending};
use crate::place::{CURRENT, Held, Identity, identity, look, open_current, open_lock};
use crate::rotation::{last_aside, put_aside};
use crate::{AuditError, AuditSettings, Entry, Outcome};

/// Whom the log's own entries name.
const OURSELVES: &str = "agentkernel";

/// The end of the log as this process last saw it.
struct Open {
    file: File,
    identity: Identity,
    size: u64,
    head: Head,
}

/// What appends. One in a process, behind a lock of its own; the file lock is for the others.
pub(crate) struct Appender {
    folder: PathBuf,
    settings: AuditSettings,
    lock: Arc<File>,
    open: Option<Open>,
    /// The text of the entry that is written; kept for its memory.
    line: String,
}

impl Appender {
    /// Makes the folder where it isn't there.
    pub(crate) fn new(folder: PathBuf, settings: AuditSettings) -> Result<Self, AuditError> {
        crate::place::make_folder(&folder)?;
        let lock = Arc::new(open_lock(&folder)?);
        Ok(Self { folder, settings, lock, open: None, line: String::new() })
    }

    /// Appends one entry; returns the file that was put aside, where one was.
    pub(crate) fn append(&mut self, entry: &Entry<'_>) -> Result<Option<File>, AuditError> {
        let path = self.folder.join(CURRENT);
        let lock = Arc::clone(&self.lock);
        let _held = Held::take(lock, FlockOperation::LockExclusive).map_err(AuditError::io("lock", &path))?;
        let mut open = self.up_to_date()?;
        let written = self.write(&mut open, entry);
        let full = open.size >= self.settings.max_file_bytes;
        if written.is_err() || !full {
            self.open = Some(open);
            return written.map(|()| None);
        }
        let head = open.head;
        put_aside(&self.folder, head.sequence, self.settings.keep_files)?;
        self.open = Some(self.begin(head)?);
        Ok(Some(open.file))
    }

    /// Another handle on the file that is written, to make it durable.
    pub(crate) fn handle(&self) -> Option<io::Result<File>> {
        self.open.as_ref().map(|open| open.file.try_clone())
    }

    /// The end of the log as it is now: others may have written, put the file aside, or died in the middle.
    fn up_to_date(&mut self) -> Result<Open, AuditError> {
        let path = self.folder.join(CURRENT);
        let seen = look(&path).map_err(AuditError::io("look at", &path))?;
        match (seen, self.open.take()) {
            (Some((identity, size)), Some(open)) if open.identity == identity && open.size == size => {
                Ok(open)
            }
            (Some(_), _) => self.take_up(),
            (None, known) => {
                // Put aside by somebody who died before the new one was there, or removed by hand.
                let on_disk = last_aside(&self.folder)?.unwrap_or(Head::START);
                let known = known.map_or(Head::START, |open| open.head);
                let last = if known.sequence > on_disk.sequence { known } else { on_disk };
                self.begin(last)
            }
        }
    }

    /// A new file that follows `last`.
    fn begin(&mut self, last: Head) -> Result<Open, AuditError> {
        let path = self.folder.join(CURRENT);
        let file = open_current(&self.folder, true).map_err(AuditError::io("make", &path))?;
        let metadata = file.metadata().map_err(AuditError::io("look at", &path))?;
        let mut open = Open { file, identity: identity(&metadata), size: 0, head: last };
        let kind = if last == Head::START { "log_started" } else { "log_continued" };
        self.write(&mut open, &Entry::new(kind).user(OURSELVES).previous(last.hash))?;
        Ok(open)
    }

    /// The file that is there. What somebody who died left unfinished stays, and an entry tells of it.
    fn take_up(&mut self) -> Result<Open, AuditError> {
        let path = self.folder.join(CURRENT);
        let file = open_current(&self.folder, false).map_err(AuditError::io("open", &path))?;
        let metadata = file.metadata().map_err(AuditError::io("look at", &path))?;
        let size = metadata.len();
        let ending = ending(&file, size).map_err(AuditError::io("read", &path))?;
        let last = match ending.head {
            Some(head) => head,
            None => last_aside(&self.folder)?.unwrap_or(Head::START),
        };
        let mut open = Open { file, identity: identity(&metadata), size, head: last };
        if !ending.ended {
            self.line.clear();
            self.line.push('\n');
            self.flush(&mut open)?;
        }
        if ending.loose > 0 {
            let mut entry = Entry::new("log_torn").user(OURSELVES).outcome(Outcome::Failed);
            if ending.head.is_none() {
                entry = entry.previous(last.hash);
            }
            self.write(&mut open, &entry.field("bytes", ending.loose))?;
        } else if ending.head.is_none() {
            let kind = if last == Head::START { "log_started" } else { "log_continued" };
            self.write(&mut open, &Entry::new(kind).user(OURSELVES).previous(last.hash))?;
        }
        Ok(open)
    }

    fn write(&mut self, open: &mut Open, entry: &Entry<'_>) -> Result<(), AuditError> {
        let sequence = open.head.sequence.saturating_add(1);
        entry.write_body(sequence, self.settings.arguments, &mut self.line);
        let hash = seal(&mut self.line, open.head.hash);
        self.flush(open)?;
        open.head = Head { sequence, hash };
        Ok(())
    }

    /// The line into the file, whole or not at all.
    fn flush(&self, open: &mut Open) -> Result<(), AuditError> {
        let path = self.folder.join(CURRENT);
        match (&open.file).write_all(self.line.as_bytes()) {
            Ok(()) => {
                open.size += self.line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A full disk takes a part. We hold the lock: nobody else has written behind it.
                if let Err(undo) = open.file.set_len(open.size) {
                    tracing::warn!(%undo, "half an entry stays in the audit log; the next one says so");
                }
                Err(AuditError::io("write", &path)(error))
            }
        }
    }
}
