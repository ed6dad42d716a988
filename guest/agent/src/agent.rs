//! The agent as a whole: its state, and its start.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use agentkernel_protocol::{ConnectionError, Guest};
use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::LocalSet;

use crate::children::{self, Children};
use crate::log::LogFolder;
use crate::machine::Keeper;
use crate::meeting;
use crate::options::{Meeting, Options, StartError};
use crate::table::Table;
use crate::{machine, own_folder, raw, service};

/// Clients at once.
pub(crate) const MAX_CONNECTIONS: usize = 256;

/// What every task of the agent shares.
pub(crate) struct Agent {
    pub(crate) children: Rc<Children>,
    /// The commands of this agent, and those of earlier ones once [`Agent::all_commands`] was asked for.
    pub(crate) table: Table,
    pub(crate) logs: LogFolder,
    /// Whether the commands of earlier agents are in the table.
    kept: OnceCell<()>,
    /// /dev/null, opened before any command ran: root of the box may put something else there that never opens.
    pub(crate) null: OwnedFd,
    /// The capabilities that commands may keep.
    pub(crate) command_capabilities: u64,
    /// Told when the machine is to be switched off; there only where the box is one.
    pub(crate) power_off: Option<Notify>,
    /// Makes the machine another one, where the box is a machine that may be copied.
    pub(crate) keeper: Option<Keeper>,
    /// What each command becomes a member of by writing "0", so that its time can be stopped.
    pub(crate) command_group: Option<OwnedFd>,
}

impl Agent {
    /// Without any command yet. Opens what commands could change.
    pub(crate) fn new(logs: LogFolder, command_capabilities: u64) -> Result<Self, StartError> {
        let null = rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(StartError::step("open /dev/null"))?;
        Ok(Self {
            children: Rc::default(),
            table: Table::default(),
            logs,
            kept: OnceCell::new(),
            null,
            command_capabilities,
            power_off: None,
            keeper: None,
            command_group: None,
        })
    }

    /// The commands, with what earlier agents have left: that is looked for at the first call, since most boxes are never
    /// asked for it. Must be called before anything is noted of a new detached command.
    pub(crate) fn all_commands(&self) -> &Table {
        self.kept.get_or_init(|| self.table.add_kept(self.logs.kept()));
        &self.table
    }
}

/// Serves until there is nothing left to serve.
pub(crate) fn run(options: &Options) -> Result<(), StartError> {
    if let Some(socket) = &options.relay {
        return meeting::relay(socket);
    }
    if options.meeting == Some(Meeting::Machine) {
        return machine::run(options);
    }
    let take = |fd: Option<i32>, action| fd.map(raw::inherited).transpose().map_err(StartError::step(action));
    let stream = take(options.stream, "use --stream-fd")?;
    let listener = take(options.listen, "use --listen-fd")?;
    let log_dir = match &options.log_dir_path {
        Some(path) => Some(own_folder::open(path).map_err(StartError::step("use --log-dir"))?),
        None => take(options.log_dir, "use --log-dir-fd")?,
    };
    hide()?;
    let logs = LogFolder::new(log_dir, !options.exit_with_stream);
    let agent = Rc::new(Agent::new(logs, options.command_capabilities.unwrap_or(u64::MAX))?);
    run_alone(async {
        match &options.meeting {
            Some(meeting) => {
                let reaper = tokio::task::spawn_local(children::reap_all(Rc::clone(&agent.children)));
                tokio::select! {
                    result = meeting::serve(agent, meeting, options) => result,
                    failed = reaper => failed.unwrap_or(Ok(())),
                }
            }
            None => serve(agent, stream, listener, options.exit_with_stream).await,
        }
    })
}

/// Keeps other processes from looking into this one.
pub(crate) fn hide() -> Result<(), StartError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(StartError::step("hide from debuggers"))
}

/// The event loop: everything of the agent is in it, on one thread.
pub(crate) fn run_alone<T>(life: impl Future<Output = Result<T, StartError>>) -> Result<T, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::step("start the event loop"))?;
    LocalSet::new().block_on(&runtime, life)
}

async fn serve(
    agent: Rc<Agent>,
    stream: Option<OwnedFd>,
    listener: Option<OwnedFd>,
    exit_with_stream: bool,
) -> Result<(), StartError> {
    let reaper = tokio::task::spawn_local(children::reap_all(Rc::clone(&agent.children)));
    let first = async {
        match stream {
            Some(stream) => connection(Rc::clone(&agent), adopt(stream.into())?).await,
            None => std::future::pending().await,
        };
        if exit_with_stream || listener.is_none() { Ok(()) } else { std::future::pending().await }
    };
    let others = async {
        match &listener {
            Some(listener) => listen(Rc::clone(&agent), listener).await,
            None => std::future::pending().await,
        }
    };
    // With the end of this everything ends: as PID 1 by the kernel, else by the supervisors.
    tokio::select! {
        result = first => result,
        result = others => result,
        failed = reaper => failed.unwrap_or(Ok(())),
    }
}

fn adopt(stream: std::os::unix::net::UnixStream) -> Result<UnixStream, StartError> {
    let step = StartError::step("use --stream-fd");
    stream.set_nonblocking(true).map_err(&step)?;
    UnixStream::from_std(stream).map_err(&step)
}

async fn listen(agent: Rc<Agent>, listener: &OwnedFd) -> Result<(), StartError> {
    let step = StartError::step("use --listen-fd");
    let listener = std::os::unix::net::UnixListener::from(listener.try_clone().map_err(&step)?);
    listener.set_nonblocking(true).map_err(&step)?;
    let listener = UnixListener::from_std(listener).map_err(&step)?;
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let agent = Rc::clone(&agent);
                tokio::task::spawn_local(async move {
                    connection(agent, stream).await;
                    drop(place);
                });
            }
            // Out of descriptors, or a client that gave up: the next one may do better.
            // sleep: nothing tells when descriptors are free again, and accept would fail at once until then.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

/// Serves one client to its end.
pub(crate) async fn connection<S>(agent: Rc<Agent>, stream: S) -> ConnectionError
where
    S: AsyncRead + AsyncWrite,
{
    let (guest, driver) = Guest::new(stream, env!("CARGO_PKG_VERSION"));
    let requests = tokio::task::spawn_local(async move {
        while let Ok(accepted) = guest.accept().await {
            tokio::task::spawn_local(service::serve(Rc::clone(&agent), accepted));
        }
    });
    let end = driver.await;
    requests.abort();
    end
}
