//! The newest entries, read from the end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;

use crate::AuditError;
use crate::place::{CURRENT, aside, open_to_read};

/// How much is read at once.
const BLOCK_BYTES: u64 = 64 << 10;
/// The most that is read for one answer: a sandbox that did nothing lately is not searched for in all of the past.
const MOST_BYTES: u64 = 256 << 20;
/// A line that is longer is none of ours.
const LONGEST_LINE_BYTES: usize = 1 << 20;

/// The last `count` entries of the log in `folder`, oldest first; of `sandbox` only, where one is named. At most the
/// newest 256 MiB are searched. Lines that are no entries are passed over: [`crate::verify`] tells of them.
pub fn tail(folder: &Path, sandbox: Option<&str>, count: usize) -> Result<Vec<Value>, AuditError> {
    let mut paths = aside(folder)?;
    paths.push(folder.join(CURRENT));
    let mut wanted = Wanted { sandbox, count, found: Vec::new(), budget: MOST_BYTES };
    for path in paths.iter().rev() {
        if wanted.is_done() {
            break;
        }
        match open_to_read(path).and_then(|file| wanted.read(&file)) {
            Ok(()) => {}
            // Put aside or removed since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(AuditError::io("read", path)(error)),
        }
    }
    wanted.found.reverse();
    Ok(wanted.found)
}

struct Wanted<'a> {
    sandbox: Option<&'a str>,
    count: usize,
    /// Newest first.
    found: Vec<Value>,
    budget: u64,
}

impl Wanted<'_> {
    fn is_done(&self) -> bool {
        self.found.len() >= self.count || self.budget == 0
    }

    /// All lines of a file, the last first.
    fn read(&mut self, file: &File) -> io::Result<()> {
        let mut position = file.metadata()?.len();
        // The beginning of the block behind: the end of a line that begins before it.
        let mut rest: Vec<u8> = Vec::new();
        while position > 0 && !self.is_done() {
            let length = BLOCK_BYTES.min(position).min(self.budget);
            position -= length;
            self.budget -= length;
            let mut block = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact_at(&mut block, position)?;
            block.append(&mut rest);
            let begin = match block.iter().position(|byte| *byte == b'\n') {
                Some(end) if position > 0 => end + 1,
                _ if position > 0 => block.len(),
                _ => 0,
            };
            for line in block[begin..].rsplit(|byte| *byte == b'\n') {
                self.take(line);
                if self.is_done() {
                    return Ok(());
                }
            }
            block.truncate(begin);
            if block.len() <= LONGEST_LINE_BYTES {
                rest = block;
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let Ok(entry) = serde_json::from_slice::<Value>(line) else { return };
        let matches = match self.sandbox {
            Some(name) => entry.get("sandbox").and_then(Value::as_str) == Some(name),
            None => entry.get("seq").is_some(),
        };
        if matches {
            self.found.push(entry);
        }
    }
}
