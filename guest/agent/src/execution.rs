//! The life of one command, as the agent sees it.

use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime};

use agentkernel_protocol::{
    Channel, ConnectionError, Control, Event, Exec, Failure, FailureKind, State, Stream, TerminalSize,
};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::command::Command;
use crate::failure::{failure, io, reason, system};
use crate::launch::{Stdio, launch};
use crate::log::Log;
use crate::random_id::random_id;
use crate::report::{Order, Report, Stage, StartFailure};
use crate::supervised::Supervised;
use crate::table::{Born, Entry, shown};
use crate::{log, pump, terminal};

/// A timeout beyond this is none: the event loop's clock ends somewhere.
const MAX_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long a supervisor may take to end its tree: longer than its own patience.
const KILL_PATIENCE: Duration = Duration::from_secs(8);

/// Between two tries of the agent itself.
const FORCE_INTERVAL: Duration = Duration::from_millis(100);

/// How long a client may read nothing of what a command wrote until it is told of the end all the same: it may want that
/// alone.
const STANDSTILL: Duration = Duration::from_secs(2);

/// The agent's ends of a command's streams.
struct Ends {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    /// For its size.
    terminal: Option<OwnedFd>,
}

/// Runs a command to its end, and its streams to theirs.
pub(crate) async fn run(agent: &Rc<Agent>, channel: &Channel, exec: &Exec) -> Result<(), Failure> {
    let command = Command::prepare(exec, agent.command_capabilities)?;
    let new_log = |limit| {
        agent.all_commands();
        Log::new(&agent.logs, limit)
    };
    let log = exec.log_limit.map(new_log).transpose()?;
    let (ends, stdio) = streams(agent, exec)?;
    let started = Instant::now();
    let program = command.program();
    let launched = launch(command, stdio, agent.command_group.as_ref())
        .map_err(|error| system("starting the command", error))?;
    let (supervisor, socket) = launched;
    agent.children.add_own(supervisor);
    let lost = |error: std::io::Error| io("starting the command", &error);
    let supervised = Rc::new(Supervised::new(supervisor, socket, Rc::clone(&agent.children)).map_err(lost)?);
    let killed = || failure(FailureKind::Other, "the command's supervisor was killed at once");
    let pid = match supervised.report().await {
        Some(Report::Forked(pid)) => pid,
        Some(Report::Failed(start)) => return Err(start_failure(start, &program, exec)),
        _ => return Err(killed()),
    };
    let adopted = agent.children.watch(pid);
    if let Some(Report::Failed(start)) = supervised.report().await {
        return Err(start_failure(start, &program, exec));
    }
    let entry = Rc::new(Entry {
        id: log.as_ref().map_or_else(random_id, |log| log.id().to_owned()),
        argv: shown(&exec.argv),
        pid,
        started: Born::Here(started),
        state: watch::Sender::new(State::Running),
        supervised: Some(Rc::clone(&supervised)),
        log,
    });
    let born = SystemTime::now();
    // Before anybody knows its id: the next agent answers for it whatever happens to this one.
    entry.note(born);
    agent.table.add(Rc::clone(&entry));
    let id = entry.id.clone();
    // Where the client is gone already, the loop below sees that.
    channel.send(&Event::Started { id, pid: pid.unsigned_abs() }).await.ok();
    let timeout = exec.timeout_ms.map(Duration::from_millis).filter(|timeout| *timeout < MAX_TIMEOUT);
    let deadline = timeout.map(|timeout| started + timeout);
    let running = Running { entry, supervised, deadline, terminal: ends.terminal };
    let pumps = Pumps::start(channel, ends.stdin, ends.stdout, ends.stderr, running.entry.log.as_ref());
    let state = running.watch(channel, adopted).await;
    finish(agent, channel, running, born, state, pumps).await;
    Ok(())
}

async fn finish(
    agent: &Rc<Agent>,
    channel: &Channel,
    running: Running,
    born: SystemTime,
    state: State,
    pumps: Pumps,
) {
    let Running { entry, supervised, .. } = running;
    pumps.drain(entry.log.as_ref());
    let written = pumps.written();
    entry.state.send_replace(state);
    entry.note(born);
    if let Some(log) = &entry.log {
        log.command_ended();
    }
    agent.table.end(&entry);
    // Behind all that the command wrote, which may be more than there is room for at once: who is told of its end needn't
    // guess how long output may still be on its way.
    written.on_its_way().await;
    channel.send(&Event::Ended(state)).await.ok();
    // What the command left behind lives on under its supervisor, which ends with its socket.
    tokio::task::spawn_local(async move { while supervised.report().await.is_some() {} });
    pumps.wait().await;
    if let Some(log) = &entry.log {
        log.close();
    }
}

