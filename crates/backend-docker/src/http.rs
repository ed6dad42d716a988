//! A question to an engine by hand, over a socket of this machine: where the answer's headers matter, or where the API's
//! client knows fewer words than engines use. HTTP/1.0, so that an answer comes in one piece.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The longest answer that is read.
const MAX_ANSWER: u64 = 8 << 20;

/// A healthy engine answers within milliseconds; a busy machine is forgiven more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An engine's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The header `name`, given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Asks for `target`, a path without anything that needs encoding; `None` where the answer is no HTTP.
pub(crate) async fn get(stream: &mut UnixStream, target: &str) -> io::Result<Option<Answer>> {
    let asked = async {
        stream.write_all(format!("GET {target} HTTP/1.0\r\nHost: engine\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok(parse(&answer))
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    const END: &[u8] = b"\r\n\r\n";
    let end = answer.windows(END.len()).position(|window| window == END)?;
    let head = String::from_utf8_lossy(answer.get(..end)?);
    let mut lines = head.lines();
    let mut first = lines.next()?.split_ascii_whitespace();
    first.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = first.next()?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Answer { status, headers, body: answer.get(end + END.len()..)?.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let answer = parse(b"HTTP/1.0 404 Not Found\r\nA: b\r\nServer: x y \r\n\r\n{}\r\n\r\n").unwrap();
        assert_eq!(
            (answer.status, answer.header("server"), &answer.body[..]),
            (404, Some("x y"), &b"{}\r\n\r\n"[..])
        );
        for bad in
            [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 x\r\n\r\n", b"SSH-2.0\r\n\r\n", b"\xff\xfe\r\n\r\n"]
        {
            assert_eq!(parse(bad), None);
        }
    }

    #[tokio::test]
    async fn what_is_no_engine_is_told() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"SSH-2.0-OpenSSH\r\n").await.unwrap();
        theirs.shutdown().await.unwrap();
        assert_eq!(get(&mut ours, "/_ping").await.unwrap(), None);
    }
}
