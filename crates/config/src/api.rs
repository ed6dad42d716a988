//! The settings of the HTTP server and its audit log.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use agentkernel_model::Mib;

use crate::file::{ApiLimitsSection, ApiSection, AuditArguments, FileValues};
use crate::grants::refuse_unnamed_file;
use crate::host_path::{Kind, resolve};
use crate::ledger::Ledger;
use crate::load::Sources;
use crate::source::{FileSource, Offers, Sourced};
use crate::variables::{self as var, flag, typed};
use crate::{ConfigError, Environment, Origin};

/// Where the server listens unless it is told otherwise.
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 18888;
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// A key that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// To be compared, never shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Certificate and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with its chain; absolute, and there when the settings were made.
    pub certificate: PathBuf,
    /// Its private key; the same.
    pub key: PathBuf,
}

/// The flags of `serve` and the daemon. `Default` is "no flag given".
#[derive(Debug, Clone, Default)]
pub struct ApiFlags {
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--tls-cert`; relative to the working directory.
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`; the same.
    pub tls_key: Option<PathBuf>,
    /// `--allowed-host`; added to the file's.
    pub allowed_hosts: Vec<String>,
    /// `--allowed-origin`; added to the file's.
    pub allowed_origins: Vec<String>,
    /// `--drain-timeout`.
    pub drain_timeout: Option<Duration>,
}

/// Limits that the file names; `None` is the server's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiLimits {
    /// Connections.
    pub connections: Option<u32>,
    /// Connections of one address.
    pub connections_per_peer: Option<u32>,
    /// How long a head may take.
    pub head_timeout: Option<Duration>,
    /// How long a slow body is waited for.
    pub body_timeout: Option<Duration>,
    /// How long a connection may be idle.
    pub idle_timeout: Option<Duration>,
    /// Commands that run at the same time.
    pub concurrent_runs: Option<u32>,
    /// Sandboxes that are started at the same time.
    pub concurrent_starts: Option<u32>,
    /// Requests that wait.
    pub queued: Option<u32>,
    /// How long they wait.
    pub queue_timeout: Option<Duration>,
    /// The longest time of a command.
    pub timeout: Option<Duration>,
    /// The time of a command whose request names none.
    pub default_timeout: Option<Duration>,
    /// Collected output.
    pub output: Option<Mib>,
    /// A body in JSON.
    pub body: Option<Mib>,
    /// A raw body.
    pub upload: Option<Mib>,
    /// A file that is read into JSON.
    pub file_in_json: Option<Mib>,
    /// Commands of a batch.
    pub batch: Option<u32>,
    /// Terminals.
    pub terminals: Option<u32>,
    /// The log of a detached command.
    pub detached_log: Option<Mib>,
}

/// The audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditChoice {
    /// Whether there is none.
    pub disabled: bool,
    /// When a file is put aside; `None` is the log's own choice.
    pub max_size: Option<Mib>,
    /// How many are kept; the same.
    pub keep: Option<u32>,
    /// What is written of a command.
    pub arguments: AuditArguments,
}

/// The server.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Where it listens.
    pub host: String,
    /// On which port.
    pub port: u16,
    /// What encrypts.
    pub tls: Option<TlsFiles>,
    /// Names by which clients reach it, beyond its own.
    pub allowed_hosts: Vec<String>,
    /// Origins of pages that may call it.
    pub allowed_origins: Vec<String>,
    /// How long commands may go on at its end.
    pub drain_timeout: Duration,
    /// What it takes on.
    pub limits: ApiLimits,
    /// A key that is always good: `AGENTKERNEL_API_KEY`.
    pub api_key: Option<Secret>,
    /// Its log.
    pub audit: AuditChoice,
}

