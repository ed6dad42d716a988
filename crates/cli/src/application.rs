//! The composition root: arguments to verb, environment and flags to settings, store and backends to engine.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkernel_config::{Environment, Overrides, Settings};
use agentkernel_engine::forwarder::{ForwarderProgram, ForwarderSpawner, HeldForwarder};
use agentkernel_engine::{Engine, Recovered};
use agentkernel_model::{BackendName, SandboxName};
use agentkernel_store::Store;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::CommandLine;
use crate::output::{CliError, exit_code, report, report_usage, warn_line};
use crate::session::restore_terminal;

/// What every verb gets.
pub(crate) struct Application {
    /// The caller's process.
    pub(crate) environment: Environment,
    /// Whether choices are explained on standard error.
    pub(crate) verbose: bool,
    state_dir: Option<PathBuf>,
}

/// Runs one command line; returns the exit code.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    let line = match CommandLine::parse(arguments) {
        Ok(line) => line,
        Err(error) => return report_usage(&error),
    };
    restore_terminal_on_panic();
    let json = line.command.wants_json();
    match execute(line) {
        Ok(code) => code,
        Err(error) => {
            report(&error, json);
            exit_code(&error)
        }
    }
}

fn execute(line: CommandLine) -> Result<u8, CliError> {
    let application = Application {
        environment: Environment::capture()?,
        verbose: line.verbose,
        state_dir: line.state_dir,
    };
    log_to_stderr(&application.environment)?;
    // One thread: the box is spawned from a small process, and nothing here computes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::io("start the event loop", source))?;
    let result = runtime.block_on(line.command.run(&application));
    // A thread may still wait on standard input; nobody needs what it would read.
    runtime.shutdown_background();
    result
}

/// What libraries have to say: warnings, or what AGENTKERNEL_LOG asks for.
fn log_to_stderr(environment: &Environment) -> Result<(), CliError> {
    let filter = agentkernel_config::log_filter(environment).unwrap_or_else(|| "warn".to_owned());
    let targets: Targets = filter.parse().map_err(|error| {
        CliError::usage(format!(
            "AGENTKERNEL_LOG={filter}: {error}; give a level (error, warn, info, debug, trace)"
        ))
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .with_filter(targets);
    tracing_subscriber::registry().with(lines).init();
    Ok(())
}

fn restore_terminal_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore_terminal();
        default(panic);
    }));
}

impl Application {
    /// The settings for a verb that makes a sandbox.
    pub(crate) fn settings(&self, config: Option<&Path>, overrides: Overrides) -> Result<Settings, CliError> {
        self.settings_in(&self.environment, config, overrides)
    }

    /// The same for a caller who stands elsewhere.
    pub(crate) fn settings_in(
        &self,
        environment: &Environment,
        config: Option<&Path>,
        mut overrides: Overrides,
    ) -> Result<Settings, CliError> {
        overrides.state_dir = self.state_dir.as_ref().map(|dir| self.environment.absolute(dir));
        Ok(agentkernel_config::load(environment, config, overrides)?)
    }

    /// Where sandboxes are recorded, for verbs that need no other setting: a broken `agentkernel.toml` in the current
    /// folder must not keep anybody from listing or removing sandboxes.
    pub(crate) fn state_dir(&self) -> Result<PathBuf, CliError> {
        Ok(agentkernel_config::state_dir(&self.environment, self.state_dir.as_deref())?)
    }

    /// The engine over the sandboxes and backends at `state_dir`, with what dead processes left behind cleared away.
    pub(crate) async fn engine_at(
        &self,
        state_dir: &Path,
        requested: Option<&BackendName>,
    ) -> Result<Engine, CliError> {
        if let Some(name) = requested {
            agentkernel_backends::check(name)?;
        }
        let engine = self.engine_without_recovery(state_dir)?;
        let recovered = engine.recover().await?;
        if self.verbose {
            tell(&recovered);
        }
        Ok(engine)
    }

    /// The same, for processes that others look after.
    pub(crate) fn engine_without_recovery(&self, state_dir: &Path) -> Result<Engine, CliError> {
        let store = Store::open(state_dir)?;
        let forwarders = Arc::new(OwnForwarders { state_dir: state_dir.to_owned() });
        Ok(Engine::open(store, agentkernel_backends::registry(state_dir)?).with_forwarders(forwarders))
    }

    /// The engine for verbs that need no settings.
    pub(crate) async fn engine(&self) -> Result<Engine, CliError> {
        self.engine_at(&self.state_dir()?, None).await
    }

    /// Whether hints for people have a reader.
    pub(crate) fn hints(&self) -> bool {
        self.verbose || self.environment.interactive_stderr
    }
}

/// What recovery did and could not do.
fn tell(recovered: &Recovered) {
    for name in &recovered.removed {
        warn_line(&format!("agentkernel: removed {name}, which a dead process left half done"));
    }
    for name in &recovered.stopped {
        warn_line(&format!(
            "agentkernel: {name} is stopped: the process that worked on it or its box has died"
        ));
    }
    for object in &recovered.objects {
        warn_line(&format!("agentkernel: cleared away {object}"));
    }
    for note in &recovered.notes {
        warn_line(&format!("agentkernel: warning: {note}"));
    }
}

/// Port forwarders are this program, started again in the background.
struct OwnForwarders {
    state_dir: PathBuf,
}

impl ForwarderSpawner for OwnForwarders {
    fn spawn(&self, name: &SandboxName) -> io::Result<HeldForwarder> {
        let arguments = ["--state-dir".into(), self.state_dir.clone().into(), "internal-forward".into()];
        ForwarderProgram { program: std::env::current_exe()?, arguments: arguments.into() }.spawn(name)
    }
}
