//! An empty ext4 file system in a sparse file.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program that makes it: mkfs.ext4(8), of e2fsprogs.
pub fn program() -> Option<PathBuf> {
    ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"].into_iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Makes the file at `image`, sparse, for a file system of `bytes` whose root belongs to `owner`. Whole or not at all.
pub fn make(image: &Path, bytes: u64, owner: (u32, u32)) -> io::Result<()> {
    let program = program().ok_or(io::ErrorKind::NotFound)?;
    let beside = image.with_extension("new");
    let file = std::fs::File::create(&beside)?;
    file.set_len(bytes)?;
    drop(file);
    let output = Command::new(program)
        .args(["-q", "-F", "-m", "0", "-E"])
        .arg(format!("root_owner={}:{},lazy_itable_init=1,nodiscard", owner.0, owner.1))
        .arg(&beside)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        std::fs::remove_file(&beside)?;
        return Err(io::Error::other(format!("mkfs.ext4: {why}")));
    }
    std::fs::rename(beside, image)
}
