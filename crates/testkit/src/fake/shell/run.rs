//! Running the syntax tree.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use agentkernel_model::{ByteString, Outcome, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::super::command::{Command, Stream};
use super::super::machine::Sandbox;
use super::super::programs;
use super::super::tree::{TreeError, join};
use super::parse::{self, Body, List, Part, Redirect, Target, Word, parse};

/// Where output goes.
#[derive(Clone)]
pub(in crate::fake) enum Sink {
    Pipe(Arc<Mutex<DuplexStream>>),
    Log(Arc<Command>, Stream),
    File(Vec<u8>),
}

impl Sink {
    pub(in crate::fake) fn pipe(near: DuplexStream) -> Self {
        Self::Pipe(Arc::new(Mutex::new(near)))
    }
}

/// Where input comes from.
#[derive(Clone)]
pub(in crate::fake) enum Source {
    Pipe(Arc<Mutex<DuplexStream>>),
    Bytes(Arc<std::sync::Mutex<io::Cursor<Vec<u8>>>>),
    Empty,
}

/// One shell process, or the process of one program.
#[derive(Clone)]
pub(in crate::fake) struct Shell {
    pub(in crate::fake) sandbox: Arc<Sandbox>,
    pub(in crate::fake) command: Arc<Command>,
    pub(in crate::fake) pid: u32,
    pub(in crate::fake) env: Vec<(Vec<u8>, Vec<u8>)>,
    variables: BTreeMap<Vec<u8>, Vec<u8>>,
    arguments: Vec<Vec<u8>>,
    pub(in crate::fake) cwd: Vec<u8>,
    pub(in crate::fake) uid: u32,
    pub(in crate::fake) gid: u32,
    pub(in crate::fake) stdin: Source,
    pub(in crate::fake) stdout: Sink,
    pub(in crate::fake) stderr: Sink,
    last: u8,
    jobs: Arc<std::sync::Mutex<Vec<JoinHandle<()>>>>,
}

/// The shell's own end: by `exit`, or by a command that failed under it in a way that ends it.
struct Exit(u8);

type Running<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs a program to its end in a process of its own; the exit status.
pub(in crate::fake) fn run_command(mut shell: Shell, argv: Vec<Vec<u8>>) -> Running<'static, u8> {
    Box::pin(async move {
        let program = argv.first().cloned().unwrap_or_default();
        let found = programs::find(&shell.sandbox, &shell.env, &shell.cwd, shell.uid, &program);
        let script = match found {
            Err(error) => {
                shell.complain(&error.to_string()).await;
                return error.exit_code();
            }
            Ok(programs::Program::BuiltIn(name)) if name != "sh" => {
                return programs::run(&mut shell, &name, &argv).await;
            }
            Ok(programs::Program::BuiltIn(_)) => match argv.get(1).map(Vec::as_slice) {
                Some(b"-c") => {
                    shell.arguments = argv
                        .get(3..)
                        .filter(|rest| !rest.is_empty())
                        .map_or_else(|| vec![b"sh".to_vec()], <[_]>::to_vec);
                    argv.get(2).cloned().unwrap_or_default()
                }
                _ => {
                    shell.complain("sh: only `sh -c SCRIPT` is known here").await;
                    return 2;
                }
            },
            Ok(programs::Program::Script(text)) => {
                shell.arguments.clone_from(&argv);
                text
            }
        };
        if shell.arguments.first().is_some_and(|name| name == programs::TCP_ECHO) {
            return programs::tcp_echo(&shell, shell.arguments.get(1)).await;
        }
        match parse(&script) {
            Ok(list) => match shell.list(&list).await {
                Ok(status) | Err(Exit(status)) => status,
            },
            Err(error) => {
                shell.complain(&error.to_string()).await;
                2
            }
        }
    })
}

impl Shell {
    #[expect(clippy::too_many_arguments, reason = "a process is made of these, once")]
    pub(in crate::fake) fn new(
        sandbox: Arc<Sandbox>,
        command: Arc<Command>,
        env: Vec<(Vec<u8>, Vec<u8>)>,
        cwd: Vec<u8>,
        (uid, gid): (u32, u32),
        stdin: Option<DuplexStream>,
        stdout: Sink,
        stderr: Sink,
    ) -> Self {
        Self {
            pid: command.pid,
            sandbox,
            command,
            env,
            variables: BTreeMap::new(),
            arguments: Vec::new(),
            cwd,
            uid,
            gid,
            stdin: stdin.map_or(Source::Empty, |pipe| Source::Pipe(Arc::new(Mutex::new(pipe)))),
            stdout,
            stderr,
            last: 0,
            jobs: Arc::default(),
        }
    }

    /// Writes to standard output.
    pub(in crate::fake) async fn out(&self, bytes: &[u8]) {
        self.write(&self.stdout, bytes).await;
    }

    /// A line on standard error.
    pub(in crate::fake) async fn complain(&self, line: &str) {
        self.write(&self.stderr, format!("{line}\n").as_bytes()).await;
    }

