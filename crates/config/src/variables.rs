//! The `AGENTKERNEL_...` environment variables: one table, from which the reference page and the checks are made.

use std::ffi::OsStr;
use std::fmt::Display;
use std::str::FromStr;

use crate::suggestion::closest;
use crate::{ConfigError, Environment};

/// One variable of agentkernel.
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: &'static str,
    /// The key whose value it beats, where there is one.
    pub(crate) key: Option<&'static str>,
    /// What it means, for the reference page.
    pub(crate) doc: &'static str,
    /// A value that is accepted.
    pub(crate) example: &'static str,
}

pub(crate) const CONFIG: &str = "AGENTKERNEL_CONFIG";
pub(crate) const STATE_DIR: &str = "AGENTKERNEL_STATE_DIR";
pub(crate) const BACKEND: &str = "AGENTKERNEL_BACKEND";
pub(crate) const IMAGE: &str = "AGENTKERNEL_IMAGE";
pub(crate) const PULL: &str = "AGENTKERNEL_PULL";
pub(crate) const DOCKER_RUNTIME: &str = "AGENTKERNEL_DOCKER_RUNTIME";
pub(crate) const PODMAN_RUNTIME: &str = "AGENTKERNEL_PODMAN_RUNTIME";
pub(crate) const FIRECRACKER_VMM: &str = "AGENTKERNEL_FIRECRACKER_VMM";
pub(crate) const FIRECRACKER_KERNEL: &str = "AGENTKERNEL_FIRECRACKER_KERNEL";
pub(crate) const AGENT: &str = "AGENTKERNEL_AGENT";
pub(crate) const PROFILE: &str = "AGENTKERNEL_PROFILE";
pub(crate) const NETWORK: &str = "AGENTKERNEL_NETWORK";
pub(crate) const READ_ONLY: &str = "AGENTKERNEL_READ_ONLY";
pub(crate) const TOOLCHAINS: &str = "AGENTKERNEL_TOOLCHAINS";
pub(crate) const ALLOW_UNLIMITED: &str = "AGENTKERNEL_ALLOW_UNLIMITED";
pub(crate) const MEMORY: &str = "AGENTKERNEL_MEMORY";
pub(crate) const CPUS: &str = "AGENTKERNEL_CPUS";
pub(crate) const PIDS: &str = "AGENTKERNEL_PIDS";
pub(crate) const DISK: &str = "AGENTKERNEL_DISK";
pub(crate) const OPEN_FILES: &str = "AGENTKERNEL_OPEN_FILES";
pub(crate) const LOG: &str = "AGENTKERNEL_LOG";
pub(crate) const API_KEY: &str = "AGENTKERNEL_API_KEY";
pub(crate) const AUDIT: &str = "AGENTKERNEL_AUDIT";

