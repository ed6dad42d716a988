//! The way into a fake box.

use std::sync::Arc;

use agentkernel_backend::{
    BackendError, Execution, ExecutionControl, ExecutionInfo, FileInfo, Guest, InputStream, LogRead,
    OrderedLog, OutputStream, ProcessInfo, TcpStreamInside,
};
use agentkernel_model::{
    BoxPath, ByteString, CannotExec, ExecId, ExecRequest, Feature, Outcome, Signal, TtySize, UserSpec,
};
use async_trait::async_trait;
use std::os::unix::ffi::OsStrExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::command::{Command, Stream};
use super::fault::Step;
use super::machine::Sandbox;
use super::ordered_log::Chunks;
use super::shell::{Shell, Sink, run_command};
use super::stream::{AwkwardReader, PIPE_BYTES};
use super::tree::{Content, TreeError};
use super::violation::{Violation, Violations};
use super::{archive, programs};

/// The way into one running box.
pub(super) struct FakeGuest {
    pub(super) sandbox: Arc<Sandbox>,
}

fn bytes(path: &BoxPath) -> &[u8] {
    path.as_path().as_os_str().as_bytes()
}

impl FakeGuest {
    /// Waits while the box stands still.
    async fn alive(&self, call: &'static str) -> Result<(), BackendError> {
        self.sandbox.goes_on().await;
        if self.sandbox.has_ended() {
            self.sandbox.violations.note(Violation::UsedAfterEnd { call });
            return Err(BackendError::BoxEnded { why: "the fake box was ended".to_owned() });
        }
        Ok(())
    }

    fn command(&self, id: &ExecId) -> Result<Arc<Command>, BackendError> {
        let commands = self.sandbox.commands.lock().expect("no panic while locked");
        commands
            .get(id)
            .cloned()
            .ok_or_else(|| BackendError::NotFound { what: format!("command {id} in the sandbox") })
    }

