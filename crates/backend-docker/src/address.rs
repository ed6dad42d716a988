//! Where an engine may be: what the user names, else the usual places, in order.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{EngineEnvironment, EngineKind};

/// The largest settings file of Docker's client that is read.
const MAX_SETTINGS: u64 = 1 << 20;

/// How an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Address {
    /// A socket of this machine; what listens there may be a machine of its own all the same.
    Unix(PathBuf),
    /// `host:port`.
    Tcp {
        host: String,
        /// The folder of `ca.pem`, `cert.pem` and `key.pem`.
        certificates: Option<PathBuf>,
    },
    /// What this can't speak.
    Unusable { why: String },
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "{}", path.display()),
            Self::Tcp { host, .. } => write!(out, "tcp://{host}"),
            Self::Unusable { why } => out.write_str(why),
        }
    }
}

/// A place to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) address: Address,
    /// Who names it.
    pub(crate) origin: String,
    /// Whether the user named it: then no other is tried.
    pub(crate) named: bool,
}

impl Candidate {
    fn usual(path: impl Into<PathBuf>) -> Self {
        Self { address: Address::Unix(path.into()), origin: "the usual place".to_owned(), named: false }
    }

    pub(crate) fn named(address: Address, origin: impl Into<String>) -> Self {
        Self { address, origin: origin.into(), named: true }
    }
}

/// Where to look for an engine of `kind`, first choice first. What a user names is the only choice.
pub(crate) fn candidates(kind: EngineKind, environment: &EngineEnvironment) -> Vec<Candidate> {
    match kind {
        EngineKind::Docker => docker(environment),
        EngineKind::Podman => podman(environment),
    }
}

fn docker(environment: &EngineEnvironment) -> Vec<Candidate> {
    if let Some(host) = &environment.docker_host {
        let certificates = environment.docker_tls_verify.then(|| {
            let folder = environment.docker_cert_path.clone().or_else(|| environment.docker_folder());
            let folder = folder.unwrap_or_default();
            // It is noted, and the next command may be given elsewhere.
            std::path::absolute(&folder).unwrap_or(folder)
        });
        return vec![Candidate::named(parse(host, certificates), "DOCKER_HOST")];
    }
    if let Some(candidate) = context(environment) {
        return vec![candidate];
    }
    let desktop = environment.home.as_ref().map(|home| home.join(".docker/run/docker.sock"));
    [Some("/var/run/docker.sock".into()), Some(environment.runtime_folder().join("docker.sock")), desktop]
        .into_iter()
        .flatten()
        .map(Candidate::usual)
        .collect()
}

fn podman(environment: &EngineEnvironment) -> Vec<Candidate> {
    if let Some(host) = &environment.container_host {
        return vec![Candidate::named(parse(host, None), "CONTAINER_HOST")];
    }
    let own = environment.runtime_folder().join("podman/podman.sock");
    let system = PathBuf::from("/run/podman/podman.sock");
    let mut found = match environment.uid {
        0 => vec![Candidate::usual(system)],
        _ => vec![Candidate::usual(own), Candidate::usual(system)],
    };
    // Podman often stands in for Docker; whether it does is seen from what it answers.
    found.extend(docker(environment).into_iter().map(|candidate| Candidate { named: false, ..candidate }));
    found
}