/// Flags over variables over the file.
pub(crate) fn decide(sources: &Sources<'_>, ledger: &mut Ledger) -> Result<ApiSettings, ConfigError> {
    let Sources { environment, overrides, file } = *sources;
    let absent = FileValues::default();
    let values = file.map_or(&absent, |file| &file.config.values);
    let (section, flags) = (&values.api, &overrides.api);

    let offers = Offers::flag(flags.host.clone()).file(file, "api.host", section.host.clone());
    let default = Sourced { value: DEFAULT_HOST.to_owned(), origin: Origin::Default };
    let host = ledger.decide("api.host", offers, default);
    if !is_loopback(&host.value) {
        let what = || format!("to other machines, by listening on {}", host.value);
        refuse_unnamed_file(file, &host.origin, "api.host", what)?;
    }
    let offers = Offers::flag(flags.port).file(file, "api.port", section.port);
    let port = ledger.decide("api.port", offers, Sourced { value: DEFAULT_PORT, origin: Origin::Default });
    let tls = tls(sources, section, ledger)?;
    let allowed_hosts =
        names(file, "api.allowed_hosts", &section.allowed_hosts, &flags.allowed_hosts, ledger)?;
    let allowed_origins =
        names(file, "api.allowed_origins", &section.allowed_origins, &flags.allowed_origins, ledger)?;
    let seconds = section.drain_seconds.map(|seconds| Seconds(Duration::from_secs(seconds.into())));
    let offers = Offers::flag(flags.drain_timeout.map(Seconds)).file(file, "api.drain_seconds", seconds);
    let default = Sourced { value: Seconds(DEFAULT_DRAIN), origin: Origin::Default };
    let drain_timeout = ledger.decide("api.drain_seconds", offers, default).value.0;
    let limits = limits(file, &section.limits, ledger);
    let audit = audit(sources, ledger)?;
    Ok(ApiSettings {
        host: host.value,
        port: port.value,
        tls,
        allowed_hosts,
        allowed_origins,
        drain_timeout,
        limits,
        api_key: api_key(environment)?,
        audit,
    })
}

/// `AGENTKERNEL_API_KEY`, which a client may have set as well: it is the server's key where a server is started.
fn api_key(environment: &Environment) -> Result<Option<Secret>, ConfigError> {
    Ok(typed::<String>(environment, var::API_KEY)?.map(Secret))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Both files or none. A flag replaces the file's pair as a whole: a certificate of here with a key of there would be a
/// mistake.
fn tls(
    sources: &Sources<'_>,
    section: &ApiSection,
    ledger: &mut Ledger,
) -> Result<Option<TlsFiles>, ConfigError> {
    let Sources { environment, overrides, file } = *sources;
    let flags = &overrides.api;
    let by_flag = flags.tls_cert.is_some() || flags.tls_key.is_some();
    let (certificate, key, folder) = match file {
        Some(file) if !by_flag => (&section.tls_cert, &section.tls_key, file.folder()),
        _ => (&flags.tls_cert, &flags.tls_key, environment.cwd.as_path()),
    };
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => {
            ledger.note("api.tls_cert", "none", Origin::Default);
            return Ok(None);
        }
        (Some(_), None) => return Err(ConfigError::HalfOfTls { given: "tls_cert", missing: "tls_key" }),
        (None, Some(_)) => return Err(ConfigError::HalfOfTls { given: "tls_key", missing: "tls_cert" }),
    };
    let origin = |name| match file {
        Some(file) if !by_flag => file.origin(name),
        _ => Origin::Flag,
    };
    let at = |path: &PathBuf, name: &'static str, ledger: &mut Ledger| {
        let origin = origin(name);
        refuse_unnamed_file(file, &origin, name, || format!("the identity of {}", path.display()))?;
        let path = resolve(path, folder, environment, Kind::RegularFile, &format!("{origin}: {name}"))?;
        ledger.note(name, path.display(), origin);
        Ok::<_, ConfigError>(path)
    };
    let certificate = at(certificate, "api.tls_cert", ledger)?;
    let key = at(key, "api.tls_key", ledger)?;
    Ok(Some(TlsFiles { certificate, key }))
}

/// The file's names and the flags'.
fn names(
    file: Option<FileSource<'_>>,
    key: &'static str,
    of_file: &[String],
    of_flags: &[String],
    ledger: &mut Ledger,
) -> Result<Vec<String>, ConfigError> {
    let mut all = of_file.to_vec();
    if let Some(file) = file.filter(|_| !of_file.is_empty()) {
        let origin = file.origin(key);
        refuse_unnamed_file(Some(file), &origin, key, || {
            format!("to pages and names {}", of_file.join(", "))
        })?;
        ledger.note(key, of_file.join(", "), origin);
    }
    if !of_flags.is_empty() {
        ledger.note(key, of_flags.join(", "), Origin::Flag);
        all.extend_from_slice(of_flags);
    }
    if all.is_empty() {
        ledger.note(key, "none", Origin::Default);
    }
    Ok(all)
}

