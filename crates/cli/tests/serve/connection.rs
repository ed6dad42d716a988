//! HTTP/1.1 as bytes on a socket: tests say exactly what is sent, wrong as it may be, and see exactly what comes back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take before a test gives up.
const DEADLINE: Duration = Duration::from_secs(90);

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A socket of either kind.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn connect(door: &Door) -> std::io::Result<Self> {
        let socket = match door {
            Door::Tcp(address) => {
                let socket = TcpStream::connect_timeout(address, DEADLINE)?;
                socket.set_nodelay(true)?;
                Self::Tcp(socket)
            }
            Door::Unix(path) => Self::Unix(UnixStream::connect(path)?),
        };
        socket.set_deadline(DEADLINE)?;
        Ok(socket)
    }

    /// The longest that one read or write may take.
    pub(crate) fn set_deadline(&self, deadline: Duration) -> std::io::Result<()> {
        match self {
            Self::Tcp(socket) => socket
                .set_read_timeout(Some(deadline))
                .and_then(|()| socket.set_write_timeout(Some(deadline))),
            Self::Unix(socket) => socket
                .set_read_timeout(Some(deadline))
                .and_then(|()| socket.set_write_timeout(Some(deadline))),
        }
    }

    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> std::io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(how),
            Self::Unix(socket) => socket.shutdown(how),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The first lines of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?} {}", self.head, self.text()))
    }

    /// `data` of the envelope of an answer that must be a success.
    #[track_caller]
    pub(crate) fn data(&self) -> Value {
        let mut body = self.json();
        assert!((200..300).contains(&self.status()) && body["success"] == true, "{}: {body}", self.status());
        body["data"].take()
    }

    /// Status and `code` of an error in its envelope.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(body["success"], false, "{}: {body}", self.status());
        assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        (self.status(), body["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// One connection.
pub(crate) struct Connection {
    reader: BufReader<Socket>,
}

impl Connection {
    pub(crate) fn open(door: &Door) -> Self {
        Self::try_open(door).unwrap_or_else(|error| panic!("connect to {door:?}: {error}"))
    }

    pub(crate) fn try_open(door: &Door) -> std::io::Result<Self> {
        Ok(Self { reader: BufReader::new(Socket::connect(door)?) })
    }

    pub(crate) fn socket(&self) -> &Socket {
        self.reader.get_ref()
    }

    pub(crate) fn reader(&mut self) -> &mut BufReader<Socket> {
        &mut self.reader
    }

    /// Bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// The head of the next answer, interim ones (100) left out.
    pub(crate) fn head(&mut self) -> std::io::Result<Head> {
        loop {
            let head = self.any_head()?;
            if head.status != 100 {
                return Ok(head);
            }
        }
    }

    fn any_head(&mut self) -> std::io::Result<Head> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.filter(|_| first.starts_with("HTTP/1.")).ok_or_else(|| invalid(&first))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Head { status, headers });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned())
    }

    /// What follows the head, as the head says where it ends.
    pub(crate) fn body(&mut self, head: &Head) -> Body<'_> {
        let length = head.header("content-length").and_then(|value| value.parse().ok());
        let chunked =
            head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let rest = match (chunked, length, head.status) {
            (_, _, 204 | 304) => Rest::Bytes(0),
            (true, _, _) => Rest::Chunks { left: 0, ended: false },
            (false, Some(length), _) => Rest::Bytes(length),
            (false, None, _) => Rest::ToTheEnd,
        };
        Body { reader: &mut self.reader, rest }
    }

    /// The next answer whole.
    pub(crate) fn answer(&mut self) -> std::io::Result<Answer> {
        let head = self.head()?;
        let mut body = Vec::new();
        self.body(&head).read_to_end(&mut body)?;
        Ok(Answer { head, body })
    }

    /// Sends and reads the answer, even where the server answers before it has read all and closes.
    pub(crate) fn ask(&mut self, bytes: &[u8]) -> std::io::Result<Answer> {
        let sent = self.send(bytes);
        self.answer().map_err(|error| sent.err().unwrap_or(error))
    }
}

enum Rest {
    Bytes(u64),
    Chunks { left: u64, ended: bool },
    ToTheEnd,
}

/// A body as it comes.
pub(crate) struct Body<'a> {
    reader: &'a mut BufReader<Socket>,
    rest: Rest,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = match &mut self.rest {
            Rest::ToTheEnd => return self.reader.read(buffer),
            Rest::Bytes(left) => left,
            Rest::Chunks { left, ended } => {
                if *left == 0 && !*ended {
                    *left = chunk_size(self.reader)?;
                    *ended = *left == 0;
                    if *ended {
                        skip_line(self.reader)?;
                    }
                }
                left
            }
        };
        let wanted = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        *left -= count as u64;
        if matches!(self.rest, Rest::Chunks { left: 0, .. }) {
            skip_line(self.reader)?;
        }
        Ok(count)
    }
}

fn chunk_size(reader: &mut BufReader<Socket>) -> std::io::Result<u64> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    u64::from_str_radix(line.trim_end(), 16).map_err(|_| invalid(&line))
}

fn skip_line(reader: &mut BufReader<Socket>) -> std::io::Result<()> {
    reader.read_line(&mut String::new()).map(drop)
}

fn invalid(line: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, format!("not HTTP: {line:?}"))
}