    async fn write(&self, sink: &Sink, bytes: &[u8]) {
        let written = match sink {
            Sink::Pipe(pipe) => pipe.lock().await.write_all(bytes).await,
            Sink::Log(command, stream) => {
                command.add_to_log(*stream, bytes);
                Ok(())
            }
            Sink::File(path) => self.sandbox.files(|tree| tree.append(path, bytes)).map_err(io::Error::other),
        };
        if written.is_err() {
            self.die("PIPE").await;
        }
    }

    /// Reads standard input; 0 at its end.
    pub(in crate::fake) async fn read(&self, buffer: &mut [u8]) -> usize {
        match &self.stdin {
            // A host that is gone is end-of-file.
            Source::Pipe(pipe) => pipe.lock().await.read(buffer).await.unwrap_or(0),
            Source::Bytes(bytes) => {
                let mut bytes = bytes.lock().expect("no panic while locked");
                io::Read::read(&mut *bytes, buffer).unwrap_or(0)
            }
            Source::Empty => 0,
        }
    }

    /// Ends the whole command by a signal.
    pub(in crate::fake) async fn die(&self, signal: &str) {
        if let Ok(signal) = signal.parse::<Signal>() {
            self.command.kill(Outcome::Signaled(signal));
            std::future::pending::<()>().await;
        }
    }

    fn variable(&self, name: &[u8]) -> Vec<u8> {
        match name {
            b"?" => return self.last.to_string().into_bytes(),
            b"$" => return self.pid.to_string().into_bytes(),
            b"#" => return self.arguments.len().saturating_sub(1).to_string().into_bytes(),
            [digit @ b'0'..=b'9'] => {
                return self.arguments.get(usize::from(digit - b'0')).cloned().unwrap_or_default();
            }
            _ => {}
        }
        let exported = self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        self.variables.get(name).or(exported).cloned().unwrap_or_default()
    }

