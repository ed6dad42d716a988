//! A part of a file inside a sandbox.

use agentkernel_api::{ErrorCode, FileKind};
use agentkernel_service::{Caller, Service, ServiceError};
use tokio::io::AsyncReadExt as _;

/// The most that is read at once.
pub(crate) const MOST_PART: u64 = 1 << 20;

/// Bytes of a file.
#[derive(Debug, Clone)]
pub(crate) struct FilePart {
    /// From the offset on, as many as there are or were asked for.
    pub(crate) bytes: Vec<u8>,
    /// Whether the file ends with them.
    pub(crate) at_end: bool,
    /// The file's size; `None` where only reading to its end could tell.
    pub(crate) size: Option<u64>,
}

/// Reads at most `limit` bytes from `offset` on.
pub(crate) async fn file_part(
    service: &Service,
    caller: &Caller,
    sandbox: &str,
    path: &str,
    offset: u64,
    limit: u64,
) -> Result<FilePart, ServiceError> {
    let broken =
        |error: std::io::Error| ServiceError::new(ErrorCode::BoxFailed, format!("read {path}: {error}"));
    let mut stream = service.read_file(caller, sandbox, path).await?;
    tokio::io::copy(&mut (&mut stream).take(offset), &mut tokio::io::sink()).await.map_err(broken)?;
    let mut bytes = Vec::new();
    // One more, to see whether it is the end.
    stream.take(limit.min(MOST_PART) + 1).read_to_end(&mut bytes).await.map_err(broken)?;
    let at_end = bytes.len() as u64 <= limit;
    if at_end {
        let size = offset.saturating_add(bytes.len() as u64);
        return Ok(FilePart { bytes, at_end, size: Some(size) });
    }
    bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    // Of a link this is the link's own.
    let entry = service.stat(caller, sandbox, path).await?;
    let size = (entry.kind == FileKind::File).then_some(entry.size);
    Ok(FilePart { bytes, at_end, size })
}
