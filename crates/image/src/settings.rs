//! How registries are reached. Filled by whoever knows the user's configuration; nothing here reads the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::Platform;

/// All that decides how and what is pulled.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// For a registry (`docker.io`), who is asked before it, in order: `host[:port][/prefix]`, where the prefix comes
    /// before the repository's name. `https://` before it changes nothing, `http://` names it insecure.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Registries and mirrors, `host[:port]`, that are spoken to in plain HTTP. No other is, not even on loopback.
    pub insecure: BTreeSet<String>,
    /// Files that have or name credentials, in order: Podman's `auth.json`, Docker's `config.json`. One that doesn't
    /// exist names none.
    pub credential_files: Vec<PathBuf>,
    /// The folders of `PATH`, where credential helpers (`docker-credential-*`) are looked for.
    pub helper_folders: Vec<PathBuf>,
    /// Certificate authorities beside the system's: PEM files.
    pub ca_files: Vec<PathBuf>,
    /// Who stands between.
    pub proxies: Proxies,
    /// The platform of images; this machine's where none is named.
    pub platform: Option<Platform>,
    /// How much is taken.
    pub limits: Limits,
    /// How long we wait and how often we try.
    pub patience: Patience,
}

/// Proxies, as the environment variables of these names have them. Loopback is never reached through one.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For plain HTTP: `http://[user:password@]host:port`.
    pub http: Option<String>,
    /// For HTTPS (by CONNECT).
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached directly, with commas between, or `*`.
    pub no_proxy: Option<String>,
}

impl std::fmt::Debug for Proxies {
    /// Without the values, which may have passwords in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = |value: &Option<String>| value.is_some();
        f.debug_struct("Proxies")
            .field("http", &set(&self.http))
            .field("https", &set(&self.https))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// How much of an image is taken, whatever its documents say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Compressed bytes of one layer.
    pub layer_bytes: u64,
    /// Compressed bytes of all layers.
    pub image_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { layer_bytes: 16 << 30, image_bytes: 32 << 30 }
    }
}

/// How long we wait for a registry. There is no limit on a whole pull: as long as something comes, it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection stands.
    pub connect: Duration,
    /// Without anything coming.
    pub idle: Duration,
    /// How often something is tried without getting further, before it is given up.
    pub attempts: u32,
    /// The pause after the first failure; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause, also where the registry asks for a longer one.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            attempts: 5,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}
