//! What decides where the engines are.

use std::path::PathBuf;

/// The part of the caller's environment that names engines, filled by whoever may read it. Empty variables are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineEnvironment {
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`: the folder of Docker's client settings; `~/.docker` where it isn't set.
    pub docker_config: Option<PathBuf>,
    /// `DOCKER_CERT_PATH`.
    pub docker_cert_path: Option<PathBuf>,
    /// Whether `DOCKER_TLS_VERIFY` is set to anything.
    pub docker_tls_verify: bool,
    /// `CONTAINER_HOST`.
    pub container_host: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// The effective user id.
    pub uid: u32,
}

impl EngineEnvironment {
    /// The folder of Docker's client settings.
    pub(crate) fn docker_folder(&self) -> Option<PathBuf> {
        let own = || self.home.as_ref().map(|home| home.join(".docker"));
        self.docker_config.clone().or_else(own)
    }

    /// The user's folder of sockets.
    pub(crate) fn runtime_folder(&self) -> PathBuf {
        let usual = || PathBuf::from(format!("/run/user/{}", self.uid));
        self.xdg_runtime_dir.clone().unwrap_or_else(usual)
    }
}