    fn assign(&mut self, name: &[u8], value: Vec<u8>) {
        match self.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => drop(self.variables.insert(name.to_vec(), value)),
        }
    }

    /// A word's fields: one, but for `"$@"` and for variables that are empty and alone.
    fn expand(&self, word: &Word) -> Vec<Vec<u8>> {
        if let [Part::Arguments] = word.as_slice() {
            return self.arguments.iter().skip(1).cloned().collect();
        }
        let mut text = Vec::new();
        for part in word {
            match part {
                Part::Text(bytes) => text.extend_from_slice(bytes),
                Part::Variable(name) => text.extend(self.variable(name)),
                Part::Arguments => text.extend(self.arguments.get(1..).unwrap_or_default().join(&b' ')),
                Part::Sum(name, number) => {
                    let value = String::from_utf8_lossy(&self.variable(name)).parse::<i64>().unwrap_or(0);
                    text.extend((value + number).to_string().into_bytes());
                }
            }
        }
        vec![text]
    }

    fn expand_one(&self, word: &Word) -> Vec<u8> {
        self.expand(word).into_iter().next().unwrap_or_default()
    }

    fn list<'a>(&'a mut self, list: &'a List) -> Running<'a, Result<u8, Exit>> {
        Box::pin(async move {
            let mut status = 0;
            for item in list {
                if item.background {
                    self.start_job(item.clone());
                    continue;
                }
                status = self.item(item).await?;
                self.last = status;
            }
            Ok(status)
        })
    }

    async fn item(&mut self, item: &parse::Item) -> Result<u8, Exit> {
        let mut status = self.one(&item.first).await?;
        for (and, command) in &item.rest {
            self.last = status;
            if (status == 0) == *and {
                status = self.one(command).await?;
            }
        }
        Ok(status)
    }

    fn start_job(&self, item: parse::Item) {
        let mut child = self.clone();
        child.jobs = Arc::default();
        child.pid = self.sandbox.pid();
        let words = match &item.first.body {
            Body::Simple { words, .. } => {
                words.iter().flat_map(|word| self.expand(word)).map(ByteString).collect()
            }
            _ => vec!["sh".into()],
        };
        let job = tokio::spawn(async move {
            let (sandbox, command) = (Arc::clone(&child.sandbox), Arc::clone(&child.command));
            let (_guard, mut killed) = sandbox.register(child.pid, command.pid, child.uid, words);
            tokio::select! {
                _ = command.killed() => {}
                () = sandbox.gone() => {}
                _ = killed.wait_for(|killed| *killed) => {}
                () = sandbox.in_its_time(child.job(&item)) => {}
            }
        });
        self.jobs.lock().expect("no panic while locked").push(job);
    }

    /// A background job. A single command is the whole job: what it redirects it doesn't hold open either.
    async fn job(&mut self, item: &parse::Item) {
        let ended = match &item.first {
            parse::Command { negated: false, body, redirects } if item.rest.is_empty() => {
                match self.redirect(redirects) {
                    Ok(()) => self.body(body).await,
                    Err(_) => return,
                }
            }
            _ => self.item(item).await,
        };
        // Nobody asks a job's status here.
        drop(ended);
    }

    async fn one(&mut self, command: &parse::Command) -> Result<u8, Exit> {
        let saved = (self.stdin.clone(), self.stdout.clone(), self.stderr.clone());
        let status = match self.redirect(&command.redirects) {
            Ok(()) => self.body(&command.body).await,
            Err((path, error)) => {
                self.complain(&format!("sh: {}: {error}", String::from_utf8_lossy(&path))).await;
                Ok(1)
            }
        };
        (self.stdin, self.stdout, self.stderr) = saved;
        let status = status?;
        Ok(if command.negated { u8::from(status == 0) } else { status })
    }

    async fn body(&mut self, body: &Body) -> Result<u8, Exit> {
        match body {
            Body::Simple { assignments, words } => self.simple(assignments, words).await,
            Body::Group { list, subshell: false } => self.list(list).await,
            Body::Group { list, subshell: true } => match self.clone().list(list).await {
                Ok(status) | Err(Exit(status)) => Ok(status),
            },
            Body::If { branches, otherwise } => {
                for (condition, then) in branches {
                    if self.list(condition).await? == 0 {
                        return self.list(then).await;
                    }
                }
                self.list(otherwise).await
            }
            Body::Loop { condition, until, body } => {
                let mut status = 0;
                while (self.list(condition).await? == 0) != *until {
                    status = self.list(body).await?;
                    // A loop of built-ins never waits by itself.
                    tokio::task::yield_now().await;
                }
                Ok(status)
            }
            Body::For { name, words, body } => {
                let mut status = 0;
                for value in words.iter().flat_map(|word| self.expand(word)).collect::<Vec<_>>() {
                    self.assign(name, value);
                    status = self.list(body).await?;
                }
                Ok(status)
            }
        }
    }

    async fn simple(&mut self, assignments: &[(Vec<u8>, Word)], words: &[Word]) -> Result<u8, Exit> {
        let argv: Vec<Vec<u8>> = words.iter().flat_map(|word| self.expand(word)).collect();
        let values: Vec<_> =
            assignments.iter().map(|(name, word)| (name.clone(), self.expand_one(word))).collect();
        let Some(program) = argv.first() else {
            values.into_iter().for_each(|(name, value)| self.assign(&name, value));
            return Ok(0);
        };
        let argument = argv.get(1).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        match program.as_slice() {
            b"exit" => Err(Exit(argument.and_then(|code| code.parse().ok()).unwrap_or(self.last))),
            b":" => Ok(0),
            b"cd" => Ok(self.change_folder(argv.get(1).map_or(b"/".as_slice(), Vec::as_slice)).await),
            b"exec" => {
                let status = run_command(self.clone(), argv[1..].to_vec()).await;
                Err(Exit(status))
            }
            b"export" => {
                for pair in &argv[1..] {
                    let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
                    let value = pair.get(at + 1..).map_or_else(|| self.variable(&pair[..at]), <[u8]>::to_vec);
                    self.env.retain(|(name, _)| name != &pair[..at]);
                    self.env.push((pair[..at].to_vec(), value));
                }
                Ok(0)
            }
            b"wait" => {
                let jobs = std::mem::take(&mut *self.jobs.lock().expect("no panic while locked"));
                for job in jobs {
                    // A job that panicked is a bug of the fake, shown by the panic itself.
                    drop(job.await);
                }
                Ok(0)
            }
            _ => {
                let mut child = self.clone();
                for (name, value) in values {
                    child.env.retain(|(known, _)| *known != name);
                    child.env.push((name, value));
                }
                Ok(run_command(child, argv).await)
            }
        }
    }

    async fn change_folder(&mut self, to: &[u8]) -> u8 {
        let wanted = join(&self.cwd, to);
        let found = self.sandbox.files(|tree| tree.list(&wanted).and_then(|_| tree.resolve(&wanted, true)));
        match found {
            Ok(path) => {
                self.cwd = path;
                0
            }
            Err(error) => {
                self.complain(&format!("cd: {}: {error}", String::from_utf8_lossy(to))).await;
                1
            }
        }
    }

    fn redirect(&mut self, redirects: &[Redirect]) -> Result<(), (Vec<u8>, TreeError)> {
        for redirect in redirects {
            let sink = match &redirect.to {
                Target::Duplicate(2) => self.stderr.clone(),
                Target::Duplicate(_) => self.stdout.clone(),
                Target::Read(word) => {
                    let path = join(&self.cwd, &self.expand_one(word));
                    let content = programs::open(self, &path).map_err(|error| (path, error))?;
                    self.stdin = Source::Bytes(Arc::new(std::sync::Mutex::new(io::Cursor::new(content))));
                    continue;
                }
                Target::Truncate(word) | Target::Append(word) => {
                    let path = join(&self.cwd, &self.expand_one(word));
                    let keep = matches!(redirect.to, Target::Append(_));
                    let opened = self.sandbox.files(|tree| {
                        let old = if keep { tree.read(&path).unwrap_or_default() } else { Vec::new() };
                        tree.write(&path, None, old, self.uid)
                    });
                    opened.map_err(|error| (path.clone(), error))?;
                    Sink::File(path)
                }
            };
            if redirect.from == 2 {
                self.stderr = sink;
            } else {
                self.stdout = sink;
            }
        }
        Ok(())
    }
}
