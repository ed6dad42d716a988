//! The log of a daemon in the background: its standard error, in a file that doesn't grow for ever.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

/// A log that has grown to this is put aside; the one before it goes.
const MOST_BYTES: u64 = 8 << 20;
/// How often its length is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Opens the log for appending, for its owner alone.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Keeps the log at `path`, which is this process's standard error, at a bearable length. Never returns.
pub(crate) async fn rotate_now_and_then(path: PathBuf) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = rotate(&path) {
            tracing::warn!(%error, "the log could not be put aside");
        }
    }
}

fn rotate(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.len() < MOST_BYTES {
        return Ok(());
    }
    std::fs::rename(path, path.with_extension("log.1"))?;
    let fresh = open_log(path)?;
    // Whoever writes to standard error, a panic included, now writes there.
    rustix::stdio::dup2_stderr(&fresh)?;
    Ok(())
}
