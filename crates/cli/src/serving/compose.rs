//! The parts of a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentkernel_audit::{Arguments, AuditLog, AuditSettings};
use agentkernel_config::{ApiLimits, ApiSettings, AuditArguments, Overrides, Settings};
use agentkernel_pool::Pool;
use agentkernel_server::guard::{Guard, GuardSettings, HostRules, KeyRing};
use agentkernel_server::{ConnectionLimits, KeyFile, LocalPeers};
use agentkernel_service::{AuditSink, Limits, NoAudit, Service, ServiceSettings, WarmPool};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::audit_folder;
use crate::application::Application;
use crate::output::CliError;
use crate::warm_pool::pool_settings;

/// A server but for its doors.
pub(crate) struct Composed {
    /// The use-cases.
    pub(crate) service: Service,
    /// Boxes that wait.
    pub(crate) pool: Pool,
    /// Who may come in.
    pub(crate) guard: Guard,
    /// Whose the connections of this machine are.
    pub(crate) local: LocalPeers,
    /// What one connection may take.
    pub(crate) limits: ConnectionLimits,
    /// What was done, and by whom.
    pub(crate) audit: AuditLog,
    /// How long commands may go on at the end.
    pub(crate) drain_timeout: Duration,
}

/// Makes one. `config` is the file that requests go by: one that was named, never one that was only found. `open_to_all`:
/// no key is needed, from wherever. Must be called in a runtime of several threads.
pub(crate) async fn compose(
    application: &Application,
    settings: &Settings,
    config: Option<PathBuf>,
    open_to_all: bool,
) -> Result<Composed, CliError> {
    raise_descriptor_limit();
    let pool = Pool::new(pool_settings(&settings.pool));
    let engine = application.engine_over(settings, |backend| pool.wrap(backend)).await?;
    let audit = open_audit(settings, Some(Duration::from_secs(2)))?;
    let warm: Arc<dyn WarmPool> = Arc::new(pool.clone());
    let service =
        Service::new(engine, Some(warm), sink(&audit), service_settings(application, settings, config)?)?;
    keep_templates(&service, &pool);
    let local = LocalPeers::open();
    if !local.are_known() {
        tracing::warn!(
            "this kernel doesn't tell whose a connection is: every user of this machine may come in where no API key is configured"
        );
    }
    let api = &settings.api;
    let rules = HostRules::new(
        api.allowed_hosts.iter().map(String::as_str),
        api.allowed_origins.iter().map(String::as_str),
    )?;
    let guard =
        GuardSettings { keys: keys(settings), hosts: rules, owners_known: local.are_known(), open_to_all };
    Ok(Composed {
        guard: Guard::new(guard, Arc::new(service.clone())),
        service,
        pool,
        local,
        limits: connection_limits(&api.limits),
        audit,
        drain_timeout: api.drain_timeout,
    })
}

/// The keys of a server with these settings.
pub(crate) fn keys(settings: &Settings) -> KeyRing {
    let fixed = settings.api.api_key.as_ref().map(agentkernel_config::Secret::reveal);
    KeyRing::new(Some(KeyFile::of(&settings.state_dir)), fixed)
}

impl Application {
    /// The use-cases without a server: for programs that one client started for itself. No pool of its own: such a program
    /// may take what the daemon keeps ready, as every command does.
    pub(crate) async fn service(&self, config: Option<PathBuf>) -> Result<Service, CliError> {
        let by_variable = || self.environment.var("AGENTKERNEL_CONFIG").filter(|name| !name.is_empty());
        let config = config.or_else(|| by_variable().map(PathBuf::from));
        let config = config.map(|path| self.environment.absolute(&path));
        // The client started it in a folder of its own choice, which may hold anything: a file that is only found there
        // decides nothing.
        let state_dir = self.state_dir()?;
        let mut elsewhere = self.environment.clone();
        elsewhere.cwd = state_dir.join(agentkernel_store::EMPTY_DIR);
        let mut settings = self.settings_in(&elsewhere, config.as_deref(), Overrides::default())?;
        settings.state_dir = state_dir;
        let engine = self.engine_with(&settings).await?;
        let audit = open_audit(&settings, Some(Duration::from_secs(2)))?;
        let settings = service_settings(self, &settings, config)?;
        Ok(Service::new(engine, None, sink(&audit), settings)?)
    }
}

