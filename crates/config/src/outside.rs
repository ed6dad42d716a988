//! What lies outside of this machine's own programs: container engines, registries, and the way there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use agentkernel_model::{Mib, PullPolicy};

use crate::file::{EngineSection, FileValues};
use crate::grants::refuse_unnamed_file;
use crate::host_path::{Kind, resolve};
use crate::ledger::Ledger;
use crate::load::Sources;
use crate::source::{FileSource, Offers, Sourced};
use crate::variables::{self as var, typed};
use crate::{ConfigError, Environment, MicrovmSettings, Origin, microvm};

/// Where one container engine is and how it runs containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineAccess {
    /// Its address (`unix:///run/user/1000/docker.sock`, `tcp://...`, `ssh://...`); `None`: it is searched.
    pub host: Option<String>,
    /// The OCI runtime that it starts containers with; `None`: its own default.
    pub runtime: Option<String>,
}

/// The proxies of the caller's environment, as curl(1) reads them: lower case first, then upper case; for plain http
/// only lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For https.
    pub https: Option<String>,
    /// For http.
    pub http: Option<String>,
    /// Hosts that are reached without one, as written.
    pub none: Option<String>,
}

/// Registries and the store of what comes from them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSettings {
    /// When an image is fetched.
    pub pull: PullPolicy,
    /// Where images of a registry are looked for first: by registry, in their order.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Registries that are spoken to in plain HTTP; no other is, not even on loopback.
    pub insecure: BTreeSet<String>,
    /// Further certificate authorities, files in PEM form; absolute, and there when the settings were made.
    pub ca: Vec<PathBuf>,
    /// The most that the store may hold.
    pub max_size: Option<Mib>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    /// Docker.
    pub docker: EngineAccess,
    /// Podman.
    pub podman: EngineAccess,
    /// MicroVMs.
    pub microvm: MicrovmSettings,
    /// Registries.
    pub images: ImageSettings,
    /// The folder of Docker's own settings, where logins and contexts are: `DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// The context that Docker's own client would use: `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// Where Docker's client keeps certificates for `tcp://` hosts: `DOCKER_CERT_PATH`.
    pub docker_certificates: Option<PathBuf>,
    /// Whether `tcp://` hosts are spoken to with TLS: `DOCKER_TLS_VERIFY` is set to anything.
    pub docker_tls_verify: bool,
    /// A file with logins at registries: `REGISTRY_AUTH_FILE`.
    pub registry_auth_file: Option<PathBuf>,
    /// The folder of the caller's sockets: `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// The caller's home.
    pub home: Option<PathBuf>,
    /// The caller's proxies.
    pub proxies: Proxies,
}

impl Outside {
    /// What the environment alone says: for verbs that need no other setting and must work beside a broken
    /// `agentkernel.toml`.
    pub fn of(environment: &Environment) -> Self {
        let text = |name| {
            let value = environment.var(name).and_then(std::ffi::OsStr::to_str);
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let folder = |name| text(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = environment.home.clone();
        Self {
            docker: EngineAccess { host: text("DOCKER_HOST"), runtime: text(var::DOCKER_RUNTIME) },
            podman: EngineAccess { host: text("CONTAINER_HOST"), runtime: text(var::PODMAN_RUNTIME) },
            microvm: MicrovmSettings::of(environment),
            images: ImageSettings::default(),
            docker_config: folder("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker"))),
            docker_context: text("DOCKER_CONTEXT"),
            docker_certificates: folder("DOCKER_CERT_PATH"),
            docker_tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
            registry_auth_file: folder("REGISTRY_AUTH_FILE"),
            runtime_dir: folder("XDG_RUNTIME_DIR"),
            home,
            proxies: Proxies {
                https: text("https_proxy").or_else(|| text("HTTPS_PROXY")),
                // Upper case would be taken from a header by a CGI program (httpoxy).
                http: text("http_proxy"),
                none: text("no_proxy").or_else(|| text("NO_PROXY")),
            },
        }
    }
}

/// Flags over variables over the file.
pub(crate) fn decide(sources: &Sources<'_>, ledger: &mut Ledger) -> Result<Outside, ConfigError> {
    let absent = FileValues::default();
    let values = sources.file.map_or(&absent, |file| &file.config.values);
    let mut outside = Outside::of(sources.environment);
    outside.docker = engine(sources, ledger, &DOCKER, &values.docker)?;
    outside.podman = engine(sources, ledger, &PODMAN, &values.podman)?;
    outside.microvm = microvm::decide(sources, ledger)?;
    outside.images = images(sources, ledger, values)?;
    Ok(outside)
}

/// The keys and variables of one engine.
struct Names {
    host: &'static str,
    host_variable: &'static str,
    runtime: &'static str,
    runtime_variable: &'static str,
}

const DOCKER: Names = Names {
    host: "docker.host",
    host_variable: "DOCKER_HOST",
    runtime: "docker.runtime",
    runtime_variable: var::DOCKER_RUNTIME,
};