/// All of them, in the order of the reference page.
pub(crate) const VARIABLES: [Variable; 29] = [
    Variable {
        name: CONFIG,
        key: None,
        doc: "The configuration file, as `--config`.",
        example: "agentkernel.toml",
    },
    Variable {
        name: STATE_DIR,
        key: Some("state_dir"),
        doc: "Where sandboxes are kept, as `--state-dir`.",
        example: "/srv/sandboxes",
    },
    Variable { name: BACKEND, key: Some("sandbox.backend"), doc: "The backend.", example: "native" },
    Variable { name: IMAGE, key: Some("sandbox.image"), doc: "The image.", example: "host" },
    Variable {
        name: PULL,
        key: Some("images.pull"),
        doc: "When an image is fetched: `missing`, `always` or `never`.",
        example: "never",
    },
    Variable {
        name: DOCKER_RUNTIME,
        key: Some("docker.runtime"),
        doc: "The OCI runtime of Docker.",
        example: "runsc",
    },
    Variable {
        name: PODMAN_RUNTIME,
        key: Some("podman.runtime"),
        doc: "The OCI runtime of Podman.",
        example: "crun",
    },
    Variable {
        name: "DOCKER_HOST",
        key: Some("docker.host"),
        doc: "Where Docker is; also read, as its own client reads them: `DOCKER_CONTEXT`, `DOCKER_CONFIG`, \
              `DOCKER_CERT_PATH` and `DOCKER_TLS_VERIFY`.",
        example: "unix:///var/run/docker.sock",
    },
    Variable {
        name: "CONTAINER_HOST",
        key: Some("podman.host"),
        doc: "Where Podman is.",
        example: "unix:///run/podman/podman.sock",
    },
    Variable {
        name: FIRECRACKER_VMM,
        key: Some("firecracker.vmm"),
        doc: "Who makes microVMs: `firecracker` or `qemu`.",
        example: "qemu",
    },
    Variable {
        name: FIRECRACKER_KERNEL,
        key: Some("firecracker.kernel"),
        doc: "The kernel of microVMs.",
        example: "/usr/local/share/agentkernel/vmlinux",
    },
    Variable {
        name: "HTTPS_PROXY",
        key: None,
        doc: "The proxy to registries; also `https_proxy`, and `http_proxy` for those without TLS.",
        example: "http://proxy.example:3128",
    },
    Variable {
        name: "NO_PROXY",
        key: None,
        doc: "Hosts that are reached without a proxy; also `no_proxy`.",
        example: "localhost,.internal",
    },
    Variable {
        name: "REGISTRY_AUTH_FILE",
        key: None,
        doc: "A file with logins at registries; asked before those of `docker login` and `podman login`.",
        example: "/home/ann/auth.json",
    },
    Variable { name: AGENT, key: Some("agent.preferred"), doc: "The agent.", example: "claude" },
    Variable {
        name: PROFILE,
        key: Some("security.profile"),
        doc: "The profile. The file can narrow its grants and not widen them.",
        example: "restrictive",
    },
    Variable {
        name: NETWORK,
        key: Some("security.network"),
        doc: "Whether sandboxes reach other machines: `true` or `false`.",
        example: "false",
    },
    Variable {
        name: READ_ONLY,
        key: Some("security.read_only"),
        doc: "Whether the root filesystem can't be written: `true` or `false`.",
        example: "true",
    },
    Variable {
        name: TOOLCHAINS,
        key: Some("security.toolchains"),
        doc: "Whether tool folders below your home are shown: `true` or `false`.",
        example: "true",
    },
    Variable {
        name: ALLOW_UNLIMITED,
        key: Some("security.allow_unlimited"),
        doc: "Whether to run where a limit can't be enforced: `true` or `false`.",
        example: "true",
    },
    Variable {
        name: MEMORY,
        key: Some("resources.memory_mb"),
        doc: "Memory in MiB or with a unit.",
        example: "2g",
    },
    Variable { name: CPUS, key: Some("resources.vcpus"), doc: "Processor cores.", example: "1.5" },
    Variable {
        name: PIDS,
        key: Some("resources.pids"),
        doc: "Processes and threads together.",
        example: "200",
    },
    Variable {
        name: DISK,
        key: Some("resources.disk"),
        doc: "What may be written to the root filesystem, in MiB or with a unit.",
        example: "1g",
    },
    Variable {
        name: OPEN_FILES,
        key: Some("resources.open_files"),
        doc: "Open files of each process.",
        example: "256",
    },
    Variable {
        name: LOG,
        key: None,
        doc: "What agentkernel tells about its own work on stderr: a level such as `debug`, or a filter.",
        example: "debug",
    },
    Variable {
        name: "AGENTKERNEL_SANDBOX",
        key: None,
        doc: "Set inside sandboxes to the sandbox's name; not read.",
        example: "my-project",
    },
    Variable {
        name: API_KEY,
        key: None,
        doc: "For `serve` and the daemon: an API key of scope admin, beside those of `agentkernel key`. Clients send it.",
        example: "-",
    },
    Variable {
        name: AUDIT,
        key: Some("audit.enabled"),
        doc: "Whether the HTTP server keeps an audit log: `true` or `false`.",
        example: "false",
    },
];