fn service_settings(
    application: &Application,
    settings: &Settings,
    config: Option<PathBuf>,
) -> Result<ServiceSettings, CliError> {
    Ok(ServiceSettings {
        environment: application.environment.clone(),
        config,
        limits: service_limits(&settings.api.limits),
        version: env!("CARGO_PKG_VERSION"),
        state_dir: settings.state_dir.clone(),
        images: Some(application.images_with(settings)?),
    })
}

/// The audit log as the settings want it. `sync_every`: see [`AuditSettings`].
pub(crate) fn open_audit(settings: &Settings, sync_every: Option<Duration>) -> Result<AuditLog, CliError> {
    let ApiSettings { audit, .. } = &settings.api;
    if audit.disabled {
        return Ok(AuditLog::disabled());
    }
    let usual = AuditSettings::default();
    let chosen = AuditSettings {
        max_file_bytes: audit.max_size.map_or(usual.max_file_bytes, |size| size.bytes()),
        keep_files: audit.keep.unwrap_or(usual.keep_files),
        arguments: match audit.arguments {
            AuditArguments::Redacted => Arguments::Redacted,
            AuditArguments::Program => Arguments::Program,
        },
        sync_every,
    };
    let folder: &Path = &audit_folder(&settings.state_dir);
    Ok(AuditLog::open(folder, chosen)?)
}

fn sink(audit: &AuditLog) -> Arc<dyn AuditSink> {
    if audit.is_enabled() { Arc::new(audit.clone()) } else { Arc::new(NoAudit) }
}

fn service_limits(chosen: &ApiLimits) -> Limits {
    let usual = Limits::default();
    let bytes = |size: Option<agentkernel_model::Mib>, usual: u64| size.map_or(usual, |size| size.bytes());
    Limits {
        max_concurrent_runs: chosen.concurrent_runs.unwrap_or(usual.max_concurrent_runs),
        max_concurrent_starts: chosen.concurrent_starts.unwrap_or(usual.max_concurrent_starts),
        max_queued: chosen.queued.unwrap_or(usual.max_queued),
        queue_timeout: chosen.queue_timeout.unwrap_or(usual.queue_timeout),
        max_timeout: chosen.timeout.unwrap_or(usual.max_timeout),
        default_timeout: chosen.default_timeout.unwrap_or(usual.default_timeout),
        max_output_bytes: bytes(chosen.output, usual.max_output_bytes),
        max_body_bytes: bytes(chosen.body, usual.max_body_bytes),
        max_upload_bytes: bytes(chosen.upload, usual.max_upload_bytes),
        max_file_bytes_in_json: bytes(chosen.file_in_json, usual.max_file_bytes_in_json),
        max_batch: chosen.batch.unwrap_or(usual.max_batch),
        max_terminals: chosen.terminals.unwrap_or(usual.max_terminals),
        detached_log_bytes: bytes(chosen.detached_log, usual.detached_log_bytes),
    }
}

fn connection_limits(chosen: &ApiLimits) -> ConnectionLimits {
    let usual = ConnectionLimits::default();
    let count = |number: Option<u32>, usual: usize| number.map_or(usual, |number| number as usize);
    ConnectionLimits {
        connections: count(chosen.connections, usual.connections),
        connections_per_peer: count(chosen.connections_per_peer, usual.connections_per_peer),
        head_timeout: chosen.head_timeout.unwrap_or(usual.head_timeout),
        body_timeout: chosen.body_timeout.unwrap_or(usual.body_timeout),
        idle_timeout: chosen.idle_timeout.unwrap_or(usual.idle_timeout),
        ..usual
    }
}

/// Keeps the pool's templates ready, in the background: an image that has to be fetched first holds up nobody.
fn keep_templates(service: &Service, pool: &Pool) {
    let templates = pool.settings().templates.clone();
    if !templates.is_empty() && pool.settings().enabled {
        let service = service.clone();
        tokio::spawn(async move { service.keep_ready(&templates).await });
    }
}

/// As many descriptors as this process may have: connections and boxes each cost some.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}