const PODMAN: Names = Names {
    host: "podman.host",
    host_variable: "CONTAINER_HOST",
    runtime: "podman.runtime",
    runtime_variable: var::PODMAN_RUNTIME,
};

fn engine(
    sources: &Sources<'_>,
    ledger: &mut Ledger,
    names: &Names,
    section: &EngineSection,
) -> Result<EngineAccess, ConfigError> {
    let Sources { environment, file, .. } = *sources;
    let mut one = |key, variable, of_file: &Option<String>, absent, what: &str| {
        let offers = Offers::flag(None).variable(variable, typed::<String>(environment, variable)?).file(
            file,
            key,
            of_file.clone(),
        );
        let decided = offers.strongest();
        if let Some(Sourced { value, origin }) = &decided {
            refuse_unnamed_file(file, origin, key, || format!("{what} {value:?}"))?;
            ledger.note(key, value, origin.clone());
        } else {
            ledger.note(key, absent, Origin::Default);
        }
        Ok::<_, ConfigError>(decided.map(|decided| decided.value))
    };
    Ok(EngineAccess {
        host: one(names.host, names.host_variable, &section.host, "searched", "to the engine at")?,
        runtime: one(
            names.runtime,
            names.runtime_variable,
            &section.runtime,
            "the engine's",
            "the isolation of runtime",
        )?,
    })
}

fn images(
    sources: &Sources<'_>,
    ledger: &mut Ledger,
    values: &FileValues,
) -> Result<ImageSettings, ConfigError> {
    let Sources { environment, overrides, file } = *sources;
    let section = &values.images;
    let offers = Offers::flag(overrides.pull).variable(var::PULL, typed(environment, var::PULL)?).file(
        file,
        "images.pull",
        section.pull,
    );
    let fallback = Sourced { value: PullPolicy::default(), origin: Origin::Default };
    let pull = ledger.decide("images.pull", offers, fallback).value;
    let mut trusted = ImageSettings { pull, ..ImageSettings::default() };
    if let Some(file) = file {
        // Whoever chooses where images come from chooses what runs.
        let named = |key: &'static str, shown: String, ledger: &mut Ledger| {
            let origin = file.origin(key);
            refuse_unnamed_file(Some(file), &origin, key, || format!("images from {shown}"))?;
            ledger.note(key, shown, origin);
            Ok::<_, ConfigError>(())
        };
        if !section.mirrors.is_empty() {
            let shown =
                section.mirrors.iter().map(|(name, mirrors)| format!("{name}: {}", mirrors.join(", ")));
            named("images.mirrors", shown.collect::<Vec<_>>().join("; "), ledger)?;
            trusted.mirrors.clone_from(&section.mirrors);
        }
        if !section.insecure.is_empty() {
            let shown = section.insecure.iter().cloned().collect::<Vec<_>>().join(", ");
            named("images.insecure", shown, ledger)?;
            trusted.insecure.clone_from(&section.insecure);
        }
        if !section.ca.is_empty() {
            trusted.ca = certificates(sources, file, &section.ca)?;
            let shown = trusted.ca.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
            named("images.ca", format!("whom {} vouches for", shown.join(", ")), ledger)?;
        }
    }
    let offers = Offers::flag(None).file(file, "images.max_size", section.max_size.map(|size| size.0));
    trusted.max_size = ledger.decide_optional("images.max_size", offers, "unlimited");
    Ok(trusted)
}

fn certificates(
    sources: &Sources<'_>,
    file: FileSource<'_>,
    paths: &[PathBuf],
) -> Result<Vec<PathBuf>, ConfigError> {
    let what = format!("{}: certificate file", file.origin("images.ca"));
    let one = |path: &PathBuf| resolve(path, file.folder(), sources.environment, Kind::RegularFile, &what);
    paths.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::environment;

    #[test]
    fn the_environment_alone_says_where_engines_are() {
        let mut caller = environment(
            Path::new("/"),
            &[
                ("DOCKER_HOST", "unix:///d.sock"),
                ("CONTAINER_HOST", "unix:///p.sock"),
                ("XDG_RUNTIME_DIR", "/run/user/7"),
                ("DOCKER_CERT_PATH", "/certs"),
                ("HTTP_PROXY", "http://never"),
                ("https_proxy", "http://lower"),
                ("HTTPS_PROXY", "http://upper"),
                ("NO_PROXY", "localhost"),
            ],
        );
        caller.home = Some("/home/ann".into());
        let outside = Outside::of(&caller);
        assert_eq!(outside.docker.host.as_deref(), Some("unix:///d.sock"));
        assert_eq!(outside.podman.host.as_deref(), Some("unix:///p.sock"));
        assert_eq!(outside.runtime_dir.as_deref(), Some(Path::new("/run/user/7")));
        assert_eq!(outside.docker_config.as_deref(), Some(Path::new("/home/ann/.docker")));
        assert_eq!((outside.docker_certificates.is_some(), outside.docker_tls_verify), (true, false));
        let proxies = Proxies {
            https: Some("http://lower".to_owned()),
            http: None,
            none: Some("localhost".to_owned()),
        };
        assert_eq!(outside.proxies, proxies);
    }
}
