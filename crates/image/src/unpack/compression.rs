//! What a blob is compressed with: found by its first bytes, since what it is called is often wrong, and since the
//! digest of what comes out decides anyway.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::UnpackError;

/// The most memory that one zstd frame may ask for: what the `zstd` program takes without being told (its `--ultra
/// --long=27`), and more than any builder of images uses.
const ZSTD_WINDOW_BYTES_MAX: u64 = 128 << 20;

/// Decompresses a blob.
pub(crate) enum Decoder<R: BufRead> {
    /// Not compressed.
    Plain(R),
    /// One gzip member or several (RFC 1952).
    Gzip(Box<MultiGzDecoder<R>>),
    /// Zstandard frames (RFC 8878).
    Zstd(Box<Zstd<R>>),
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes of `source`.
    pub(crate) fn new(mut source: R) -> Result<Self, UnpackError> {
        let start = source.fill_buf().map_err(|source| UnpackError::Decompress { source })?;
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(source)))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Ok(Self::Zstd(Box::new(Zstd::new(source))))
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(UnpackError::Compression { what: "xz" }),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', b'&', ..] => {
                Err(UnpackError::Compression { what: "bzip2" })
            }
            _ => Ok(Self::Plain(source)),
        }
    }

    /// Whether bytes come out as they go in.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Gzip(source) => source.read(buffer),
            Self::Zstd(source) => source.read(buffer),
        }
    }
}

/// All frames of a stream, one after the other; those that say they are to be skipped are skipped.
pub(crate) struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    within_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
        Self { source, decoder, within_frame: false }
    }

    /// Goes to the start of the next frame's content; `false` at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.within_frame {
                while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                    self.decoder
                        .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBytes(buffer.len()))
                        .map_err(io::Error::other)?;
                }
                let count = self.decoder.read(buffer)?;
                if count > 0 {
                    return Ok(count);
                }
                self.within_frame = false;
            }
            if !self.next_frame()? {
                return Ok(0);
            }
            self.within_frame = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn decoded(blob: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut decoder = Decoder::new(blob).map_err(io::Error::other)?;
        decoder.read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn what_a_blob_is_shows_in_its_first_bytes() {
        let content: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        assert_eq!(decoded(&content).unwrap(), content);
        assert_eq!(decoded(b"").unwrap(), b"");
        assert_eq!(
            decoded(&[gzip(&content), gzip(b"more")].concat()).unwrap(),
            [&content[..], b"more"].concat()
        );
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let frames = [skipped.clone(), zstd(&content), skipped.clone(), zstd(b"more"), skipped].concat();
        assert_eq!(decoded(&frames).unwrap(), [&content[..], b"more"].concat());
    }

    #[test]
    fn damaged_blobs_are_errors() {
        for whole in [gzip(&[7; 5000]), zstd(&[7; 5000])] {
            for end in 6..whole.len() {
                assert!(decoded(&whole[..end]).is_err(), "cut at {end} of {}", whole.len());
            }
        }
        // A frame that wants a window of a terabyte.
        assert!(decoded(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0xf0, 1, 0, 0]).is_err());
        assert!(decoded(&[0xfd, b'7', b'z', b'X', b'Z', 0]).unwrap_err().to_string().contains("xz"));
    }
}
