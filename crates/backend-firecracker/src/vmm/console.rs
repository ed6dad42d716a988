//! What a machine says: the guest's serial console and its VMM's own words, in the order they came. It is memory of a fixed
//! size: a guest that floods its console fills that and is not heard any more; no disk fills up, nobody has to read, and
//! nothing waits for a reader.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{MemfdFlags, SealFlags};

/// How much of it there is. A kernel that panics says some 5 KiB.
pub const CONSOLE_BYTES: u64 = 64 * 1024;
/// The most of it in an error.
const MOST_WORDS: usize = 800;

/// The file that is a machine's standard output.
#[derive(Debug)]
pub(super) struct Console {
    file: File,
}

impl Console {
    /// A new one. Writing beyond its size fails with EPERM (memfd_create(2), F_SEAL_GROW), which VMMs take as a console that
    /// loses text.
    pub(super) fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create(c"agentkernel-console", flags)?);
        file.set_len(CONSOLE_BYTES)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self { file })
    }

    /// That of a living process which another process of ours has started.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { file: File::open(format!("/proc/{pid}/fd/1"))? })
    }

    pub(super) fn as_output(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// All that was said: a guest's, hostile.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 8192];
        while let Some(room) = CONSOLE_BYTES.checked_sub(bytes.len() as u64).filter(|room| *room > 0) {
            let most = buffer.len().min(usize::try_from(room).unwrap_or(buffer.len()));
            match self.file.read_at(&mut buffer[..most], bytes.len() as u64)? {
                0 => break,
                count => bytes.extend(&buffer[..count]),
            }
        }
        // The rest of the file has not been written.
        let said = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(said);
        Ok(bytes)
    }

    /// The last words, for an error: printable and bounded.
    pub(super) fn words(&self) -> String {
        let bytes = match self.bytes() {
            Ok(bytes) => bytes,
            Err(error) => return format!("(its console can't be read: {error})"),
        };
        let text = String::from_utf8_lossy(&bytes);
        let text: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        if text.is_empty() {
            return "it said nothing".to_owned();
        }
        let tail = text.char_indices().rev().nth(MOST_WORDS - 1).map_or(0, |(start, _)| start);
        text[tail..].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_flood_fills_it_and_no_more() {
        let console = Console::new().unwrap();
        let mut writer = console.file.try_clone().unwrap();
        assert_eq!(console.words(), "it said nothing");
        writer.write_all(b"first\x1b[31m words\r\n").unwrap();
        assert_eq!(console.bytes().unwrap(), b"first\x1b[31m words\r\n");
        assert_eq!(console.words(), "first [31m words");
        let mut refused = None;
        for _ in 0..100 {
            if let Err(error) = writer.write_all(&[b'x'; 1024]) {
                refused = Some(error);
                break;
            }
        }
        assert_eq!(refused.unwrap().raw_os_error(), Some(rustix::io::Errno::PERM.raw_os_error()));
        assert_eq!(console.bytes().unwrap().len() as u64, CONSOLE_BYTES);
        assert_eq!(console.words().len(), MOST_WORDS);
        assert!(console.file.set_len(0).is_err(), "nor can it be emptied");
    }
}
