//! Whether the log is what was written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde_json::Value;

use crate::AuditError;
use crate::chain::{Hash, take_apart};
use crate::place::{CURRENT, Held, aside, open_lock_to_read, open_to_read};

/// A line that is longer is none of ours.
const LONGEST_LINE_BYTES: u64 = 1 << 20;

/// What to ask of the log.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// A hash that was noted earlier ([`Verified::head`]): it must be that of an entry which is still there.
    pub contains: Option<String>,
}

/// A place where the chain doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The file.
    pub path: PathBuf,
    /// Its line, from 1.
    pub line: u64,
    /// What is wrong there.
    pub why: &'static str,
}

/// An entry that a process could not finish because it died or the power failed. Nothing is wrong with the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub path: PathBuf,
    /// Its line, from 1.
    pub line: u64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that were read.
    pub files: usize,
    /// Entries whose hash is right.
    pub entries: u64,
    /// The number of the first of them. More than 1: what was before was removed by rotation, or by somebody.
    pub first: Option<u64>,
    /// The number of the last.
    pub last: Option<u64>,
    /// The hash of the last, which stands for all of them: note it elsewhere to see later that nothing was cut off.
    pub head: Option<String>,
    /// Entries that were not finished.
    pub torn: Vec<Torn>,
    /// The first place that is wrong. Nothing behind it was looked at.
    pub broken: Option<Broken>,
    /// Whether the hash that was asked for is that of an entry; `None` where none was asked for.
    pub contains: Option<bool>,
}

impl Verified {
    /// Whether the chain holds, and the hash that was asked for is in it.
    pub fn is_whole(&self) -> bool {
        self.broken.is_none() && self.contains != Some(false)
    }
}

/// Checks every entry of the log in `folder`. Others may go on writing: what is behind the end as it is now is not looked
/// at.
pub fn verify(folder: &Path, options: &VerifyOptions) -> Result<Verified, AuditError> {
    let mut check = Check {
        result: Verified { contains: options.contains.as_ref().map(|_| false), ..Verified::default() },
        wanted: options.contains.as_deref().and_then(|text| Hash::parse(text.trim())),
        previous: None,
        unknown: None,
    };
    for (path, file, size) in open_all(folder)? {
        check.result.files += 1;
        check.file(&path, file.take(size)).map_err(AuditError::io("read", &path))?;
        if check.result.broken.is_some() {
            break;
        }
    }
    check.result.head = check.previous.map(|hash| hash.to_string());
    Ok(check.result)
}

/// All files as they are at one moment, oldest first.
fn open_all(folder: &Path) -> Result<Vec<(PathBuf, File, u64)>, AuditError> {
    let lock = open_lock_to_read(folder)?;
    let held = lock.as_ref().map(|lock| Held::take(lock, FlockOperation::LockShared)).transpose();
    let _held = held.map_err(AuditError::io("lock", folder))?;
    let mut paths = aside(folder)?;
    paths.push(folder.join(CURRENT));
    let mut files = Vec::new();
    for path in paths {
        match open_to_read(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata.len()))) {
            Ok((file, size)) => files.push((path, file, size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(AuditError::io("read", &path)(error)),
        }
    }
    Ok(files)
}

struct Check {
    result: Verified,
    wanted: Option<Hash>,
    previous: Option<Hash>,
    /// A line that is no entry, with its length: fine if the next entry tells of it.
    unknown: Option<(Torn, u64)>,
}

impl Check {
    fn file(&mut self, path: &Path, content: impl Read) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(64 << 10, content);
        let mut begun = false;
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if reader.by_ref().take(LONGEST_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let ended = line.pop_if(|last| *last == b'\n').is_some();
            let place = Torn { path: path.to_owned(), line: number };
            if !ended {
                // The last one, still on its way or never finished: the next append tells of it.
                self.result.torn.push(place);
                break;
            }
            match self.line(&line, begun) {
                Ok(()) => begun = true,
                Err(why) if self.unknown.is_none() && take_apart(&line).is_none() => {
                    tracing::debug!(why, number, "a line that is no entry");
                    self.unknown = Some((place, line.len() as u64));
                }
                Err(why) => {
                    self.breaks(place, why);
                    return Ok(());
                }
            }
        }
        if let Some((place, _)) = self.unknown.take() {
            self.breaks(place, NO_ENTRY);
        }
        Ok(())
    }

    /// A line before which nothing told of `self.unknown` is the second fault: the first is what is named.
    fn breaks(&mut self, place: Torn, why: &'static str) {
        let (place, why) = match self.unknown.take() {
            Some((unknown, _)) => (unknown, NO_ENTRY),
            None => (place, why),
        };
        self.result.broken = Some(Broken { path: place.path, line: place.line, why });
    }

    fn line(&mut self, line: &[u8], begun: bool) -> Result<(), &'static str> {
        let line = take_apart(line).ok_or(NO_ENTRY)?;
        let value: Value = serde_json::from_slice(&line.body).map_err(|_| NO_ENTRY)?;
        let sequence = value.get("seq").and_then(Value::as_u64).ok_or("it has no number")?;
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
        if let Some((_, bytes)) = &self.unknown
            && !(kind == "log_torn" && value.get("bytes").and_then(Value::as_u64) == Some(*bytes))
        {
            return Err("the line before it is no entry");
        }
        let named =
            value.get("previous").and_then(Value::as_str).map(|text| Hash::parse(text).ok_or(NO_ENTRY));
        let previous = match (self.previous, named.transpose()?) {
            (Some(known), Some(named)) if known != named => {
                return Err("an earlier file is missing or was changed");
            }
            (Some(known), _) => known,
            (None, Some(named)) => named,
            (None, None) => return Err("it does not say what it follows: the file's beginning is missing"),
        };
        if !begun && value.get("previous").is_none() {
            return Err("it does not say what it follows: the file's beginning is missing");
        }
        if previous.after(&line.body) != line.hash {
            return Err("its hash is wrong: it was changed, or one before it was removed or put in");
        }
        if self.result.last.is_some_and(|last| last.checked_add(1) != Some(sequence)) {
            return Err("its number doesn't follow the one before");
        }
        self.accept(sequence, line.hash);
        Ok(())
    }

    fn accept(&mut self, sequence: u64, hash: Hash) {
        self.result.torn.extend(self.unknown.take().map(|(torn, _)| torn));
        self.previous = Some(hash);
        self.result.entries += 1;
        self.result.first.get_or_insert(sequence);
        self.result.last = Some(sequence);
        if self.wanted == Some(hash) {
            self.result.contains = Some(true);
        }
    }
}

const NO_ENTRY: &str = "it is no entry of the log";