    /// A stream of `content` in awkward pieces.
    fn awkward(&self, content: Vec<u8>) -> OutputStream {
        let (mut near, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(async move {
            // The reader may lose interest: not our business.
            drop(near.write_all(&content).await);
        });
        Box::new(AwkwardReader::new(far, Arc::clone(&self.sandbox.delivery.chunk_sizes)))
    }

    fn find_user(&self, user: &UserSpec) -> Result<(u32, u32), CannotExec> {
        let table = |path: &[u8]| self.sandbox.files(|tree| tree.read(path)).unwrap_or_default();
        let find = |table: Vec<u8>, wanted: &str| {
            String::from_utf8_lossy(&table).lines().find_map(|line| {
                let fields: Vec<_> = line.split(':').collect();
                let ids = fields
                    .get(2)?
                    .parse()
                    .ok()
                    .zip(fields.get(3).and_then(|gid| gid.parse().ok()).or(Some(0)));
                ids.filter(|_| fields[0] == wanted || fields[2] == wanted)
            })
        };
        let no = |why: &str| CannotExec::User { user: user.to_string(), why: why.to_owned() };
        let known: Option<(u32, u32)> = find(table(b"/etc/passwd"), &user.user);
        let uid =
            known.map(|(uid, _)| uid).or_else(|| user.user.parse().ok()).ok_or_else(|| no("no such user"))?;
        let gid = match &user.group {
            None => known.map_or(0, |(_, gid)| gid),
            Some(group) => find(table(b"/etc/group"), group)
                .map(|(gid, _)| gid)
                .or_else(|| group.parse().ok())
                .ok_or_else(|| no("no such group"))?,
        };
        Ok((uid, gid))
    }

    fn check(&self, request: &ExecRequest) -> Result<(u32, u32), BackendError> {
        let invalid = |what: &str| Err(BackendError::Invalid { what: what.to_owned() });
        if request.tty.is_some() {
            self.sandbox.needs(Feature::Terminal)?;
        }
        if request.detached_log_limit.is_some() {
            self.sandbox.needs(Feature::DetachedCommands)?;
        }
        if request.user.as_ref().is_some_and(|user| user.user != "root" && user.user != "0") {
            self.sandbox.needs(Feature::OtherUsers)?;
        }
        if request.argv.is_empty() {
            return invalid("a command needs at least a program");
        }
        let names_ok = request.env.iter().all(|var| {
            let name = var.name.as_bytes();
            !name.is_empty()
                && !name.contains(&b'=')
                && !name.contains(&0)
                && !var.value.as_bytes().contains(&0)
        });
        if !names_ok || request.argv.iter().any(|argument| argument.as_bytes().contains(&0)) {
            return invalid("a NUL byte in the command, or a bad environment name");
        }
        let user = request.user.as_ref().map_or(Ok((0, 0)), |user| self.find_user(user))?;
        let workdir =
            |why: TreeError| CannotExec::Workdir { path: request.workdir.clone(), why: why.to_string() };
        self.sandbox.files(|tree| {
            match tree.get(bytes(&request.workdir), true).map_err(workdir)?.1.content {
                Content::Directory => Ok(()),
                _ => Err(workdir(TreeError::NotADirectory)),
            }
        })?;
        Ok(user)
    }
}

fn no_log(id: &ExecId) -> BackendError {
    BackendError::Invalid { what: format!("command {id} is not detached: it has no log") }
}

impl FakeGuest {
    /// A detached command, and where its log begins at or after `offset`.
    fn logged(&self, id: &ExecId, offset: u64) -> Result<(Arc<Command>, u64), BackendError> {
        let command = self.command(id)?;
        let log = command.log.as_ref().ok_or_else(|| no_log(id))?;
        let start = log.lock().expect("no panic while locked").start(offset);
        let beyond = || BackendError::Invalid {
            what: format!("offset {offset} is beyond the end of the log of command {id}"),
        };
        let start = start.ok_or_else(beyond)?;
        Ok((command, start))
    }
}

#[async_trait]
impl Guest for FakeGuest {
    async fn exec(&self, request: &ExecRequest) -> Result<Execution, BackendError> {
        self.alive("exec").await?;
        let end = self.sandbox.faults.before(Step::Exec).await?;
        let (uid, gid) = self.check(request)?;
        let env: Vec<_> = request.env.iter().map(|var| (var.name.0.clone(), var.value.0.clone())).collect();
        let cwd = bytes(&request.workdir).to_vec();
        let argv: Vec<Vec<u8>> = request.argv.iter().map(|argument| argument.0.clone()).collect();
        programs::find(&self.sandbox, &env, &cwd, uid, &argv[0])?;

        let pid = self.sandbox.pid();
        let id: ExecId = format!("exec-{pid}").parse().expect("a valid id");
        let command =
            Arc::new(Command::new(id.clone(), request.argv.clone(), pid, request.detached_log_limit));
        self.sandbox.commands.lock().expect("no panic while locked").insert(id.clone(), Arc::clone(&command));

        let open = |name| -> (Sink, OutputStream) {
            if request.detached_log_limit.is_some() {
                let stream = if name == "stdout" { Stream::Out } else { Stream::Err };
                return (Sink::Log(Arc::clone(&command), stream), Box::new(tokio::io::empty()));
            }
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let reader = AwkwardReader::new(far, Arc::clone(&self.sandbox.delivery.chunk_sizes));
            (Sink::pipe(near), Box::new(reader.watched(&self.sandbox.violations, &command, name)))
        };
        let (out, stdout) = open("stdout");
        let (err, stderr) = match request.tty {
            Some(_) => (out.clone(), None),
            None => {
                let (sink, reader) = open("stderr");
                (sink, Some(reader))
            }
        };
        let (stdin, input): (Option<DuplexStream>, Option<InputStream>) = if request.stdin {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            (Some(far), Some(Box::new(near)))
        } else {
            (None, None)
        };
        let shell = Shell::new(
            Arc::clone(&self.sandbox),
            Arc::clone(&command),
            env,
            cwd,
            (uid, gid),
            stdin,
            out,
            err,
        );
        tokio::spawn(live(shell, argv, request.timeout));
        let control = FakeControl {
            command,
            violations: self.sandbox.violations.clone(),
            detached: request.detached_log_limit.is_some(),
        };
        end.done(Execution { id, stdin: input, stdout, stderr, control: Box::new(control) })
    }

    async fn executions(&self) -> Result<Vec<ExecutionInfo>, BackendError> {
        self.alive("executions").await?;
        let commands = self.sandbox.commands.lock().expect("no panic while locked");
        let shown =
            commands.values().filter(|command| command.log.is_some() || command.outcome.borrow().is_none());
        Ok(shown.map(|command| command.info()).collect())
    }

    async fn kill(&self, id: &ExecId, signal: Signal) -> Result<(), BackendError> {
        self.alive("kill").await?;
        self.command(id)?.kill(Outcome::Signaled(signal));
        Ok(())
    }

    async fn wait(&self, id: &ExecId) -> Result<Outcome, BackendError> {
        self.alive("wait").await?;
        Ok(self.command(id)?.ended().await)
    }

