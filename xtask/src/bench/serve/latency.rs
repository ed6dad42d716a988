//! How long one client waits, with nobody else there: all contenders in turn, each when the pools are full and quiet.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agentkernel_sdk::{AgentKernel, CreateRequest, ExecRequest, RunRequest, RunResult};
use anyhow::{Context, Result, bail};

use super::super::program::Program;
use super::super::result::Skipped;
use super::process::{Server, deadline};
use super::result::ServeRow;

/// Runs before the first that counts: the pool learns what is asked for.
const WARM_UPS: usize = 3;
/// How long a pool gets to refill.
const REFILL: Duration = Duration::from_secs(20);
const COMMAND: [&str; 2] = ["/bin/echo", "hello"];

/// What is timed.
enum Work {
    /// A program of this machine: fork and exec, and read what it prints.
    Program { file: PathBuf, arguments: Vec<String>, state: Option<PathBuf>, daemon: Option<AgentKernel> },
    /// `POST /run`.
    Run { client: AgentKernel, fast: bool },
    /// `POST /sandboxes`, then `POST /sandboxes/NAME/exec`.
    Create { client: AgentKernel },
}

struct Contender {
    row: ServeRow,
    work: Work,
}

fn contender(id: &str, label: &str, does: &str, work: Work) -> Contender {
    let (id, label, does) = (id.to_owned(), label.to_owned(), does.to_owned());
    Contender { row: ServeRow { id, label, does, milliseconds: Vec::new(), warm: 0 }, work }
}