fn limits(file: Option<FileSource<'_>>, section: &ApiLimitsSection, ledger: &mut Ledger) -> ApiLimits {
    // What nobody changed is in the page of the daemon, not among the effective values: there are many.
    let mut note = |key: &'static str, shown: Option<String>| {
        if let (Some(shown), Some(file)) = (shown, file) {
            ledger.note(key, shown, file.origin(key));
        }
    };
    macro_rules! number {
        ($name:ident) => {{
            note(concat!("api.limits.", stringify!($name)), section.$name.map(|number| number.to_string()));
            section.$name
        }};
    }
    macro_rules! seconds {
        ($name:ident) => {
            number!($name).map(|seconds| Duration::from_secs(seconds.into()))
        };
    }
    macro_rules! size {
        ($name:ident) => {{
            let size = section.$name.map(|size| size.0);
            note(concat!("api.limits.", stringify!($name)), size.map(|size| size.to_string()));
            size
        }};
    }
    ApiLimits {
        connections: number!(max_connections),
        connections_per_peer: number!(max_connections_per_peer),
        head_timeout: seconds!(head_timeout_seconds),
        body_timeout: seconds!(body_timeout_seconds),
        idle_timeout: seconds!(idle_timeout_seconds),
        concurrent_runs: number!(max_concurrent_runs),
        concurrent_starts: number!(max_concurrent_starts),
        queued: number!(max_queued),
        queue_timeout: seconds!(queue_timeout_seconds),
        timeout: seconds!(max_timeout_seconds),
        default_timeout: seconds!(default_timeout_seconds),
        output: size!(max_output),
        body: size!(max_body),
        upload: size!(max_upload),
        file_in_json: size!(max_file_in_json),
        batch: number!(max_batch),
        terminals: number!(max_terminals),
        detached_log: size!(detached_log),
    }
}

fn audit(sources: &Sources<'_>, ledger: &mut Ledger) -> Result<AuditChoice, ConfigError> {
    let Sources { environment, file, .. } = *sources;
    let absent = FileValues::default();
    let section = &file.map_or(&absent, |file| &file.config.values).audit;
    let offers = Offers::flag(None).variable(var::AUDIT, flag(environment, var::AUDIT)?).file(
        file,
        "audit.enabled",
        section.enabled,
    );
    let enabled = ledger.decide("audit.enabled", offers, Sourced { value: true, origin: Origin::Default });
    if !enabled.value {
        refuse_unnamed_file(file, &enabled.origin, "audit.enabled", || {
            "a server without an audit log".to_owned()
        })?;
    }
    let offers = Offers::flag(None).file(file, "audit.max_size", section.max_size.map(|size| size.0));
    let max_size = ledger.decide_optional("audit.max_size", offers, "64 MiB");
    let offers = Offers::flag(None).file(file, "audit.keep", section.keep);
    let keep = ledger.decide_optional("audit.keep", offers, "16");
    let offers = Offers::flag(None).file(file, "audit.arguments", section.arguments);
    let default = Sourced { value: AuditArguments::default(), origin: Origin::Default };
    let arguments = ledger.decide("audit.arguments", offers, default).value;
    Ok(AuditChoice { disabled: !enabled.value, max_size, keep, arguments })
}

/// A duration that is shown in seconds.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs_f64().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::environment;
    use crate::{Overrides, load};

    fn settings(vars: &[(&str, &str)], api: ApiFlags) -> Result<ApiSettings, ConfigError> {
        let mut caller = environment(Path::new("/"), vars);
        caller.home = Some("/".into());
        load(&caller, None, Overrides { api, ..Overrides::default() }).map(|settings| settings.api)
    }

    #[test]
    fn the_server_is_for_this_machine_unless_told_otherwise() {
        let found = settings(&[], ApiFlags::default()).unwrap();
        assert_eq!((found.host.as_str(), found.port), ("127.0.0.1", 18888));
        assert!(found.tls.is_none() && found.api_key.is_none() && !found.audit.disabled);
        assert_eq!(found.drain_timeout, Duration::from_secs(30));
    }

    #[test]
    fn the_key_of_the_environment_is_taken_and_never_shown() {
        let found = settings(&[("AGENTKERNEL_API_KEY", "hunter2")], ApiFlags::default()).unwrap();
        assert_eq!(found.api_key.as_ref().map(Secret::reveal), Some("hunter2"));
        assert!(!format!("{found:?}").contains("hunter2"));
        let off = settings(&[("AGENTKERNEL_AUDIT", "0")], ApiFlags::default()).unwrap();
        assert!(off.audit.disabled);
    }

    #[test]
    fn half_of_tls_is_an_error_and_loopback_has_many_names() {
        let half = ApiFlags { tls_cert: Some("/etc/hostname".into()), ..ApiFlags::default() };
        let error = settings(&[], half).unwrap_err().to_string();
        assert!(error.contains("tls_key"), "{error}");
        for host in ["localhost", "LOCALHOST", "127.1.2.3", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(!is_loopback("0.0.0.0") && !is_loopback("localhost.evil.example"));
    }
}
