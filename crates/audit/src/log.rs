//! The log as its users have it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;

use crate::append::Appender;
use crate::{AuditError, AuditSettings, Entry};

/// An audit log that can be appended to. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct AuditLog {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    folder: PathBuf,
    appender: Mutex<Appender>,
    /// Wakes the thread that makes entries durable; its end ends the thread.
    syncer: Option<Sender<File>>,
}

impl AuditLog {
    /// The log in `folder`, which is made where it isn't there, with mode 0700. Nothing is written until the first entry.
    pub fn open(folder: &Path, settings: AuditSettings) -> Result<Self, AuditError> {
        let every = settings.sync_every;
        let appender = Appender::new(folder.to_owned(), settings)?;
        let (syncer, put_aside) = every.map(|_| channel()).unzip();
        let inner = Arc::new(Inner { folder: folder.to_owned(), appender: Mutex::new(appender), syncer });
        if let (Some(every), Some(put_aside)) = (every, put_aside) {
            let weak = Arc::downgrade(&inner);
            std::thread::Builder::new()
                .name("audit sync".to_owned())
                .spawn(move || keep_durable(&weak, &put_aside, every))
                .map_err(AuditError::io("start the thread that syncs", folder))?;
        }
        Ok(Self { inner: Some(inner) })
    }

    /// A log that takes everything and keeps nothing.
    pub fn disabled() -> Self {
        Self { inner: None }
    }

    /// Whether entries are kept.
    pub fn is_enabled(&self) -> bool {
        self.inner.is_some()
    }

    /// Appends one entry. When this returns, the kernel has it: it survives this process, not yet a power failure (see
    /// [`AuditSettings::sync_every`]). Some microseconds; blocks only while another process appends.
    pub fn record(&self, entry: &Entry<'_>) -> Result<(), AuditError> {
        let Some(inner) = &self.inner else { return Ok(()) };
        if let Some(full) = inner.appender().append(entry)? {
            match &inner.syncer {
                // A thread that has ended leaves it to the kernel, which writes it within half a minute.
                Some(syncer) => drop(syncer.send(full)),
                None => full.sync_all().map_err(AuditError::io("sync", &inner.folder))?,
            }
        }
        Ok(())
    }

    /// The last `count` entries, oldest first; of `sandbox` only, where one is named. Reads from the end, and no more than
    /// needed. Blocks on the disk.
    pub fn tail(&self, sandbox: Option<&str>, count: usize) -> Result<Vec<Value>, AuditError> {
        match &self.inner {
            Some(inner) => crate::tail(&inner.folder, sandbox, count),
            None => Ok(Vec::new()),
        }
    }

    /// Makes everything durable that was recorded so far.
    pub fn sync(&self) -> Result<(), AuditError> {
        let Some(inner) = &self.inner else { return Ok(()) };
        inner.sync()
    }
}

impl Inner {
    /// A panic in the middle of an append leaves at worst a torn line, which the next append handles.
    fn appender(&self) -> MutexGuard<'_, Appender> {
        self.appender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync(&self) -> Result<(), AuditError> {
        // Not under the lock: the disk takes milliseconds.
        let handle = self.appender().handle();
        match handle {
            Some(file) => {
                file.and_then(|file| file.sync_data()).map_err(AuditError::io("sync", &self.folder))
            }
            None => Ok(()),
        }
    }
}

/// Until the log is dropped.
fn keep_durable(log: &Weak<Inner>, put_aside: &Receiver<File>, every: Duration) {
    loop {
        let result = match put_aside.recv_timeout(every) {
            Ok(file) => file.sync_all().map_err(AuditError::io("sync", Path::new("that was put aside"))),
            Err(RecvTimeoutError::Timeout) => match log.upgrade() {
                Some(inner) => inner.sync(),
                None => return,
            },
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Err(error) = result {
            tracing::warn!(%error, "entries of the audit log are not yet safe from a power failure");
        }
    }
}
