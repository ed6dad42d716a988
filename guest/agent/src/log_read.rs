//! Reading logs: each stream by a reader of its own, so that one that nobody takes holds up no other.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use agentkernel_protocol::{Channel, Event, Failure, FailureKind, Stream, StreamWriter};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use crate::failure::failure;
use crate::log::{Log, MAX_RECORD, Progress, RECORD_HEADER};
use crate::table::Entry;

/// Sends the log of `entry` from `offset` on.
pub(crate) async fn send(channel: &Channel, entry: &Entry, offset: u64, follow: bool) -> Result<(), Failure> {
    let log = entry.log.as_ref().ok_or_else(|| {
        failure(FailureKind::Invalid, format!("execution {} is not detached and has no log", entry.id))
    })?;
    let progress = log.progress();
    let end = progress.borrow().end;
    if offset > end {
        let why = format!("offset {offset} is beyond the log's end at {end}");
        return Err(failure(FailureKind::Invalid, why));
    }
    let start = offset.max(log.oldest());
    let until = (!follow).then_some(end);
    // Opened now, both at once: what is there at this moment can't be dropped from under them.
    let cursors = [Stream::Output, Stream::Error].map(|stream| {
        let cursor = Cursor::new(Rc::clone(log), stream, start, until);
        tokio::task::spawn_local(cursor.send_all(channel.writer(stream)))
    });
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
    stream: Stream,
    /// Of the whole output.
    offset: u64,
    /// Where to end; `None` at the command's end.
    until: Option<u64>,
    /// The segments that were there at the start, opened; later ones are opened when they are reached.
    segments: Vec<(u64, OwnedFd)>,
    /// In the first of `segments`.
    position: u64,
}

impl Cursor {
    fn new(log: Rc<Log>, stream: Stream, offset: u64, until: Option<u64>) -> Self {
        let mut segments = Vec::new();
        let mut next = log.generation_at(offset);
        while let Some(generation) = next {
            // One that can't be opened is missed, and noticed, when it is reached.
            if let Ok(file) = log.open(generation) {
                segments.push((generation, file));
            }
            next = log.after(generation);
        }
        let progress = log.progress();
        Self { log, progress, stream, offset, until, segments, position: 0 }
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
                self.send_record(writer).await?;
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

    async fn send_record(&mut self, writer: &mut StreamWriter) -> io::Result<()> {
        let gap = || io::Error::other("a part of the log was dropped");
        let Some((generation, file)) = self.segments.first() else {
            let generation = self.log.generation_at(self.offset).ok_or_else(gap)?;
            self.segments.push((generation, self.log.open(generation)?));
            return Ok(());
        };
        let generation = *generation;
        if self.log.length(generation).is_some_and(|length| self.position >= length) || self.at_end(file)? {
            let next = self.log.after(generation).ok_or_else(gap)?;
            self.segments.remove(0);
            self.position = 0;
            if self.segments.first().is_none_or(|(open, _)| *open != next) {
                self.segments = vec![(next, self.log.open(next)?)];
            }
            return Ok(());
        }
        let (offset, stream, content) = read_record(file, self.position)?;
        self.position += (RECORD_HEADER + content.len()) as u64;
        let end = offset + content.len() as u64;
        if end <= self.offset {
            return Ok(());
        }
        let skipped = self.offset.checked_sub(offset).ok_or_else(gap)?;
        let limit = self.until.map_or(end, |until| until.min(end));
        self.offset = end;
        if stream == self.stream.number() {
            let content = content.get(skipped as usize..(limit - offset) as usize).unwrap_or_default();
            writer.write_all(content).await?;
        }
        Ok(())
    }

    /// Whether a dropped, and so complete, segment was read to its end.
    fn at_end(&self, file: &OwnedFd) -> io::Result<bool> {
        Ok(rustix::fs::fstat(file)?.st_size as u64 <= self.position)
    }
}

fn read_record(file: &OwnedFd, position: u64) -> io::Result<(u64, u8, Vec<u8>)> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "the log is damaged");
    let mut header = [0; RECORD_HEADER];
    if rustix::io::pread(file, &mut header, position)? != RECORD_HEADER {
        return Err(broken());
    }
    let (offset, rest) = header.split_first_chunk::<8>().ok_or_else(broken)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
    let stream = rest.first().copied().ok_or_else(broken)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 || length > MAX_RECORD {
        return Err(broken());
    }
    let mut content = vec![0; length];
    if rustix::io::pread(file, &mut content, position + RECORD_HEADER as u64)? != length {
        return Err(broken());
    }
    Ok((u64::from_le_bytes(*offset), stream, content))
}
