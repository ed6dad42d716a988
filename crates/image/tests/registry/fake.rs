//! A registry in this process, which does what a test tells it to. Speaks HTTP by hand: it has to be able to do it wrongly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// With the query; absolute where it came through a proxy.
    pub(crate) path: String,
    pub(crate) method: String,
    pub(crate) body: String,
    headers: HashMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte of a range.
    pub(crate) fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What is sent back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Whole(Vec<u8>),
    /// Announces all, sends this and closes.
    Broken {
        announced: usize,
        sent: Vec<u8>,
    },
    /// Sends this, then nothing, and stays.
    Hanging {
        announced: usize,
        sent: Vec<u8>,
    },
    /// Zeros until the other side closes, without a length.
    Endless,
    /// In pieces with a pause between.
    Dripping {
        bytes: Vec<u8>,
        piece: usize,
        gap: Duration,
    },
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(body.into()) }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn broken(announced: usize, sent: &[u8]) -> Self {
        Self { body: Body::Broken { announced, sent: sent.to_vec() }, ..Self::new(200, "") }
    }

    pub(crate) fn hanging(announced: usize, sent: &[u8]) -> Self {
        Self { body: Body::Hanging { announced, sent: sent.to_vec() }, ..Self::new(200, "") }
    }

    pub(crate) fn endless() -> Self {
        Self { body: Body::Endless, ..Self::new(200, "") }
    }

    pub(crate) fn dripping(bytes: &[u8], piece: usize, gap: Duration) -> Self {
        Self { body: Body::Dripping { bytes: bytes.to_vec(), piece, gap }, ..Self::new(200, "") }
    }
}

/// May answer a request; else it is answered as a well-behaved registry would.
type Rule = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

#[derive(Default)]
struct State {
    content: HashMap<String, (String, Vec<u8>)>,
    rules: Vec<Rule>,
    seen: Vec<Request>,
}

/// The registry; ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Fake {
    /// `127.0.0.1:PORT`.
    pub(crate) name: String,
    state: Arc<Mutex<State>>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self { name: listener.local_addr().unwrap().to_string(), state: Arc::default() };
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().connection(stream));
            }
        });
        fake
    }

    /// Has `bytes` under `path`.
    pub(crate) fn put(&self, path: &str, media_type: &str, bytes: &[u8]) {
        let content = (media_type.to_owned(), bytes.to_vec());
        self.state.lock().unwrap().content.insert(path.to_owned(), content);
    }

    /// Later rules are asked first.
    pub(crate) fn rule(&self, rule: impl FnMut(&Request) -> Option<Reply> + Send + 'static) {
        self.state.lock().unwrap().rules.insert(0, Box::new(rule));
    }

    /// All requests whose path contains `part`.
    pub(crate) fn seen(&self, part: &str) -> Vec<Request> {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|request| request.path.contains(part)).cloned().collect()
    }

    fn reply(&self, request: &Request) -> Reply {
        let mut state = self.state.lock().unwrap();
        state.seen.push(request.clone());
        if let Some(reply) = state.rules.iter_mut().find_map(|rule| rule(request)) {
            return reply;
        }
        // Through a proxy the whole address comes.
        let path =
            request.path.split_once("/v2/").map_or(request.path.clone(), |(_, path)| format!("/v2/{path}"));
        let Some((media_type, bytes)) = state.content.get(&path) else {
            return Reply::new(
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            );
        };
        let reply = match request.from() {
            Some(from) if from < bytes.len() => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                Reply::new(206, &bytes[from..]).header("Content-Range", range)
            }
            Some(_) => return Reply::new(416, ""),
            None => Reply::new(200, bytes.clone()),
        };
        reply.header("Content-Type", media_type)
    }

    async fn connection(self, mut stream: TcpStream) {
        let Some(request) = read(&mut stream).await else { return };
        let reply = self.reply(&request);
        // A client that has had enough closes.
        write(&mut stream, reply).await.ok();
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if !bytes[0].is_ascii_uppercase() {
            stream.write_all(b"HTTP/1.1 400 This is no HTTP\r\n\r\n").await.ok()?;
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let split = |line: &str| {
        Some((line.split_once(':')?.0.to_lowercase(), line.split_once(':')?.1.trim().to_owned()))
    };
    let headers: HashMap<String, String> = lines.filter_map(split).collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        stream.read_buf(&mut body).await.ok()?;
    }
    Some(Request { path, method, body: String::from_utf8(body).ok()?, headers })
}

async fn write(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    let length = match &reply.body {
        Body::Whole(bytes) | Body::Dripping { bytes, .. } => Some(bytes.len()),
        Body::Broken { announced, .. } | Body::Hanging { announced, .. } => Some(*announced),
        Body::Endless => None,
    };
    let mut head = format!("HTTP/1.1 {} Fake\r\nConnection: close\r\n", reply.status);
    for (name, value) in
        length.map(|length| ("Content-Length".to_owned(), length.to_string())).iter().chain(&reply.headers)
    {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    match reply.body {
        Body::Whole(bytes) => stream.write_all(&bytes).await?,
        Body::Broken { sent, .. } => stream.write_all(&sent).await?,
        Body::Hanging { sent, .. } => {
            stream.write_all(&sent).await?;
            // Until the client closes.
            stream.read_u8().await?;
        }
        Body::Endless => loop {
            stream.write_all(&[0; 64 << 10]).await?;
        },
        Body::Dripping { bytes, piece, gap } => {
            for part in bytes.chunks(piece) {
                stream.write_all(part).await?;
                tokio::time::sleep(gap).await;
            }
        }
    }
    stream.shutdown().await
}
