//! What is written down of a detached command.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentkernel_protocol::{ExecutionEntry, State, decode, encode};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::table::MAX_SHOWN;

/// What notes' file names start with.
pub(super) const PREFIX: &str = "command-";

/// What the names of notes start with that are being written.
pub(super) const WRITING_PREFIX: &str = "new-";

/// Raised with each change that earlier agents would misunderstand. What says another is not read.
const VERSION: u32 = 1;

/// More than any note: the arguments that are shown, each with a length before it.
const MAX_LENGTH: u64 = 16 * 1024;

/// A command that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) entry: ExecutionEntry,
    pub(super) started: SystemTime,
    /// When the note was written last.
    pub(super) written: SystemTime,
}

/// Writes the note of `entry`, in the place of an earlier one: whole or not at all.
pub(super) fn write(folder: &OwnedFd, entry: &ExecutionEntry, started: SystemTime) -> Result<(), Errno> {
    let bytes = encode(&(VERSION, entry, micros(started), micros(SystemTime::now())));
    let fresh = format!("{WRITING_PREFIX}{}", entry.id);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(folder, fresh.as_str(), flags, Mode::from_raw_mode(0o600));
    let file = match open() {
        // Left by an agent that was killed meanwhile.
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(folder, fresh.as_str(), AtFlags::empty())?;
            open()?
        }
        other => other?,
    };
    let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, &bytes));
    if written != Ok(bytes.len()) {
        rustix::fs::unlinkat(folder, fresh.as_str(), AtFlags::empty())?;
        return Err(written.err().unwrap_or(Errno::NOSPC));
    }
    rustix::fs::renameat(folder, fresh.as_str(), folder, format!("{PREFIX}{}", entry.id))
}

fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros().try_into().unwrap_or(u64::MAX)
}

/// The note of command `id`; `None` where there is none that holds.
pub(super) fn read(folder: impl AsFd, id: &str) -> Option<Note> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, format!("{PREFIX}{id}"), flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut bytes = Vec::new();
    let read = File::from(file).take(MAX_LENGTH + 1).read_to_end(&mut bytes).ok()?;
    if read as u64 > MAX_LENGTH {
        return None;
    }
    let (version, mut entry, started, written) = decode::<(u32, ExecutionEntry, u64, u64)>(&bytes).ok()?;
    let shown: usize = entry.argv.iter().map(|argument| argument.len() + 1).sum();
    // The last argument may end one byte beyond.
    if version != VERSION || entry.id != id || !entry.detached || shown > MAX_SHOWN + 1 {
        return None;
    }
    entry.state = match entry.state {
        // It can't have outlived its agent.
        State::Running => State::Lost,
        State::Signaled(number) if !(1..=64).contains(&number) => State::Lost,
        state => state,
    };
    let time = |micros| UNIX_EPOCH.checked_add(Duration::from_micros(micros));
    Some(Note { entry, started: time(started)?, written: time(written)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef";

    fn entry(state: State) -> ExecutionEntry {
        let argv = vec![b"make".to_vec().into(), b"\xff".to_vec().into()];
        ExecutionEntry { id: ID.to_owned(), argv, pid: 7, detached: true, state, age_ms: 0 }
    }

    #[test]
    fn a_note_is_kept_and_a_later_one_takes_its_place() {
        let path = tempfile::tempdir().unwrap();
        let folder = OwnedFd::from(File::open(path.path()).unwrap());
        let started = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        std::fs::write(path.path().join(format!("{WRITING_PREFIX}{ID}")), b"left over").unwrap();
        write(&folder, &entry(State::Running), started).unwrap();
        assert_eq!(read(&folder, ID).unwrap().entry.state, State::Lost, "it can't run any more");
        write(&folder, &entry(State::Exited(3)), started).unwrap();
        let note = read(&folder, ID).unwrap();
        assert_eq!((note.entry, note.started), (entry(State::Exited(3)), started));
        assert_eq!(std::fs::read_dir(path.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_somebody_else_put_there_is_not_believed() {
        let path = tempfile::tempdir().unwrap();
        let folder = OwnedFd::from(File::open(path.path()).unwrap());
        let place = path.path().join(format!("{PREFIX}{ID}"));
        let good = encode(&(VERSION, entry(State::TimedOut), 5u64, 6u64));
        std::fs::write(&place, &good).unwrap();
        assert!(read(&folder, ID).is_some());
        let long = ExecutionEntry { argv: vec![vec![b'x'; 5000].into()], ..entry(State::Lost) };
        let other = ExecutionEntry { id: "fedcba9876543210".to_owned(), ..entry(State::Lost) };
        let attached = ExecutionEntry { detached: false, ..entry(State::Lost) };
        let trailing = [&good[..], b"\0"].concat();
        let bad = [
            encode(&(2u32, entry(State::Lost), 5u64, 6u64)),
            encode(&(VERSION, long, 5u64, 6u64)),
            encode(&(VERSION, other, 5u64, 6u64)),
            encode(&(VERSION, attached, 5u64, 6u64)),
            trailing,
            good[..good.len() - 1].to_vec(),
            Vec::new(),
            vec![0; 20_000],
        ];
        for (number, bytes) in bad.iter().enumerate() {
            std::fs::write(&place, bytes).unwrap();
            assert_eq!(read(&folder, ID), None, "{number}");
        }
        std::fs::write(&place, encode(&(VERSION, entry(State::Signaled(99)), 5u64, 6u64))).unwrap();
        assert_eq!(read(&folder, ID).unwrap().entry.state, State::Lost);
        std::fs::write(path.path().join("real"), &good).unwrap();
        std::fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink("real", &place).unwrap();
        assert_eq!(read(&folder, ID), None, "a link is not followed");
        std::fs::remove_file(&place).unwrap();
        rustix::fs::mknodat(&folder, place.as_path(), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read(&folder, ID), None, "a pipe is not waited for");
    }
}
