//! A bounded line of text from somebody hostile.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How a line ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// With its newline, which is not in it.
    Whole(Vec<u8>),
    /// With the stream, after these bytes.
    Cut(Vec<u8>),
    /// Not within the bytes that it may have.
    TooLong,
}

/// Reads up to a newline and not a byte further: what follows belongs to others. At most `most` bytes, newline included.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Line> {
    let mut line = Vec::new();
    while line.len() < most {
        let byte = match stream.read_u8().await {
            Ok(byte) => byte,
            Err(error) if is_end(&error) => return Ok(Line::Cut(line)),
            Err(error) => return Err(error),
        };
        if byte == b'\n' {
            return Ok(Line::Whole(line));
        }
        line.push(byte);
    }
    Ok(Line::TooLong)
}

/// A VMM that refuses closes the socket, with what we said still unread in it or not.
pub(super) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// Foreign bytes for a message.
pub(super) fn quoted(bytes: &[u8]) -> String {
    format!("`{}`", bytes.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_takes_nothing_of_what_follows() {
        let mut stream = &b"OK 5\nrest"[..];
        assert_eq!(read(&mut stream, 32).await.unwrap(), Line::Whole(b"OK 5".to_vec()));
        assert_eq!(stream, b"rest");
        assert_eq!(read(&mut stream, 32).await.unwrap(), Line::Cut(b"rest".to_vec()));
        assert_eq!(read(&mut &b"12345678\n"[..], 8).await.unwrap(), Line::TooLong);
        assert_eq!(read(&mut &b"1234567\n"[..], 8).await.unwrap(), Line::Whole(b"1234567".to_vec()));
    }
}
