//! Workers: forked children that touch the box's files, so that the event loop never waits for a disk, a FUSE mount or
//! /proc, and so that a client that goes away can have its request killed.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use agentkernel_protocol::{Channel, Event, Failure, FailureKind, Request, Stream, decode, encode_record};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::agent::Agent;
use crate::failure::{failure, system};
use crate::raw::{self, Fork};
use crate::{capability, files, pump};

/// The longest answer of a worker.
const MAX_ANSWER: usize = 16 * 1024;

/// How long a worker without its client may take to clean up.
const CLEANUP: Duration = Duration::from_secs(10);

/// What a worker holds.
pub(crate) struct Pipes {
    /// What the host sends.
    pub(crate) input: File,
    /// One byte once all of `input` was sent: an end without it is a client that went away.
    pub(crate) complete: File,
    /// What the host gets.
    pub(crate) output: File,
    answers: File,
}

impl Pipes {
    /// Tells the host that the output begins.
    pub(crate) fn ready(&self) {
        self.answer(&Event::Ready);
    }

    fn answer(&self, event: &Event) {
        let mut record = Vec::new();
        encode_record(event, &mut record);
        let mut rest = record.as_slice();
        // Where the agent is gone, so is this process.
        while let Ok(length) = rustix::io::write(&self.answers, rest)
            && length < rest.len()
        {
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// The agent's side of a worker.
struct Worker {
    pid: Pid,
    input: AsyncFd<OwnedFd>,
    complete: OwnedFd,
    output: AsyncFd<OwnedFd>,
    answers: AsyncFd<OwnedFd>,
}

/// Has a worker serve `request`.
pub(crate) async fn run(agent: &Rc<Agent>, channel: &Channel, request: Request) -> Result<(), Failure> {
    let takes_input = matches!(request, Request::WriteFile { .. } | Request::TarIn { .. });
    let worker = start(agent, request)?;
    let pid = worker.pid;
    let mut served = pin!(serve(channel, worker));
    tokio::select! {
        () = &mut served => return Ok(()),
        // The client doesn't speak here; it only goes.
        _ = channel.receive::<Event>() => {}
    }
    if takes_input && tokio::time::timeout(CLEANUP, served).await.is_ok() {
        // It saw that its input isn't whole, and removed the half of it.
        return Ok(());
    }
    if agent.children.own().contains(&pid.as_raw_pid()) {
        // Not reaped yet, so that the number is still its own.
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
    Ok(())
}

fn start(agent: &Rc<Agent>, request: Request) -> Result<Worker, Failure> {
    let fail = |error| system("starting a worker", error);
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(fail);
    let ((their_input, input), (their_complete, complete)) = (pipe()?, pipe()?);
    let ((output, their_output), (answers, their_answers)) = (pipe()?, pipe()?);
    let keep = agent.command_capabilities;
    match raw::fork().map_err(fail)? {
        Fork::Child => {
            let pipes = Pipes {
                input: their_input.into(),
                complete: their_complete.into(),
                output: their_output.into(),
                answers: their_answers.into(),
            };
            work(&pipes, request, keep)
        }
        Fork::Parent(pid) => {
            agent.children.add_own(pid);
            let lost = |error: std::io::Error| failure(FailureKind::NoRoom, error.to_string());
            Ok(Worker {
                pid,
                input: pump::watch(input, Interest::WRITABLE).map_err(lost)?,
                complete,
                output: pump::watch(output, Interest::READABLE).map_err(lost)?,
                answers: pump::watch(answers, Interest::READABLE).map_err(lost)?,
            })
        }
    }
}

/// The life of a worker.
fn work(pipes: &Pipes, request: Request, command_capabilities: u64) -> ! {
    let numbers = [&pipes.input, &pipes.complete, &pipes.output, &pipes.answers].map(AsRawFd::as_raw_fd);
    raw::close_all_but(&mut { numbers });
    let keep = command_capabilities | capability::WORKER;
    let answer = drop_rights(keep)
        .map_err(|error| system("dropping capabilities", error))
        .and_then(|()| files::perform(pipes, request))
        .unwrap_or_else(Event::Failed);
    pipes.answer(&answer);
    raw::exit_now(0)
}

fn drop_rights(keep: u64) -> Result<(), Errno> {
    rustix::process::umask(rustix::fs::Mode::empty());
    rustix::thread::set_name(c"worker")?;
    capability::drop_held(keep)
}

async fn serve(channel: &Channel, worker: Worker) {
    let Worker { input, complete, output, answers, .. } = worker;
    let writer = channel.writer(Stream::Output);
    let output = tokio::task::spawn_local(async move {
        let (moved, _) = watch::channel(0);
        pump::output(&output, writer, &moved).await
    });
    let input_channel = channel.clone();
    let input = tokio::task::spawn_local(async move {
        let mut reader = input_channel.reader(Stream::Input);
        // Either end may go early; the worker's answer says what that means.
        if pump::input(&mut reader, &input).await.is_ok() {
            rustix::io::write(&complete, &[1]).ok();
        }
    });
    let last = forward(channel, &answers).await;
    input.abort();
    // The worker is done, so that its output ends.
    let writer = output.await.ok().and_then(Result::ok);
    match (&last, writer) {
        (Event::Failed(_), _) | (_, None) => {}
        (_, Some(writer)) => writer.finish(),
    }
    channel.send(&last).await.ok();
}

/// Passes on a worker's answers up to the last, which is returned.
async fn forward(channel: &Channel, answers: &AsyncFd<OwnedFd>) -> Event {
    let mut buffer = Vec::new();
    loop {
        while let Some(event) = take_record(&mut buffer) {
            match event {
                Event::Ready => channel.send(&Event::Ready).await.ok(),
                last => return last,
            };
        }
        let Ok(mut ready) = answers.readable().await else { break };
        let read = ready.try_io(|fd| {
            pump::read_now(fd.get_ref(), MAX_ANSWER, |bytes| {
                buffer.extend_from_slice(bytes);
                bytes.len()
            })
        });
        match read {
            Ok(Ok(0)) => break,
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::Interrupted => break,
            _ => {}
        }
    }
    Event::Failed(failure(FailureKind::Other, "its worker was killed"))
}

/// The first whole record of `buffer`.
fn take_record(buffer: &mut Vec<u8>) -> Option<Event> {
    let (length, rest) = buffer.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let event = decode(rest.get(..length)?);
    buffer.drain(..4 + length);
    Some(event.unwrap_or_else(|error| Event::Failed(failure(FailureKind::Other, error.to_string()))))
}
