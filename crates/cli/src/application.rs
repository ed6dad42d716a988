//! The composition root: arguments to verb, environment and flags to settings, store and backends to engine.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkernel_backend::Backend;
use agentkernel_backends::BackendSettings;
use agentkernel_config::{Environment, Outside, Overrides, Settings};
use agentkernel_engine::forwarder::{ForwarderProgram, ForwarderSpawner, HeldForwarder};
use agentkernel_engine::{Engine, Recovered};
use agentkernel_image::ImageStore;
use agentkernel_model::{BackendName, SandboxName};
use agentkernel_store::{EMPTY_DIR, Store};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::CommandLine;
use crate::daemon_boxes::with_daemon;
use crate::output::{CliError, exit_code, report, report_usage, warn_line};
use crate::outside::{OwnImages, backend_settings};
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
    let serves = line.command.serves();
    log_to_stderr(&application.environment, serves)?;
    // One thread: the box is spawned from a small process, and nothing here computes. A server has many clients.
    let mut builder = if serves {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    if serves {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        builder.worker_threads(processors.max(2));
    }
    let runtime =
        builder.enable_all().build().map_err(|source| CliError::io("start the event loop", source))?;
    let result = runtime.block_on(line.command.run(&application));
    // A thread may still wait on standard input; nobody needs what it would read.
    runtime.shutdown_background();
    result
}

