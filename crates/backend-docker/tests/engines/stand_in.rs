//! An engine that has no containers: it answers what it is, notes what it is asked, and can leave a creation unanswered.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

const VERSION: &str = r#"{"Version":"20.10.0","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Components":[{"Name":"Engine","Version":"20.10.0"}]}"#;
const INFO: &str = r#"{"ID":"a-stand-in","CgroupVersion":"2","MemoryLimit":true,"CpuCfsQuota":true,"PidsLimit":true,"DefaultRuntime":"runc","Runtimes":{"runc":{"path":"runc"}},"MemTotal":1073741824}"#;
const NOTHING: &str = r#"{"message":"no such container"}"#;

#[derive(Clone, Default)]
pub(crate) struct StandIn(Arc<State>);

#[derive(Default)]
struct State {
    asked: Mutex<Vec<String>>,
    silent: AtomicBool,
    creation: Notify,
}

impl StandIn {
    /// Listens at `socket` for as long as the runtime lives.
    pub(crate) fn listen(socket: &Path) -> Self {
        let own = Self::default();
        let listener = UnixListener::bind(socket).unwrap();
        let serving = own.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await.ok() });
            }
        });
        own
    }

    /// From now on a creation gets no answer, or gets one.
    pub(crate) fn be_silent(&self, silent: bool) {
        self.0.silent.store(silent, Ordering::Relaxed);
    }

    /// Waits for the next creation that gets no answer.
    pub(crate) async fn creation(&self) {
        self.0.creation.notified().await;
    }

    /// What was asked about containers so far: `GET /containers/x/json`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.0.asked.lock().unwrap();
        asked.iter().filter(|line| line.contains("/containers/")).cloned().collect()
    }

    async fn serve(&self, stream: UnixStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let target = line.rsplit_once(' ').map_or(&*line, |(target, _)| target).to_owned();
        self.0.asked.lock().unwrap().push(target.clone());
        // Bodies aren't read: each connection is for one question.
        while stream.read_line(&mut line).await? > 2 {}
        if target.contains("/containers/create") && self.0.silent.load(Ordering::Relaxed) {
            self.0.creation.notify_one();
            std::future::pending::<()>().await;
        }
        let (status, body) = match target.as_str() {
            target if target.ends_with("/_ping") => ("200 OK", "OK"),
            target if target.ends_with("/version") => ("200 OK", VERSION),
            target if target.ends_with("/info") => ("200 OK", INFO),
            _ => ("404 Not Found", NOTHING),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nServer: Docker/20.10.0 (linux)\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.get_mut().write_all(format!("{head}{body}").as_bytes()).await?;
        stream.get_mut().shutdown().await
    }
}
