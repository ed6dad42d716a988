//! [`Guest`] by way of our agent.

use std::sync::Arc;
use std::time::Duration;

use agentkernel_model::{BoxPath, ByteString, ExecId, ExecRequest, Feature, Outcome, Signal, UserSpec};
use agentkernel_protocol::machine::Renewal;
use agentkernel_protocol::{Channel, Entry, Event, ExecutionEntry, Host, ProcessEntry, Request, Stream};
use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::ordered_log::Records;
use super::stream::{Answered, records};
use super::{check, execution};
use crate::{
    BackendError, Execution, ExecutionInfo, ExecutionState, FileInfo, Guest, LogRead, OrderedLog,
    OutputStream, ProcessInfo, TcpStreamInside,
};

/// The most entries of a folder.
const MAX_ENTRIES: usize = 100_000;

/// The most processes or commands of a box.
const MAX_PROCESSES: usize = 100_000;

/// The way into a box whose PID 1 is our agent. The connection ends when this and everything that it gave out is
/// dropped, or when the box does.
pub struct AgentGuest {
    host: Host,
    /// Where the box has no users but root: the backend's name and why.
    root_only: Option<(String, String)>,
}

impl AgentGuest {
    /// Speaks to the agent at the other end of `stream`. Doesn't wait for it: requests are sent at once. Must be called
    /// within a tokio runtime.
    pub fn connect<S>(stream: S) -> Arc<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Arc::new(Self::new(stream, None))
    }

    /// As [`Self::connect`], for a box whose user namespace has root alone: commands as others are refused in the name of
    /// `backend`, with `why` and the fix.
    pub fn connect_for_root_only<S>(stream: S, backend: &str, why: &str) -> Arc<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Arc::new(Self::new(stream, Some((backend.to_owned(), why.to_owned()))))
    }

    fn new<S>(stream: S, root_only: Option<(String, String)>) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (host, driver) = Host::new(stream, env!("CARGO_PKG_VERSION"));
        tokio::spawn(driver);
        Self { host, root_only }
    }

    fn refuse_user(&self, user: Option<&UserSpec>) -> Result<(), BackendError> {
        match (&self.root_only, user) {
            (Some((backend, why)), Some(user)) if !user.is_root() => Err(BackendError::Unsupported {
                backend: backend.clone(),
                what: Feature::OtherUsers.to_string(),
                fix: why.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Waits until the agent has said hello; returns its version. A box that fails to start ends the connection first:
    /// [`BackendError::BoxEnded`].
    pub async fn ready(&self) -> Result<String, BackendError> {
        self.host.ready().await.map(|hello| hello.software).map_err(check::connection)
    }

    /// Ends everything in a box that is a machine of its own, and the machine: SIGTERM first, SIGKILL after `grace`, then all
    /// that was written is on its disk. Returns once that is so, or the machine is gone; its end follows. Errors:
    /// [`BackendError::Invalid`] where the box is no machine.
    pub async fn power_off(&self, grace: Duration) -> Result<(), BackendError> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        match self.do_it(&Request::PowerOff { grace_ms }, "power off").await {
            Err(BackendError::BoxEnded { .. }) => Ok(()),
            other => other,
        }
    }

    /// Stops the time of all commands in a box that is a machine of its own, which shall stand still itself next. Errors:
    /// [`BackendError::Invalid`] where the box is no lasting machine.
    pub async fn stand_still(&self) -> Result<(), BackendError> {
        self.do_it(&Request::StandStill, "stop the time of its commands").await
    }

    /// Makes new in the machine what has to be, and lets its commands go on; fine where they do. Errors: as
    /// [`Self::stand_still`].
    pub async fn go_on(&self, renewal: Renewal) -> Result<(), BackendError> {
        self.do_it(&Request::GoOn(Box::new(renewal)), "let its commands go on").await
    }

    async fn open(&self, request: &Request) -> Result<Channel, BackendError> {
        self.host.open(request).await.map_err(check::connection)
    }

    /// A request with one answer.
    async fn ask(&self, request: &Request, what: &str) -> Result<Event, BackendError> {
        answer(&self.open(request).await?, what).await
    }

    async fn do_it(&self, request: &Request, what: &str) -> Result<(), BackendError> {
        match self.ask(request, what).await? {
            Event::Done => Ok(()),
            other => Err(check::unexpected(Some(other))),
        }
    }

    /// A request whose input is `content`.
    async fn send(
        &self,
        request: &Request,
        what: &str,
        mut content: OutputStream,
    ) -> Result<Event, BackendError> {
        let channel = self.open(request).await?;
        let mut writer = channel.writer(Stream::Input);
        let copy = async {
            tokio::io::copy(&mut content, &mut writer).await?;
            writer.shutdown().await
        };
        let answered = answer(&channel, what);
        let (mut copy, mut answered) = (std::pin::pin!(copy), std::pin::pin!(answered));
        let mut copied = None;
        // The agent may refuse before it has read everything.
        let result = std::future::poll_fn(|context| {
            if copied.is_none()
                && let std::task::Poll::Ready(result) = copy.as_mut().poll(context)
            {
                let source_failed =
                    result.as_ref().is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe);
                copied = Some(result);
                if source_failed {
                    return std::task::Poll::Ready(None);
                }
            }
            answered.as_mut().poll(context).map(Some)
        })
        .await;
        match (result, copied) {
            (Some(answer), _) => answer,
            (None, Some(Err(error))) => Err(match self.host.closed() {
                Some(ended) => check::connection(ended),
                None => BackendError::runtime(format!("read what is to become {what}"), error),
            }),
            (None, _) => Err(check::hostile("no answer")),
        }
    }
}

/// Where a log that was asked for from `offset` on begins, and where its command is.
async fn log_begins(
    channel: &Channel,
    what: &str,
    offset: u64,
) -> Result<(u64, ExecutionState), BackendError> {
    match answer(channel, what).await? {
        Event::Log { start, state } if start >= offset => Ok((start, check::execution_state(state)?)),
        Event::Log { start, .. } => {
            Err(check::hostile(format!("a log from {start} on where {offset} was asked for")))
        }
        other => Err(check::unexpected(Some(other))),
    }
}

async fn answer(channel: &Channel, what: &str) -> Result<Event, BackendError> {
    match channel.receive().await.map_err(check::connection)? {
        Some(Event::Failed(failure)) => Err(check::failed(what, failure)),
        Some(event) => Ok(event),
        None => Err(check::unexpected(None)),
    }
}

fn bytes(path: &BoxPath) -> agentkernel_protocol::ByteVec {
    use std::os::unix::ffi::OsStrExt;
    path.as_path().as_os_str().as_bytes().to_vec().into()
}

fn named(path: &BoxPath) -> String {
    format!("{path} in the sandbox")
}

#[async_trait]
impl Guest for AgentGuest {
    async fn exec(&self, request: &ExecRequest) -> Result<Execution, BackendError> {
        self.refuse_user(request.user.as_ref())?;
        let channel = self.open(&execution::message(request)).await?;
        execution::started(channel, request).await
    }

    async fn executions(&self) -> Result<Vec<ExecutionInfo>, BackendError> {
        let channel = self.open(&Request::Executions).await?;
        let entries: Vec<ExecutionEntry> =
            records(channel, "the executions".to_owned(), MAX_PROCESSES).await?;
        entries.into_iter().map(check::execution).collect()
    }

    async fn kill(&self, id: &ExecId, signal: Signal) -> Result<(), BackendError> {
        let request = Request::Kill { id: id.to_string(), signal: signal.number() };
        self.do_it(&request, &format!("a running execution {id}")).await
    }

    async fn wait(&self, id: &ExecId) -> Result<Outcome, BackendError> {
        let channel = self.open(&Request::Wait { id: id.to_string() }).await?;
        match execution::ended(&channel).await {
            Err(BackendError::NotFound { .. }) => {
                Err(BackendError::NotFound { what: format!("execution {id}") })
            }
            other => other,
        }
    }

    async fn logs(&self, id: &ExecId, offset: u64, follow: bool) -> Result<LogRead, BackendError> {
        let channel = self.open(&Request::Logs { id: id.to_string(), offset, follow }).await?;
        let stdout = Box::new(channel.reader(Stream::Output));
        let stderr = Box::new(channel.reader(Stream::Error));
        let (start, state) = log_begins(&channel, &format!("execution {id}"), offset).await?;
        Ok(LogRead { start, stdout, stderr, state })
    }

    async fn ordered_log(&self, id: &ExecId, offset: u64, follow: bool) -> Result<OrderedLog, BackendError> {
        let what = format!("execution {id}");
        let channel = self.open(&Request::OrderedLog { id: id.to_string(), offset, follow }).await?;
        let reader = channel.reader(Stream::Output);
        let (start, state) = log_begins(&channel, &what, offset).await?;
        Ok(OrderedLog { start, state, chunks: Box::new(Records::new(reader, what, start)) })
    }

    async fn processes(&self) -> Result<Vec<ProcessInfo>, BackendError> {
        let channel = self.open(&Request::Processes).await?;
        let entries: Vec<ProcessEntry> = records(channel, "the processes".to_owned(), MAX_PROCESSES).await?;
        entries.into_iter().map(check::process).collect()
    }

    async fn read_file(&self, path: &BoxPath) -> Result<OutputStream, BackendError> {
        let channel = self.open(&Request::ReadFile { path: bytes(path) }).await?;
        Ok(Box::new(Answered::open(channel, named(path)).await?))
    }

    async fn write_file(
        &self,
        path: &BoxPath,
        mode: Option<u32>,
        content: OutputStream,
    ) -> Result<u64, BackendError> {
        let request = Request::WriteFile { path: bytes(path), mode };
        match self.send(&request, &named(path), content).await? {
            Event::Written(length) => Ok(length),
            other => Err(check::unexpected(Some(other))),
        }
    }

    async fn stat(&self, path: &BoxPath) -> Result<FileInfo, BackendError> {
        let entry: Entry = match self.ask(&Request::Stat { path: bytes(path) }, &named(path)).await? {
            Event::File(entry) => entry,
            other => return Err(check::unexpected(Some(other))),
        };
        let info = check::file(entry)?;
        let expected = path.as_path().file_name().map(|name| ByteString::from(name.to_owned()));
        if expected.is_some_and(|name| name != info.name) {
            return Err(check::hostile("another file's name"));
        }
        Ok(info)
    }

    async fn list(&self, path: &BoxPath) -> Result<Vec<FileInfo>, BackendError> {
        let channel = self.open(&Request::List { path: bytes(path) }).await?;
        let entries: Vec<Entry> = records(channel, named(path), MAX_ENTRIES).await?;
        let mut files = entries.into_iter().map(check::file).collect::<Result<Vec<_>, _>>()?;
        files.sort_by(|one, other| one.name.cmp(&other.name));
        if files.is_sorted_by(|one, other| one.name < other.name) {
            return Ok(files);
        }
        Err(check::hostile("a folder with the same name twice"))
    }

    async fn remove_file(&self, path: &BoxPath, recursive: bool) -> Result<(), BackendError> {
        self.do_it(&Request::Remove { path: bytes(path), recursive }, &named(path)).await
    }

    async fn make_dir(&self, path: &BoxPath, mode: Option<u32>) -> Result<(), BackendError> {
        self.do_it(&Request::MakeDir { path: bytes(path), mode }, &named(path)).await
    }

    async fn tar_out(&self, path: &BoxPath) -> Result<OutputStream, BackendError> {
        let channel = self.open(&Request::TarOut { path: bytes(path) }).await?;
        Ok(Box::new(Answered::open(channel, named(path)).await?))
    }

    async fn tar_in(&self, path: &BoxPath, tar: OutputStream) -> Result<(), BackendError> {
        match self.send(&Request::TarIn { path: bytes(path) }, &named(path), tar).await? {
            Event::Done => Ok(()),
            other => Err(check::unexpected(Some(other))),
        }
    }

    async fn connect_port(&self, port: u16) -> Result<Box<dyn TcpStreamInside>, BackendError> {
        let channel = self.open(&Request::Connect { port }).await?;
        match answer(&channel, &format!("a listener on port {port} in the sandbox")).await? {
            Event::Done => {}
            other => return Err(check::unexpected(Some(other))),
        }
        Ok(Box::new(tokio::io::join(channel.reader(Stream::Output), channel.writer(Stream::Input))))
    }
}
