//! Programs of the system: where they are, and what they said.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;

/// Where programs of the system are looked for: a caller's PATH must not choose what runs as root.
const FOLDERS: [&str; 6] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
/// How much of a failed program's words is passed on.
const MESSAGE_BYTES: u64 = 2048;

/// The path of the program `name`.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// A file without a name, in memory.
pub(super) fn scratch() -> std::io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create("agentkernel", MemfdFlags::CLOEXEC)?))
}

/// What a program wrote, on one line, cut to a bearable length.
pub(super) fn words(mut output: File) -> String {
    let mut bytes = Vec::new();
    let read =
        output.seek(SeekFrom::Start(0)).and_then(|_| output.take(MESSAGE_BYTES).read_to_end(&mut bytes));
    match (read, String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ")) {
        (Err(_), _) => "its words could not be read".to_owned(),
        (Ok(_), words) if words.is_empty() => "it said nothing".to_owned(),
        (Ok(_), words) => words,
    }
}