    async fn logs(&self, id: &ExecId, offset: u64, follow: bool) -> Result<LogRead, BackendError> {
        self.alive("logs").await?;
        let (command, start) = self.logged(id, offset)?;
        let Some(log) = &command.log else { return Err(no_log(id)) };
        let state = command.state();
        let follow_one = |stream| -> OutputStream {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            tokio::spawn(follow_log(Arc::clone(&command), stream, start, near));
            Box::new(AwkwardReader::new(far, Arc::clone(&self.sandbox.delivery.chunk_sizes)))
        };
        let read = |stream| log.lock().expect("no panic while locked").read(stream, start).0;
        let (stdout, stderr) = if follow {
            (follow_one(Stream::Out), follow_one(Stream::Err))
        } else {
            (self.awkward(read(Stream::Out)), self.awkward(read(Stream::Err)))
        };
        Ok(LogRead { start, stdout, stderr, state })
    }

    async fn ordered_log(&self, id: &ExecId, offset: u64, follow: bool) -> Result<OrderedLog, BackendError> {
        self.alive("ordered_log").await?;
        let (command, start) = self.logged(id, offset)?;
        let Some(log) = &command.log else { return Err(no_log(id)) };
        let end = log.lock().expect("no panic while locked").end();
        let state = command.state();
        let chunks = Chunks::new(Arc::clone(&command), start, (!follow).then_some(end));
        Ok(OrderedLog { start, state, chunks: Box::new(chunks) })
    }

    async fn processes(&self) -> Result<Vec<ProcessInfo>, BackendError> {
        self.alive("processes").await?;
        Ok(self.sandbox.process_list())
    }

    async fn read_file(&self, path: &BoxPath) -> Result<OutputStream, BackendError> {
        self.alive("read_file").await?;
        self.sandbox.needs(Feature::Files)?;
        let end = self.sandbox.faults.before(Step::ReadFiles).await?;
        let content = self.sandbox.files(|tree| match tree.get(bytes(path), true)?.1.content {
            Content::Special(_) => Err(TreeError::Special),
            _ => tree.read(bytes(path)),
        });
        end.done(self.awkward(content.map_err(|error| error.of(bytes(path)))?))
    }

    async fn write_file(
        &self,
        path: &BoxPath,
        mode: Option<u32>,
        mut content: OutputStream,
    ) -> Result<u64, BackendError> {
        self.alive("write_file").await?;
        self.sandbox.needs(Feature::Files)?;
        let end = self.sandbox.faults.before(Step::WriteFiles).await?;
        let mut whole = Vec::new();
        let read = content.read_to_end(&mut whole).await;
        let length =
            read.map_err(|error| BackendError::runtime(format!("read what becomes {path}"), error))?;
        let written = self.sandbox.files(|tree| match tree.get(bytes(path), true) {
            Ok((_, node)) if matches!(node.content, Content::Special(_)) => Err(TreeError::Special),
            _ => tree.write(bytes(path), Some(mode.unwrap_or(0o644)), whole, 0),
        });
        written.map_err(|error| error.of(bytes(path)))?;
        end.done(length as u64)
    }

    async fn stat(&self, path: &BoxPath) -> Result<FileInfo, BackendError> {
        self.alive("stat").await?;
        self.sandbox.needs(Feature::Files)?;
        let end = self.sandbox.faults.before(Step::ReadFiles).await?;
        let found = self
            .sandbox
            .files(|tree| tree.get(bytes(path), false).map(|(at, node)| super::tree::info(&at, node)));
        end.done(found.map_err(|error| error.of(bytes(path)))?)
    }

    async fn list(&self, path: &BoxPath) -> Result<Vec<FileInfo>, BackendError> {
        self.alive("list").await?;
        self.sandbox.needs(Feature::Files)?;
        let end = self.sandbox.faults.before(Step::ReadFiles).await?;
        end.done(self.sandbox.files(|tree| tree.list(bytes(path))).map_err(|error| error.of(bytes(path)))?)
    }

    async fn remove_file(&self, path: &BoxPath, recursive: bool) -> Result<(), BackendError> {
        self.alive("remove_file").await?;
        self.sandbox.needs(Feature::Files)?;
        let end = self.sandbox.faults.before(Step::WriteFiles).await?;
        end.done(
            self.sandbox
                .files(|tree| tree.remove(bytes(path), recursive))
                .map_err(|error| error.of(bytes(path)))?,
        )
    }

    async fn make_dir(&self, path: &BoxPath, mode: Option<u32>) -> Result<(), BackendError> {
        self.alive("make_dir").await?;
        self.sandbox.needs(Feature::Files)?;
        let end = self.sandbox.faults.before(Step::WriteFiles).await?;
        end.done(
            self.sandbox
                .files(|tree| tree.make_dir(bytes(path), mode))
                .map_err(|error| error.of(bytes(path)))?,
        )
    }