/// Names that are not ours to refuse: Kubernetes sets the first two kinds for a service called "agentkernel", clients
/// of a later release read the third, the project's own tests the fourth.
const FOREIGN_PREFIXES: [&str; 4] =
    ["AGENTKERNEL_SERVICE_", "AGENTKERNEL_PORT", "AGENTKERNEL_BASE_URL", "AGENTKERNEL_TEST_"];

/// An error for an `AGENTKERNEL_...` variable that doesn't exist: a misspelt limit must not go unnoticed.
pub(crate) fn refuse_unknown(environment: &Environment) -> Result<(), ConfigError> {
    for (name, _) in &environment.vars {
        let name = name.to_string_lossy();
        let foreign = FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let known = VARIABLES.iter().any(|variable| variable.name == name);
        if name.starts_with("AGENTKERNEL_") && !foreign && !known {
            let suggestion = closest(&name, VARIABLES.iter().map(|variable| variable.name));
            return Err(ConfigError::UnknownVariable { variable: name.into_owned(), suggestion });
        }
    }
    Ok(())
}

/// The value of one of ours; an empty one is as good as unset.
pub(crate) fn lookup<'a>(environment: &'a Environment, name: &str) -> Option<&'a OsStr> {
    environment.var(name).filter(|value| !value.is_empty())
}

/// The value of one of ours as `T`.
pub(crate) fn typed<T: FromStr<Err: Display>>(
    environment: &Environment,
    variable: &'static str,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = lookup(environment, variable) else { return Ok(None) };
    let text = value
        .to_str()
        .ok_or_else(|| ConfigError::Variable { variable, message: "its value is not UTF-8".to_owned() })?;
    let parsed = text
        .parse()
        .map_err(|error: T::Err| ConfigError::Variable { variable, message: error.to_string() })?;
    Ok(Some(parsed))
}

/// The value of one of ours as yes or no.
pub(crate) fn flag(environment: &Environment, variable: &'static str) -> Result<Option<bool>, ConfigError> {
    match lookup(environment, variable).map(|value| value.to_string_lossy()).as_deref() {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(other) => {
            let message = format!("{other:?} is neither true nor false");
            Err(ConfigError::Variable { variable, message })
        }
    }
}

/// What the user asked to be told about agentkernel's own work: the value of `AGENTKERNEL_LOG`.
pub fn log_filter(environment: &Environment) -> Option<String> {
    lookup(environment, LOG).map(|value| value.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::environment;

    fn check(name: &str) -> Result<(), ConfigError> {
        refuse_unknown(&environment(Path::new("/"), &[(name, "1")]))
    }

    #[test]
    fn misspelt_variables_are_refused_with_a_suggestion() {
        let message = check("AGENTKERNEL_MEMROY").unwrap_err().to_string();
        assert!(message.contains("did you mean AGENTKERNEL_MEMORY?"), "{message}");
        for fine in ["AGENTKERNEL_API_KEY", "AGENTKERNEL_PORT_80_TCP", "AGENTKERNEL_SERVICE_HOST", "MEMORY"] {
            assert!(check(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn empty_is_unset_and_wrong_values_name_the_variable() {
        let env = environment(Path::new("/"), &[(CPUS, "many"), (PIDS, ""), (NETWORK, "maybe")]);
        assert!(typed::<u32>(&env, PIDS).unwrap().is_none());
        let message = typed::<agentkernel_model::Cpus>(&env, CPUS).unwrap_err().to_string();
        assert!(message.starts_with("environment variable AGENTKERNEL_CPUS: "), "{message}");
        assert!(flag(&env, NETWORK).is_err());
    }
}