fn streams(agent: &Agent, exec: &Exec) -> Result<(Ends, Stdio), Failure> {
    let fail = |error| system("making the command's streams", error);
    if let Some(size) = exec.terminal {
        let (ours, theirs) = terminal::open(size)?;
        let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(fail);
        let stdin = if exec.stdin { Some(copy(&ours)?) } else { None };
        let ends = Ends { stdin, stderr: None, terminal: Some(copy(&ours)?), stdout: ours };
        let stdio = Stdio { stdin: copy(&theirs)?, stdout: copy(&theirs)?, stderr: theirs, terminal: true };
        return Ok((ends, stdio));
    }
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(fail);
    let (stdin, their_stdin) = if exec.stdin {
        let (theirs, ours) = pipe()?;
        (Some(ours), theirs)
    } else {
        (None, rustix::io::fcntl_dupfd_cloexec(&agent.null, 3).map_err(fail)?)
    };
    let (stdout, their_stdout) = pipe()?;
    let (stderr, their_stderr) = pipe()?;
    let ends = Ends { stdin, stdout, stderr: Some(stderr), terminal: None };
    Ok((ends, Stdio { stdin: their_stdin, stdout: their_stdout, stderr: their_stderr, terminal: false }))
}

fn start_failure(start: StartFailure, program: &str, exec: &Exec) -> Failure {
    let why = reason(start.error);
    let user = || format!("{}{}", exec.user.as_deref().unwrap_or("root"), colon(exec.group.as_deref()));
    match (start.stage, start.error) {
        (Stage::Fork | Stage::Setup, Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE)
        | (_, Errno::AGAIN | Errno::NOMEM) => failure(FailureKind::NoRoom, why),
        (Stage::Fork | Stage::Setup, _) => {
            failure(FailureKind::Other, format!("setting up the command: {why}"))
        }
        (Stage::Capabilities, _) => failure(FailureKind::Other, format!("dropping capabilities: {why}")),
        (Stage::User, _) => failure(FailureKind::User, format!("{}: {why}", user())),
        (Stage::Workdir, _) => failure(FailureKind::Workdir, why),
        (Stage::Search, _) => failure(FailureKind::CommandNotFound, program),
        (Stage::Interpreter, _) => {
            failure(FailureKind::NotExecutable, "its interpreter or loader is missing")
        }
        (Stage::Exec, _) => failure(FailureKind::NotExecutable, why),
    }
}

fn colon(group: Option<&str>) -> String {
    group.map(|group| format!(":{group}")).unwrap_or_default()
}

struct Running {
    entry: Rc<Entry>,
    supervised: Rc<Supervised>,
    deadline: Option<Instant>,
    terminal: Option<OwnedFd>,
}

impl Running {
    /// Waits for the command's end while it obeys the client and the clock.
    async fn watch(&self, channel: &Channel, mut adopted: oneshot::Receiver<i32>) -> State {
        let supervised = &self.supervised;
        let mut timed_out = false;
        let mut connected = true;
        let mut lost = false;
        let mut force = None;
        let status = loop {
            tokio::select! {
                report = supervised.report(), if !lost => match report {
                    Some(Report::Ended(status)) => break Some(status),
                    Some(_) => {}
                    None => {
                        lost = true;
                        if force.is_some() {
                            force = Some(Instant::now());
                        }
                        // It was reaped by the supervisor in its last moment, unless it is ours now.
                        let ours = raw_exists(self.entry.pid);
                        if !ours {
                            break adopted.try_recv().ok();
                        }
                    }
                },
                status = &mut adopted => break status.ok(),
                () = sleep_until(self.deadline), if !timed_out => {
                    timed_out = true;
                    supervised.order(Order::KillTree);
                }
                () = supervised.kill_ordered(), if force.is_none() => {
                    force = Some(Instant::now() + if lost { Duration::ZERO } else { KILL_PATIENCE });
                }
                () = sleep_until(force), if force.is_some() => {
                    supervised.force();
                    force = Some(Instant::now() + FORCE_INTERVAL);
                }
                message = channel.receive(), if connected => connected = self.obey(message),
            }
        };
        if lost && force.is_some() {
            // What was born while its parents were killed.
            supervised.force();
        }
        if timed_out { State::TimedOut } else { status.map_or(State::Lost, state_of) }
    }

    /// Whether the client is still there.
    fn obey(&self, message: Result<Option<Control>, ConnectionError>) -> bool {
        match message {
            Ok(Some(Control::Signal(signal))) => {
                // A wrong number is refused by the host's own types.
                self.entry.signal(signal).ok();
                true
            }
            Ok(Some(Control::Resize(size))) => {
                self.resize(size);
                true
            }
            // A message of a later version.
            Err(ConnectionError::Message(_)) => true,
            Ok(None) | Err(_) => {
                if self.entry.log.is_none() {
                    self.supervised.order(Order::KillTree);
                }
                false
            }
        }
    }

