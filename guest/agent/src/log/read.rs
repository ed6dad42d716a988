//! Reading logs: each stream by a reader of its own, so that one that nobody takes holds up no other; or all of it as it
//! came, by one reader.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use agentkernel_protocol::{
    Channel, Event, Failure, FailureKind, LOG_RECORD_HEADER, LogRecord, MAX_LOG_RECORD, Stream, StreamWriter,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use super::Log;
use super::ring::Progress;
use crate::failure::failure;
use crate::table::Entry;

/// Read at once: two of the longest records.
const BLOCK: usize = 2 * (LOG_RECORD_HEADER + MAX_LOG_RECORD);

/// Sends the log of `entry` from `offset` on, its streams apart.
pub(crate) async fn send(channel: &Channel, entry: &Entry, offset: u64, follow: bool) -> Result<(), Failure> {
    let readers =
        [(Wanted::One(Stream::Output), Stream::Output), (Wanted::One(Stream::Error), Stream::Error)];
    serve(channel, entry, offset, follow, &readers).await
}

/// The same as records in the order they came.
pub(crate) async fn send_ordered(
    channel: &Channel,
    entry: &Entry,
    offset: u64,
    follow: bool,
) -> Result<(), Failure> {
    serve(channel, entry, offset, follow, &[(Wanted::Records, Stream::Output)]).await
}

/// What a reader is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The content of one stream.
    One(Stream),
    /// All records.
    Records,
}

async fn serve(
    channel: &Channel,
    entry: &Entry,
    offset: u64,
    follow: bool,
    readers: &[(Wanted, Stream)],
) -> Result<(), Failure> {
    let log = entry.log.as_ref().ok_or_else(|| {
        failure(FailureKind::Invalid, format!("execution {} is not detached and has no log", entry.id))
    })?;
    tokio::select! {
        () = log.know() => {}
        // The client doesn't speak here; it only goes.
        _ = channel.receive::<Event>() => return Ok(()),
    }
    let progress = log.progress();
    let end = progress.borrow().end;
    if offset > end {
        let why = format!("offset {offset} is beyond the log's end at {end}");
        return Err(failure(FailureKind::Invalid, why));
    }
    let start = offset.max(log.oldest());
    let until = (!follow).then_some(end);
    // Opened now, all at once: what is there at this moment can't be dropped from under them.
    let cursors: Vec<_> = readers
        .iter()
        .map(|(wanted, stream)| {
            let cursor = Cursor::new(Rc::clone(log), *wanted, start, until);
            tokio::task::spawn_local(cursor.send_all(channel.writer(*stream)))
        })
        .collect();
    let state = *entry.state.borrow();
    channel.send(&Event::Log { start, state }).await.ok();
    for cursor in cursors {
        cursor.await.ok();
    }
    Ok(())
}

struct Cursor {
    log: Rc<Log>,
    progress: watch::Receiver<Progress>,
    wanted: Wanted,
    /// Of the whole output.
    offset: u64,
    /// Where to end; `None` at the command's end.
    until: Option<u64>,
    /// The segments that were there at the start, opened; later ones are opened when they are reached.
    segments: VecDeque<(u64, OwnedFd)>,
    /// In the first of `segments`.
    position: u64,
    block: Vec<u8>,
    /// What is to be sent of the block.
    out: Vec<u8>,
}

impl Cursor {
    fn new(log: Rc<Log>, wanted: Wanted, offset: u64, until: Option<u64>) -> Self {
        let mut segments = VecDeque::new();
        let mut next = log.generation_at(offset);
        while let Some(generation) = next {
            // One that can't be opened is missed, and noticed, when it is reached.
            if let Ok(file) = log.open(generation) {
                segments.push_back((generation, file));
            }
            next = log.after(generation);
        }
        let progress = log.progress();
        let (block, out) = (Vec::new(), Vec::new());
        Self { log, progress, wanted, offset, until, segments, position: 0, block, out }
    }

    async fn send_all(mut self, mut writer: StreamWriter) {
        // On an error the writer is dropped unfinished: the host sees that the stream isn't whole.
        if self.send_records(&mut writer).await.is_ok() {
            writer.finish();
        }
    }

    async fn send_records(&mut self, writer: &mut StreamWriter) -> io::Result<()> {
        loop {
            let progress = *self.progress.borrow_and_update();
            let until = self.until.unwrap_or(progress.end);
            while self.offset < until {
                self.fill(until)?;
                if self.out.is_empty() {
                    // The other stream's: nothing to wait for, and others want to run.
                    tokio::task::yield_now().await;
                }
                writer.write_all(&self.out).await?;
            }
            if self.until.is_some() || progress.ended {
                return Ok(());
            }
            tokio::select! {
                changed = self.progress.changed() => changed.map_err(io::Error::other)?,
                () = writer.stopped() => return Ok(()),
            }
        }
    }

    /// Puts what comes next into `out`, which may stay empty; at most to `until`.
    fn fill(&mut self, until: u64) -> io::Result<()> {
        self.out.clear();
        let Some((generation, file)) = self.segments.front() else {
            let generation = self.log.generation_at(self.offset).ok_or_else(gap)?;
            self.segments.push_back((generation, self.log.open(generation)?));
            return Ok(());
        };
        let length = match self.log.length(*generation) {
            Some(length) => length,
            // Dropped, and so complete.
            None => rustix::fs::fstat(file)?.st_size.unsigned_abs(),
        };
        let left = length.saturating_sub(self.position);
        if left == 0 {
            return self.next_segment();
        }
        self.block.resize(BLOCK, 0);
        let room = BLOCK.min(usize::try_from(left).unwrap_or(BLOCK));
        let room = self.block.get_mut(..room).unwrap_or_default();
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *room, self.position))?;
        match self.take_records(count, until)? {
            0 => Err(io::Error::new(io::ErrorKind::InvalidData, "the log is damaged")),
            taken => {
                self.position += taken as u64;
                Ok(())
            }
        }
    }

    fn next_segment(&mut self) -> io::Result<()> {
        let done = self.segments.pop_front().map_or(0, |(generation, _)| generation);
        self.position = 0;
        let next = self.log.after(done).ok_or_else(gap)?;
        if self.segments.front().is_none_or(|(open, _)| *open != next) {
            self.segments = VecDeque::from([(next, self.log.open(next)?)]);
        }
        Ok(())
    }

    /// Takes the whole records of the block's first `count` bytes; returns their length.
    fn take_records(&mut self, count: usize, until: u64) -> io::Result<usize> {
        let mut taken = 0;
        while self.offset < until {
            let rest = self.block.get(taken..count).unwrap_or_default();
            let Some(record) = LogRecord::decode(rest).map_err(io::Error::other)? else { break };
            let Some(content) = rest.get(LOG_RECORD_HEADER..LOG_RECORD_HEADER + record.length) else { break };
            taken += LOG_RECORD_HEADER + record.length;
            if record.end() <= self.offset {
                continue;
            }
            let skipped = self.offset.checked_sub(record.offset).ok_or_else(gap)?;
            let content = content.get(skipped as usize..).unwrap_or_default();
            match self.wanted {
                Wanted::One(stream) if stream == record.stream => self.out.extend_from_slice(content),
                Wanted::One(_) => {}
                Wanted::Records => {
                    let rest = LogRecord { offset: self.offset, length: content.len(), ..record };
                    self.out.extend_from_slice(&rest.encode());
                    self.out.extend_from_slice(content);
                }
            }
            self.offset = record.end();
        }
        Ok(taken)
    }
}

fn gap() -> io::Error {
    io::Error::other("a part of the log was dropped")
}
