//! Opens the backends that this build contains.

use std::path::Path;
use std::sync::Arc;

use agentkernel_backend::{Backend, BackendError, Registry};
use agentkernel_backend_docker::{DockerBackend, EngineEnvironment, EngineKind, EngineSettings};
use agentkernel_backend_native::{NativeBackend, NativeSettings};
use agentkernel_model::BackendName;

use crate::AUTOMATIC_ORDER;

/// A backend was named that this build doesn't contain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this build has no backend {name:?}: it has {available}")]
pub struct NotInThisBuild {
    /// What was named.
    pub name: String,
    /// What there is, in the order of automatic choice.
    pub available: String,
}

/// What backends are told of the user's configuration; each takes its own part.
#[derive(Debug, Clone, Default)]
pub struct BackendSettings {
    /// For native.
    pub native: NativeSettings,
    /// For docker.
    pub docker: EngineSettings,
    /// For podman.
    pub podman: EngineSettings,
    /// What the caller's environment says of where both engines are.
    pub engines: EngineEnvironment,
}

/// All backends of this build, in the order of automatic choice. Opening one is cheap: it looks at nothing that a
/// command doesn't need.
pub fn registry(state_dir: &Path, settings: &BackendSettings) -> Result<Registry, BackendError> {
    let mut registry = Registry::new();
    for candidate in AUTOMATIC_ORDER.iter().filter(|candidate| candidate.included) {
        if let Some(backend) = open(candidate.name, state_dir, settings)? {
            registry.add(backend, true);
        }
    }
    Ok(registry)
}

/// The same, each backend as `wrap` returns it.
pub fn registry_with(
    state_dir: &Path,
    settings: &BackendSettings,
    wrap: impl Fn(Arc<dyn Backend>) -> Arc<dyn Backend>,
) -> Result<Registry, BackendError> {
    registry(state_dir, settings).map(|registry| registry.wrapped(wrap))
}

fn open(
    name: &str,
    state_dir: &Path,
    settings: &BackendSettings,
) -> Result<Option<Arc<dyn Backend>>, BackendError> {
    Ok(match name {
        "native" => Some(Arc::new(NativeBackend::open(state_dir, settings.native.clone())?)),
        "docker" => Some(engine(EngineKind::Docker, state_dir, settings, &settings.docker)),
        "podman" => Some(engine(EngineKind::Podman, state_dir, settings, &settings.podman)),
        _ => None,
    })
}

fn engine(
    kind: EngineKind,
    state_dir: &Path,
    settings: &BackendSettings,
    own: &EngineSettings,
) -> Arc<dyn Backend> {
    Arc::new(DockerBackend::open(kind, state_dir, settings.engines.clone(), own.clone()))
}

/// Refuses a backend that this build doesn't contain, and says what it has.
pub fn check(name: &BackendName) -> Result<(), NotInThisBuild> {
    let included =
        || AUTOMATIC_ORDER.iter().filter(|candidate| candidate.included).map(|candidate| candidate.name);
    if included().any(|known| known == name.as_str()) {
        return Ok(());
    }
    let available = included().collect::<Vec<_>>().join(", ");
    Err(NotInThisBuild { name: name.to_string(), available })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_included_backend_opens_under_its_own_name_and_others_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(dir.path(), &BackendSettings::default()).unwrap();
        for candidate in AUTOMATIC_ORDER {
            let name: BackendName = candidate.name.parse().unwrap();
            assert_eq!(check(&name).is_ok(), candidate.included, "{name}");
            assert_eq!(registry.get(&name).is_some(), candidate.included, "{name}");
        }
        let error = check(&"firecracker".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this build has no backend \"firecracker\": it has docker, podman, native"
        );
    }
}
