//! Opens the backends that this build contains.

use std::path::Path;
use std::sync::Arc;

use agentkernel_backend::{Backend, BackendError, Registry};
use agentkernel_backend_docker::{DockerBackend, EngineEnvironment, EngineKind, EngineSettings};
use agentkernel_backend_firecracker::{FirecrackerBackend, FirecrackerSettings};
use agentkernel_backend_native::{NativeBackend, NativeSettings};
use agentkernel_image::{ImageStore, StoreImages};
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
    /// For firecracker.
    pub firecracker: FirecrackerSettings,
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
    let native = Arc::new(NativeBackend::open(state_dir, settings.native.clone())?);
    let mut registry = Registry::new();
    for candidate in AUTOMATIC_ORDER.iter().filter(|candidate| candidate.included) {
        let (backend, automatic): (Arc<dyn Backend>, bool) = match candidate.name {
            "native" => (native.clone(), true),
            "docker" => (engine(EngineKind::Docker, state_dir, settings, &settings.docker), true),
            "podman" => (engine(EngineKind::Podman, state_dir, settings, &settings.podman), true),
            "firecracker" => {
                let own = &settings.firecracker;
                (Arc::new(firecracker(state_dir, settings, native.image_store().clone())), own.is_automatic())
            }
            _ => continue,
        };
        registry.add(backend, automatic);
    }
    Ok(registry)
}

/// Machines start from the same images as native boxes.
fn firecracker(state_dir: &Path, settings: &BackendSettings, store: ImageStore) -> FirecrackerBackend {
    let images = StoreImages {
        store: store.clone(),
        registry: settings.native.registry.clone(),
        backend: "firecracker",
        without: None,
    };
    FirecrackerBackend::open(state_dir, store, Arc::new(images), settings.firecracker.clone())
}

/// The same, each backend as `wrap` returns it.
pub fn registry_with(
    state_dir: &Path,
    settings: &BackendSettings,
    wrap: impl Fn(Arc<dyn Backend>) -> Arc<dyn Backend>,
) -> Result<Registry, BackendError> {
    registry(state_dir, settings).map(|registry| registry.wrapped(wrap))
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
    use agentkernel_backend_firecracker::VmmChoice;

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
        let error = check(&"kubernetes".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this build has no backend \"kubernetes\": it has firecracker, docker, podman, native"
        );
    }

    #[test]
    fn machines_are_chosen_without_being_named_only_on_firecracker_and_a_kvm_that_must_be_real() {
        let dir = tempfile::tempdir().unwrap();
        let automatic = |firecracker: FirecrackerSettings| {
            let settings = BackendSettings { firecracker, ..BackendSettings::default() };
            let registry = registry(dir.path(), &settings).unwrap();
            registry.iter().any(|(backend, automatic)| backend.name().as_str() == "firecracker" && automatic)
        };
        let usual = FirecrackerSettings::default;
        assert!(automatic(usual()));
        assert!(!automatic(FirecrackerSettings { vmm: VmmChoice::Qemu, ..usual() }));
        assert!(!automatic(FirecrackerSettings { allow_emulated_kvm: true, ..usual() }));
    }
}