    fn resize(&self, size: TerminalSize) {
        if let Some(terminal) = &self.terminal {
            // It fails only on something that is no terminal.
            terminal::resize(terminal, size).ok();
        }
    }
}

fn raw_exists(pid: i32) -> bool {
    crate::raw::kill(pid, 0) != Err(Errno::SRCH)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// As wait(2) has it.
fn state_of(status: i32) -> State {
    if libc::WIFSIGNALED(status) {
        return State::Signaled(libc::WTERMSIG(status));
    }
    // An exit status has eight bits.
    State::Exited(libc::WEXITSTATUS(status) as u8)
}

/// An output that goes to the client.
struct Sent {
    /// Held by who moves its bytes alone, so that a command whose client reads no more is told.
    fd: Weak<AsyncFd<OwnedFd>>,
    moved: watch::Receiver<u64>,
}

/// How far each output must have been moved for all that was in it at one moment to be gone.
struct Written(Vec<(watch::Receiver<u64>, u64)>);

impl Written {
    /// Waits until all of it is on its way, or nobody wants it any more, or whoever does reads none of it for a while.
    async fn on_its_way(self) {
        for (mut moved, all) in self.0 {
            while *moved.borrow_and_update() < all {
                match tokio::time::timeout(STANDSTILL, moved.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break,
                    Err(_) => return,
                }
            }
        }
    }
}

/// The tasks that move a command's bytes.
struct Pumps {
    outputs: Vec<JoinHandle<()>>,
    logged: Vec<(Rc<AsyncFd<OwnedFd>>, Stream)>,
    sent: Vec<Sent>,
    input: Option<JoinHandle<()>>,
}

impl Pumps {
    fn start(
        channel: &Channel,
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: Option<OwnedFd>,
        log: Option<&Rc<Log>>,
    ) -> Self {
        let mut pumps = Self { outputs: Vec::new(), logged: Vec::new(), sent: Vec::new(), input: None };
        if let Some(stdin) = stdin {
            pumps.input = Some(tokio::task::spawn_local(input(channel.clone(), stdin)));
        }
        let outputs = [Some((stdout, Stream::Output)), stderr.map(|fd| (fd, Stream::Error))];
        for (fd, stream) in outputs.into_iter().flatten() {
            // Without room in the event loop its output is lost, and the client sees that by the stream's abort.
            let Ok(fd) = pump::watch(fd, Interest::READABLE) else { continue };
            let fd = Rc::new(fd);
            match log {
                None => {
                    let (moving, moved) = watch::channel(0);
                    pumps.sent.push(Sent { fd: Rc::downgrade(&fd), moved });
                    let task = output(channel.clone(), fd, stream, moving);
                    pumps.outputs.push(tokio::task::spawn_local(task));
                }
                Some(log) => {
                    pumps.logged.push((Rc::clone(&fd), stream));
                    pumps.outputs.push(tokio::task::spawn_local(log::collect(fd, Rc::clone(log), stream)));
                }
            }
        }
        pumps
    }

    /// Puts into the log what the command wrote before its end.
    fn drain(&self, log: Option<&Rc<Log>>) {
        let Some(log) = log else { return };
        for (fd, stream) in &self.logged {
            log::drain(fd, log, *stream);
        }
    }

    /// What goes to the client and has been written until now.
    fn written(&self) -> Written {
        let of = |sent: &Sent| {
            let fd = sent.fd.upgrade()?;
            let waiting = rustix::io::ioctl_fionread(fd.get_ref()).unwrap_or(0);
            let all = *sent.moved.borrow() + waiting;
            Some((sent.moved.clone(), all))
        };
        Written(self.sent.iter().filter_map(of).collect())
    }

    async fn wait(mut self) {
        self.logged.clear();
        for output in self.outputs {
            // A task that was cut off has nothing to wait for.
            output.await.ok();
        }
        if let Some(input) = self.input {
            input.abort();
        }
    }
}

async fn output(channel: Channel, fd: Rc<AsyncFd<OwnedFd>>, stream: Stream, moved: watch::Sender<u64>) {
    let writer = channel.writer(stream);
    if let Ok(writer) = pump::output(&fd, writer, &moved).await {
        writer.finish();
    }
}

async fn input(channel: Channel, fd: OwnedFd) {
    let Ok(fd) = pump::watch(fd, Interest::WRITABLE) else { return };
    let mut reader = channel.reader(Stream::Input);
    // Where the command doesn't read any more, dropping the reader tells the client.
    let Ok(line_ended) = pump::input(&mut reader, &fd).await else { return };
    if let Some(code) = terminal::end_of_file(fd.get_ref()) {
        // Within a line the first one only ends the line's wait (termios(3)).
        let codes = [code, code];
        let needed = if line_ended { 1 } else { 2 };
        pump::write_all(&fd, codes.get(..needed).unwrap_or_default()).await.ok();
    }
}
