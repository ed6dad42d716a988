//! Meeting the host where no descriptor could be handed over. The first who comes sends the set-up, which is done before
//! anybody is served; a box whose set-up fails ends.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_protocol::{ask_setup, say_failed, say_ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::door::{self, Door};
use super::{essentials, setup, standard, visitor};
use crate::agent::{self, Agent, MAX_CONNECTIONS};
use crate::options::{Meeting, Options, StartError};

/// How long a host may take to hear why it can't be served.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whether the set-up is done.
pub(crate) struct Gate {
    keep: u64,
    /// What goes before the host's filter of system calls.
    exceptions: Vec<u8>,
    done: Cell<bool>,
}

impl Gate {
    /// `keep` are the capabilities that are left; `exceptions` go before the host's filter of system calls.
    pub(crate) fn new(keep: u64, exceptions: Vec<u8>) -> Self {
        Self { keep, exceptions, done: Cell::new(false) }
    }

    /// Lets the host in on `stream`: false where it has gone meanwhile.
    async fn admit<S>(&self, stream: &mut S) -> Result<bool, StartError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.done.get() {
            return Ok(say_ready(stream).await.is_ok());
        }
        let Ok(mut wanted) = ask_setup(stream).await else { return Ok(false) };
        if !wanted.system_call_filter.is_empty() {
            wanted.system_call_filter.splice(0..0, self.exceptions.iter().copied());
        }
        if let Err(reason) = setup::apply(&wanted, self.keep) {
            // It ends all the same where nobody hears why.
            say_failed(stream, &reason).await.ok();
            farewell(stream).await;
            return Err(StartError::Setup { reason });
        }
        self.done.set(true);
        Ok(say_ready(stream).await.is_ok())
    }
}

/// Waits until the host has hung up, so that it has heard what was said: with this process, all may end at once.
pub(crate) async fn farewell<S>(stream: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hung_up = async {
        stream.shutdown().await?;
        tokio::io::copy(stream, &mut tokio::io::sink()).await
    };
    // A host that doesn't hang up has had its time.
    tokio::time::timeout(FAREWELL, hung_up).await.ok();
}

/// Serves everybody who is met; with `--exit-with-stream` the first alone, and ends with it.
pub(crate) async fn serve(agent: Rc<Agent>, meeting: &Meeting, options: &Options) -> Result<(), StartError> {
    let gate = Gate::new(options.agent_capabilities.unwrap_or(u64::MAX), Vec::new());
    essentials::make();
    setup::limit(options.open_files).map_err(StartError::step("lower its limits"))?;
    match meeting {
        Meeting::Stdio => {
            let stream = standard::streams().map_err(StartError::step("use --stdio"))?;
            serve_one(agent, &gate, stream).await
        }
        Meeting::Machine => Err(StartError::NoStream),
        Meeting::Door(folder) => {
            let step = StartError::step("watch the folder of --door");
            if options.exit_with_stream {
                let owner = door::first(folder).await.map_err(&step)?.ok_or(StartError::OwnerGone)?;
                return serve_one(agent, &gate, owner).await;
            }
            let mut door = match Door::open(folder) {
                Ok(door) => door,
                Err(error) => return Err(cannot_watch(folder, error).await),
            };
            let visitors = Visitors::new(agent, gate);
            loop {
                drop(visitors.receive(door.next().await.map_err(&step)?).await?);
            }
        }
        Meeting::Listen(path) => {
            let step = StartError::step("use --listen");
            let listener = visitor::listen(path).map_err(&step)?;
            let visitors = Visitors::new(agent, gate);
            loop {
                match listener.accept().await {
                    Ok((stream, _)) if visitor::is_from_outside(&stream) => {
                        drop(visitors.receive(stream).await?);
                    }
                    Ok(_) => {}
                    // sleep: nothing tells when descriptors are free again, and accept would fail at once until then.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        }
    }
}

/// Tells who waits that nobody who comes later would be met: the kernel gives each user only so many watches
/// (fs.inotify.max_user_instances of inotify(7)).
async fn cannot_watch(folder: &Path, error: std::io::Error) -> StartError {
    let reason = format!("watch for visitors: {error}; raise the setting fs.inotify.max_user_instances");
    if let Ok(Some(mut host)) = door::first(folder).await {
        // It ends all the same where nobody hears why.
        say_failed(&mut host, &reason).await.ok();
    }
    StartError::Setup { reason }
}

async fn serve_one<S>(agent: Rc<Agent>, gate: &Gate, mut stream: S) -> Result<(), StartError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if gate.admit(&mut stream).await? {
        agent::connection(agent, stream).await;
    }
    Ok(())
}

/// Several at once.
pub(crate) struct Visitors {
    agent: Rc<Agent>,
    gate: Rc<Gate>,
    room: Arc<Semaphore>,
}

impl Visitors {
    /// Nobody yet.
    pub(crate) fn new(agent: Rc<Agent>, gate: Gate) -> Self {
        Self { agent, gate: Rc::new(gate), room: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }

    /// The set-up is waited for here, so that nobody else is met before it is done. What is returned ends with the visit.
    pub(crate) async fn receive<S>(&self, mut stream: S) -> Result<JoinHandle<()>, StartError>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        // Nobody closes it.
        let place = Arc::clone(&self.room).acquire_owned().await.ok();
        let (agent, gate) = (Rc::clone(&self.agent), Rc::clone(&self.gate));
        let admitted = if gate.done.get() { None } else { Some(gate.admit(&mut stream).await?) };
        Ok(tokio::task::spawn_local(async move {
            let admitted = match admitted {
                Some(admitted) => admitted,
                // Nothing can fail any more but the stream.
                None => gate.admit(&mut stream).await.unwrap_or(false),
            };
            if admitted {
                agent::connection(agent, stream).await;
            }
            drop(place);
        }))
    }
}