/// What libraries have to say: warnings, or what AGENTKERNEL_LOG asks for. A server says when, and more of what it does:
/// nobody looks on.
fn log_to_stderr(environment: &Environment, serves: bool) -> Result<(), CliError> {
    let usual = if serves { "warn,agentkernel=info,rmcp=error" } else { "warn,rmcp=error" };
    let filter = agentkernel_config::log_filter(environment).unwrap_or_else(|| usual.to_owned());
    let targets: Targets = filter.parse().map_err(|error| {
        CliError::usage(format!(
            "AGENTKERNEL_LOG={filter}: {error}; give a level (error, warn, info, debug, trace)"
        ))
    })?;
    let lines =
        tracing_subscriber::fmt::layer().with_target(false).with_ansi(false).with_writer(std::io::stderr);
    let lines = if serves { lines.boxed() } else { lines.without_time().boxed() };
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
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

    /// The file that a server goes by, absolute: the flag's, else that of `AGENTKERNEL_CONFIG`. One that only lies where
    /// the server was started is none.
    pub(crate) fn named_config(&self, flag: Option<PathBuf>) -> Option<PathBuf> {
        let variable =
            || self.environment.var("AGENTKERNEL_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        flag.or_else(variable).map(|path| self.environment.absolute(&path))
    }

    /// The settings of a server that stands nowhere: nothing is found in the current folder.
    pub(crate) fn server_settings(
        &self,
        config: Option<&Path>,
        overrides: Overrides,
    ) -> Result<Settings, CliError> {
        let environment = Environment { cwd: self.state_dir()?.join(EMPTY_DIR), ..self.environment.clone() };
        self.settings_in(&environment, config, overrides)
    }

    /// Where sandboxes are recorded, for verbs that need no other setting: a broken `agentkernel.toml` in the current
    /// folder must not keep anybody from listing or removing sandboxes.
    pub(crate) fn state_dir(&self) -> Result<PathBuf, CliError> {
        Ok(agentkernel_config::state_dir(&self.environment, self.state_dir.as_deref())?)
    }

    /// The engine over the sandboxes and backends that the settings name, with what dead processes left behind cleared
    /// away. Where a backend is named, only its own: the others aren't even asked.
    pub(crate) async fn engine_with(&self, settings: &Settings) -> Result<Engine, CliError> {
        let requested = settings.backend.as_ref();
        if let Some(name) = requested {
            agentkernel_backends::check(name)?;
        }
        let engine = self.open(&settings.state_dir, &settings.outside)?;
        self.recovered(limited(engine, settings), requested).await
    }

    /// The same without settings.
    pub(crate) async fn engine_at(
        &self,
        state_dir: &Path,
        requested: Option<&BackendName>,
    ) -> Result<Engine, CliError> {
        if let Some(name) = requested {
            agentkernel_backends::check(name)?;
        }
        self.recovered(self.engine_without_recovery(state_dir)?, requested).await
    }

    /// The engine for verbs on one sandbox: nothing is asked of any backend but the sandbox's own.
    pub(crate) async fn engine_of(&self, sandbox: &SandboxName) -> Result<Engine, CliError> {
        let engine = self.engine_without_recovery(&self.state_dir()?)?;
        // A sandbox that isn't there, or can't be read, is for the verb to tell.
        let backend = engine.store().read(sandbox).ok().map(|record| record.spec.backend);
        self.recovered(engine, backend.as_ref()).await
    }

    /// The same, for processes that others look after.
    pub(crate) fn engine_without_recovery(&self, state_dir: &Path) -> Result<Engine, CliError> {
        self.open(state_dir, &Outside::of(&self.environment))
    }

    /// The engine for verbs that need no settings.
    pub(crate) async fn engine(&self) -> Result<Engine, CliError> {
        self.engine_at(&self.state_dir()?, None).await
    }

    /// The engine with these ways out, for who only looks.
    pub(crate) fn open(&self, state_dir: &Path, outside: &Outside) -> Result<Engine, CliError> {
        self.open_over(state_dir, outside, |backend| with_daemon(backend, state_dir))
    }

    /// The engine of a server: with every backend as `wrap` returns it, and with what dead processes left behind cleared
    /// away.
    pub(crate) async fn engine_over(
        &self,
        settings: &Settings,
        wrap: impl Fn(Arc<dyn Backend>) -> Arc<dyn Backend>,
    ) -> Result<Engine, CliError> {
        let engine = self.open_over(&settings.state_dir, &settings.outside, wrap)?;
        self.recovered(limited(engine, settings), None).await
    }

    /// The same without clearing away.
    fn open_over(
        &self,
        state_dir: &Path,
        outside: &Outside,
        wrap: impl Fn(Arc<dyn Backend>) -> Arc<dyn Backend>,
    ) -> Result<Engine, CliError> {
        let store = Store::open(state_dir)?;
        let settings = backend_settings(outside, &self.environment, &store);
        // None of them looks at anything before it is asked something.
        let backends = agentkernel_backends::registry_with(state_dir, &settings, wrap)?;
        let forwarders = Arc::new(OwnForwarders { state_dir: state_dir.to_owned() });
        let importer = Arc::new(OwnImages { state_dir: state_dir.to_owned(), settings });
        Ok(Engine::open(store, backends).with_forwarders(forwarders).with_importer(importer))
    }

    /// What backends are told of the configuration.
    pub(crate) fn backend_settings(&self, settings: &Settings) -> Result<BackendSettings, CliError> {
        let store = Store::open(&settings.state_dir)?;
        Ok(backend_settings(&settings.outside, &self.environment, &store))
    }

    /// The store of our own images, as the settings have it.
    pub(crate) fn images_with(&self, settings: &Settings) -> Result<ImageStore, CliError> {
        let backends = self.backend_settings(settings)?;
        Ok(agentkernel_backends::image_store(&settings.state_dir, &backends.native))
    }

    /// The same for verbs that need no settings.
    pub(crate) fn images(&self) -> Result<ImageStore, CliError> {
        let state_dir = self.state_dir()?;
        let store = Store::open(&state_dir)?;
        let settings = backend_settings(&Outside::of(&self.environment), &self.environment, &store);
        Ok(agentkernel_backends::image_store(&state_dir, &settings.native))
    }

    async fn recovered(&self, engine: Engine, only: Option<&BackendName>) -> Result<Engine, CliError> {
        let recovered = match only {
            Some(name) => engine.recover_backend(name).await?,
            None => engine.recover().await?,
        };
        if self.verbose {
            tell(&recovered);
        }
        Ok(engine)
    }

    /// Whether hints for people have a reader.
    pub(crate) fn hints(&self) -> bool {
        self.verbose || self.environment.interactive_stderr
    }
}

/// The engine with the limits of the settings.
fn limited(engine: Engine, settings: &Settings) -> Engine {
    engine.with_snapshot_limit(settings.max_snapshots_size.map(|size| size.bytes()))
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
    for name in &recovered.resumed {
        warn_line(&format!("agentkernel: {name} goes on: the process that held it still has died"));
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