/// An address as Docker's `-H` takes it.
fn parse(text: &str, certificates: Option<PathBuf>) -> Address {
    let unusable = |why: &str| Address::Unusable { why: format!("{text:?} {why}") };
    match text.split_once("://") {
        None if text.starts_with('/') => Address::Unix(text.into()),
        Some(("unix", path)) if path.starts_with('/') => Address::Unix(path.into()),
        Some(("tcp" | "http" | "https", host)) if !host.is_empty() => {
            let host = host.trim_end_matches('/');
            let port = match certificates {
                Some(_) => 2376,
                None => 2375,
            };
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let host = if has_port { host.to_owned() } else { format!("{host}:{port}") };
            Address::Tcp { host, certificates }
        }
        Some(("ssh", _)) => {
            unusable("is an SSH address, which can't be used: forward the socket with `ssh -L`")
        }
        _ => unusable("is not of the form unix:///PATH or tcp://HOST:PORT"),
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ClientSettings {
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct ContextFile {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Endpoints")]
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Host")]
    host: String,
}

/// The engine of the user's Docker context, where one is chosen.
fn context(environment: &EngineEnvironment) -> Option<Candidate> {
    let folder = environment.docker_folder()?;
    let settings = || read::<ClientSettings>(&folder.join("config.json")).unwrap_or_default().current_context;
    let name = environment.docker_context.clone().or_else(settings)?;
    if name.is_empty() || name == "default" {
        return None;
    }
    let origin = format!("the Docker context {name:?}");
    let entries = std::fs::read_dir(folder.join("contexts/meta")).into_iter().flatten().flatten();
    for entry in entries {
        let Some(file) = read::<ContextFile>(&entry.path().join("meta.json")) else { continue };
        if file.name != name {
            continue;
        }
        let certificates = folder.join("contexts/tls").join(entry.file_name()).join("docker");
        let certificates = certificates.is_dir().then_some(certificates);
        return Some(Candidate::named(parse(&file.endpoints.docker.host, certificates), origin));
    }
    let why = format!("there is no Docker context {name:?} in {}", folder.display());
    Some(Candidate::named(Address::Unusable { why }, origin))
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    let file = std::fs::File::open(path).ok()?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_SETTINGS), &mut bytes).ok()?;
    serde_json::from_slice(&bytes)
        .map_err(|error| tracing::warn!(path = %path.display(), %error, "not understood, left aside"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(found: &[Candidate]) -> Vec<String> {
        found.iter().map(|candidate| format!("{:?}", candidate.address)).collect()
    }

    fn user() -> EngineEnvironment {
        EngineEnvironment { home: Some("/nonexistent".into()), uid: 1000, ..EngineEnvironment::default() }
    }

    #[test]
    fn what_the_user_names_is_the_only_choice() {
        for (host, expected) in [
            ("unix:///x.sock", r#"Unix("/x.sock")"#),
            ("/x.sock", r#"Unix("/x.sock")"#),
            ("tcp://10.0.0.1:2375", r#"Tcp { host: "10.0.0.1:2375", certificates: None }"#),
            ("tcp://engine", r#"Tcp { host: "engine:2375", certificates: None }"#),
        ] {
            let environment = EngineEnvironment { docker_host: Some(host.to_owned()), ..user() };
            let found = candidates(EngineKind::Docker, &environment);
            assert_eq!(sockets(&found), [expected]);
            assert!(found[0].named);
        }
        for bad in ["ssh://me@there", "npipe:////./pipe/x", "unix://", "nonsense"] {
            let environment = EngineEnvironment { docker_host: Some(bad.to_owned()), ..user() };
            let found = candidates(EngineKind::Docker, &environment);
            assert!(matches!(&found[0].address, Address::Unusable { why } if why.contains(bad)), "{found:?}");
        }
    }

    #[test]
    fn tls_takes_its_folder_and_port() {
        let environment = EngineEnvironment {
            docker_host: Some("tcp://engine".to_owned()),
            docker_tls_verify: true,
            docker_cert_path: Some("/certs".into()),
            ..user()
        };
        let tcp = Address::Tcp { host: "engine:2376".to_owned(), certificates: Some("/certs".into()) };
        assert_eq!(candidates(EngineKind::Docker, &environment)[0].address, tcp);
    }

    #[test]
    fn usual_places_come_in_order() {
        let environment = EngineEnvironment { xdg_runtime_dir: Some("/run/user/7".into()), ..user() };
        assert_eq!(
            sockets(&candidates(EngineKind::Docker, &environment)),
            [
                r#"Unix("/var/run/docker.sock")"#,
                r#"Unix("/run/user/7/docker.sock")"#,
                r#"Unix("/nonexistent/.docker/run/docker.sock")"#
            ]
        );
        assert_eq!(
            sockets(&candidates(EngineKind::Podman, &environment))[..2],
            [r#"Unix("/run/user/7/podman/podman.sock")"#, r#"Unix("/run/podman/podman.sock")"#]
        );
        let root = EngineEnvironment { uid: 0, ..user() };
        assert_eq!(sockets(&candidates(EngineKind::Podman, &root))[0], r#"Unix("/run/podman/podman.sock")"#);
    }

    #[test]
    fn a_context_is_found_by_its_name() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".docker");
        let meta = folder.join("contexts/meta/0123abcd");
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(folder.join("config.json"), r#"{"auths":{},"currentContext":"mine"}"#).unwrap();
        let text = r#"{"Name":"mine","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///mine.sock","SkipTLSVerify":false}}}"#;
        std::fs::write(meta.join("meta.json"), text).unwrap();
        let environment =
            EngineEnvironment { home: Some(home.path().into()), ..EngineEnvironment::default() };
        let found = candidates(EngineKind::Docker, &environment);
        assert_eq!(sockets(&found), [r#"Unix("/mine.sock")"#]);
        let other = EngineEnvironment { docker_context: Some("other".to_owned()), ..environment.clone() };
        let found = candidates(EngineKind::Docker, &other);
        assert!(matches!(&found[0].address, Address::Unusable { why } if why.contains("other")), "{found:?}");
        let default = EngineEnvironment { docker_context: Some("default".to_owned()), ..environment };
        assert_eq!(candidates(EngineKind::Docker, &default).len(), 3);
    }
}