    async fn tar_out(&self, path: &BoxPath) -> Result<OutputStream, BackendError> {
        self.alive("tar_out").await?;
        self.sandbox.needs(Feature::Files)?;
        let end = self.sandbox.faults.before(Step::ReadFiles).await?;
        let packed = self.sandbox.files(|tree| archive::pack(tree, bytes(path)))?;
        end.done(self.awkward(packed))
    }

    async fn tar_in(&self, path: &BoxPath, mut tar: OutputStream) -> Result<(), BackendError> {
        self.alive("tar_in").await?;
        self.sandbox.needs(Feature::Files)?;
        let end = self.sandbox.faults.before(Step::WriteFiles).await?;
        let mut whole = Vec::new();
        let read = tar.read_to_end(&mut whole).await;
        read.map_err(|error| BackendError::runtime(format!("read the tar stream for {path}"), error))?;
        self.sandbox.files(|tree| archive::unpack(tree, bytes(path), &whole))?;
        end.done(())
    }

    async fn connect_port(&self, port: u16) -> Result<Box<dyn TcpStreamInside>, BackendError> {
        self.alive("connect_port").await?;
        self.sandbox.needs(Feature::PortForwarding)?;
        let end = self.sandbox.faults.before(Step::ConnectPort).await?;
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let listener = self.sandbox.ports.lock().expect("no panic while locked").get(&port).cloned();
        match listener.map(|listener| listener.send(far)) {
            Some(Ok(())) => end.done(Box::new(near)),
            _ => Err(BackendError::runtime(
                format!("connect to port {port} in the sandbox"),
                "connection refused",
            )),
        }
    }
}

/// A command's life.
async fn live(shell: Shell, argv: Vec<Vec<u8>>, timeout: Option<std::time::Duration>) {
    let (sandbox, command) = (Arc::clone(&shell.sandbox), Arc::clone(&shell.command));
    // Kept open so that the end of output can come after the exit.
    let held = (shell.stdout.clone(), shell.stderr.clone());
    let out_of_time = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let registered: Vec<ByteString> = command.argv.clone();
    let guard = sandbox.register(command.pid, 1, shell.uid, registered);
    let its_own_end = async {
        tokio::select! {
            biased;
            outcome = command.killed() => outcome,
            () = out_of_time => {
                command.kill(Outcome::TimedOut);
                Outcome::TimedOut
            }
            code = run_command(shell, argv) => Outcome::Exited(code),
        }
    };
    let outcome = tokio::select! {
        biased;
        () = sandbox.gone() => command.kill.borrow().unwrap_or(Outcome::BoxEnded),
        outcome = sandbox.in_its_time(its_own_end) => outcome,
    };
    drop(guard);
    // A short wait, because a caller must be right in both orders however long lies between.
    let gap = tokio::time::sleep(std::time::Duration::from_millis(3));
    if sandbox.delivery.ending.exit_first(command.pid) {
        command.outcome.send_replace(Some(outcome));
        gap.await;
        drop(held);
    } else {
        drop(held);
        gap.await;
        command.outcome.send_replace(Some(outcome));
    }
    command.logged.send_modify(|count| *count += 1);
}

async fn follow_log(command: Arc<Command>, stream: Stream, start: u64, mut to: DuplexStream) {
    let mut logged = command.logged.subscribe();
    let mut at = start;
    loop {
        let ended = command.outcome.borrow().is_some();
        logged.borrow_and_update();
        let Some(log) = &command.log else { return };
        let (piece, next) = log.lock().expect("no panic while locked").read(stream, at);
        at = next;
        if to.write_all(&piece).await.is_err() || ended {
            return;
        }
        // The command is held here, so its senders live.
        logged.changed().await.expect("the sender lives");
    }
}

struct FakeControl {
    command: Arc<Command>,
    violations: Violations,
    detached: bool,
}

#[async_trait]
impl ExecutionControl for FakeControl {
    async fn signal(&self, signal: Signal) -> Result<(), BackendError> {
        self.command.kill(Outcome::Signaled(signal));
        Ok(())
    }

    async fn resize(&self, _size: TtySize) -> Result<(), BackendError> {
        Ok(())
    }

    async fn wait(&self) -> Result<Outcome, BackendError> {
        let outcome = self.command.ended().await;
        for stream in self.command.waited() {
            let exec = self.command.id.to_string();
            self.violations.note(Violation::OutputNotDrained { exec, stream });
        }
        Ok(outcome)
    }
}

impl Drop for FakeControl {
    fn drop(&mut self) {
        if !self.detached {
            self.command.kill(Outcome::Signaled(Signal::KILL));
        }
    }
}