/// Runs all of them in turn, again and again.
pub(super) async fn measure(
    agentkernel: &Program,
    rounds: usize,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<ServeRow>> {
    let with_state = |name: &str| {
        let state = agentkernel.folder(name);
        let mut program = agentkernel.command(&[]);
        program.env("AGENTKERNEL_STATE_DIR", &state);
        (program, state)
    };
    let (program, _) = with_state("state-tcp");
    let warm = Server::on_tcp(program, &agentkernel.folder("tcp.log")).await?;
    let (mut program, _) = with_state("state-cold");
    let no_pool = agentkernel.folder("no-pool.toml");
    std::fs::write(&no_pool, "[pool]\nenabled = false\n")?;
    program.env("AGENTKERNEL_CONFIG", &no_pool);
    let cold = Server::on_tcp(program, &agentkernel.folder("cold.log")).await?;
    let (program, daemon_state) = with_state("state-daemon");
    let daemon = Server::on_socket(program, &daemon_state, &agentkernel.folder("daemon.log")).await?;
    let (_, alone) = with_state("state-alone");

    let mut contenders = Vec::new();
    for mut contender in contenders_of(agentkernel, &warm, &cold, &daemon, daemon_state, alone) {
        match warm_up(&mut contender, &[&warm, &daemon]).await {
            Ok(()) => contenders.push(contender),
            Err(error) => {
                println!("bench: {}: {error:#}", contender.row.label);
                skipped.push(Skipped { what: contender.row.label, why: format!("{error:#}") });
            }
        }
    }
    for round in 0..rounds {
        println!("bench: server: round {} of {rounds}", round + 1);
        for contender in &mut contenders {
            settle(&[&warm, &daemon]).await?;
            let label = contender.row.label.clone();
            contender.sample().await.with_context(|| format!("round {} of {label}", round + 1))?;
        }
    }
    for server in [warm, cold, daemon] {
        server.stop().await?;
    }
    Ok(contenders.into_iter().map(|contender| contender.row).collect())
}

fn contenders_of(
    agentkernel: &Program,
    warm: &Server,
    cold: &Server,
    daemon: &Server,
    daemon_state: PathBuf,
    alone: PathBuf,
) -> Vec<Contender> {
    let ours = |state, daemon: Option<&Server>| Work::Program {
        file: agentkernel.file(),
        arguments: ["run", "--"].iter().chain(&COMMAND).map(|word| (*word).to_owned()).collect(),
        state: Some(state),
        daemon: daemon.map(|server| server.client.clone()),
    };
    let bare = Work::Program {
        file: COMMAND[0].into(),
        arguments: COMMAND[1..].iter().map(|word| (*word).to_owned()).collect(),
        state: None,
        daemon: None,
    };
    let run = |server: &Server, fast| Work::Run { client: server.client.clone(), fast };
    let create = |server: &Server| Work::Create { client: server.client.clone() };
    vec![
        contender("bare", "`echo hello`", "fork and exec, no isolation", bare),
        contender("run-tcp", "`POST /run` over TCP", "kept-open connection, warm", run(warm, true)),
        contender(
            "run-unix",
            "`POST /run` over the unix socket",
            "kept-open connection, warm",
            run(daemon, true),
        ),
        contender(
            "run-tcp-cold",
            "`POST /run` with `fast: false`",
            "kept-open connection, cold",
            run(warm, false),
        ),
        contender(
            "cli-warm",
            "`agentkernel run -- echo hello`",
            "with a daemon, warm",
            ours(daemon_state, Some(daemon)),
        ),
        contender("cli-cold", "`agentkernel run -- echo hello`", "without a daemon", ours(alone, None)),
        contender("create-warm", "`POST /sandboxes`, then its first `exec`", "with a pool", create(warm)),
        contender("create-cold", "`POST /sandboxes`, then its first `exec`", "without a pool", create(cold)),
    ]
}

/// So often that the pool knows the kind, and then once for good.
async fn warm_up(contender: &mut Contender, servers: &[&Server]) -> Result<()> {
    for _ in 0..WARM_UPS {
        contender.sample().await?;
        settle(servers).await?;
    }
    contender.row.milliseconds.clear();
    contender.row.warm = 0;
    Ok(())
}

/// Waits until no pool makes anything: what one contender used up must not slow down the next.
async fn settle(servers: &[&Server]) -> Result<()> {
    for server in servers {
        deadline("the pool is full", REFILL, async || {
            let templates = server.client.pool().await?.templates;
            Ok(templates.iter().all(|kind| kind.starting == 0 && kind.ready >= kind.min).then_some(()))
        })
        .await?;
    }
    Ok(())
}

impl Contender {
    async fn sample(&mut self) -> Result<()> {
        let (milliseconds, warm) = match &self.work {
            Work::Program { file, arguments, state, daemon } => {
                let before = hits(daemon.as_ref()).await?;
                let taken = program(file, arguments, state)?;
                (taken, hits(daemon.as_ref()).await? > before)
            }
            Work::Run { client, fast } => {
                let request = RunRequest { fast: *fast, ..RunRequest::new(COMMAND) };
                let begun = Instant::now();
                let result = client.run(&request).await?;
                let taken = since(begun);
                hello(&result)?;
                (taken, result.warm)
            }
            Work::Create { client } => create(client).await?,
        };
        self.row.milliseconds.push(milliseconds);
        self.row.warm += usize::from(warm);
        Ok(())
    }
}

/// How many sandboxes a daemon has handed out, which is how the command line's runs tell whether they were warm.
async fn hits(daemon: Option<&AgentKernel>) -> Result<u64> {
    let Some(daemon) = daemon else { return Ok(0) };
    Ok(daemon.pool().await?.templates.iter().map(|kind| kind.hits).sum())
}

async fn create(client: &AgentKernel) -> Result<(f64, bool)> {
    let begun = Instant::now();
    let made = client.create_sandbox(&CreateRequest { start: true, ..CreateRequest::default() }).await?;
    let sandbox = client.sandbox(made.name);
    let result = sandbox.exec(&ExecRequest::new(COMMAND)).await;
    let taken = since(begun);
    sandbox.remove().await?;
    let result = result?;
    hello(&result)?;
    Ok((taken, result.warm))
}

fn program(file: &PathBuf, arguments: &[String], state: &Option<PathBuf>) -> Result<f64> {
    let mut command = Command::new(file);
    command.args(arguments).stdin(Stdio::null());
    if let Some(state) = state {
        command.envs(super::super::program::variables(state));
    }
    let begun = Instant::now();
    let done = command.output().with_context(|| format!("start {}", file.display()))?;
    let taken = since(begun);
    if !done.status.success() || done.stdout != b"hello\n" {
        bail!("ended with {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(taken)
}

/// An error where it is not what was asked for.
pub(super) fn hello(result: &RunResult) -> Result<()> {
    if result.exit_code != 0 || result.stdout != "hello\n" {
        bail!("ended with {}: {:?} {:?}", result.exit_code, result.stdout, result.stderr);
    }
    Ok(())
}

pub(super) fn since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}
