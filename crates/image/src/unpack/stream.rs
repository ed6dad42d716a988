//! A layer's uncompressed stream, decompressed and hashed on a thread beside its reader.

use std::io::{self, BufReader, Read};

use super::entry_path::EntryPath;
use super::pipeline::{self, Chunks};
use super::{Decoder, UnpackError, UnpackLimits};
use crate::Digest;
use crate::tar::{Entry, TarError, TarLimits, TarReader};

/// Bytes that are read from a blob at once.
const READ_BYTES: usize = 256 << 10;

/// Lets `each` have the entries of the layer that `blob`, of `compressed` bytes, holds, one after the other with their
/// content. Returns the digest of the whole uncompressed stream.
pub(crate) fn each_entry(
    blob: impl Read + Send,
    compressed: u64,
    limits: UnpackLimits,
    mut each: impl FnMut(Entry, &mut TarReader<&mut Chunks>) -> Result<(), UnpackError>,
) -> Result<Digest, UnpackError> {
    let decoder = Decoder::new(BufReader::with_capacity(READ_BYTES, blob))?;
    std::thread::scope(|scope| {
        let root = |source| UnpackError::Write { path: EntryPath::default(), source };
        let (mut chunks, producer) = pipeline::start(scope, decoder, compressed, limits).map_err(root)?;
        let read = read_all(&mut chunks, limits, &mut each);
        let failure = chunks.failure();
        // Lets the other thread go where it would wait for us.
        drop(chunks);
        let produced = producer.join();
        read.map_err(|error| failure.unwrap_or(error))?;
        let produced = produced.map_err(|_| UnpackError::Decompress {
            source: io::Error::other("the decompressor gave up on damaged data"),
        })?;
        Ok(produced.digest)
    })
}

fn read_all(
    chunks: &mut Chunks,
    limits: UnpackLimits,
    each: &mut impl FnMut(Entry, &mut TarReader<&mut Chunks>) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    let limits = TarLimits { headers: limits.headers, ..TarLimits::default() };
    let mut reader = TarReader::new(chunks, limits);
    while let Some(entry) = reader.next()? {
        each(entry, &mut reader)?;
    }
    reader.into_inner().drain().map_err(TarError::from)?;
    Ok(())
}
