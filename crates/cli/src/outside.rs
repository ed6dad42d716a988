//! The caller's settings of what lies outside, in the words of the crates that go there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use agentkernel_backend::{BackendError, OutputStream, ReadyImage};
use agentkernel_backends::{
    BackendSettings, DeviceRates, EngineEnvironment, EngineSettings, FirecrackerSettings, NativeSettings,
    ShareProgram, VmmChoice,
};
use agentkernel_config::{Environment, MicrovmSettings, Outside, Vmm};
use agentkernel_engine::ImageImporter;
use agentkernel_image::{ImportRequest, Proxies, Reference, RegistrySettings, StoreSettings};
use agentkernel_model::{ImageConfig, ImageId, ImageRef};
use agentkernel_store::Store;
use async_trait::async_trait;

use crate::commands::import_stream;
use crate::output::describe;

/// How registries are reached.
pub(crate) fn registry_settings(outside: &Outside, environment: &Environment) -> RegistrySettings {
    RegistrySettings {
        mirrors: outside.images.mirrors.clone(),
        insecure: outside.images.insecure.clone(),
        credential_files: credential_files(outside),
        helper_folders: environment.path_dirs(),
        ca_files: outside.images.ca.clone(),
        proxies: Proxies {
            http: outside.proxies.http.clone(),
            https: outside.proxies.https.clone(),
            no_proxy: outside.proxies.none.clone(),
        },
        ..RegistrySettings::default()
    }
}

/// Where logins are, the first that knows a registry wins: as `podman login` and `docker login` leave them.
fn credential_files(outside: &Outside) -> Vec<PathBuf> {
    let podman = outside.runtime_dir.as_ref().map(|folder| folder.join("containers/auth.json"));
    let docker = outside.docker_config.as_ref().map(|folder| folder.join("config.json"));
    outside.registry_auth_file.iter().cloned().chain(docker).chain(podman).collect()
}

/// What every backend is opened with. Touches neither an engine nor the network.
pub(crate) fn backend_settings(
    outside: &Outside,
    environment: &Environment,
    store: &Store,
) -> BackendSettings {
    // A program that can't be named isn't there either: whoever needs it then says so by its name.
    let internal_unpack = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    BackendSettings {
        native: NativeSettings {
            registry: registry_settings(outside, environment),
            images: StoreSettings {
                max_bytes: outside.images.max_size.map(|size| size.bytes()),
                in_use: Some(in_use(store.clone())),
                ..StoreSettings::default()
            },
            internal_unpack,
        },
        firecracker: firecracker_settings(&outside.microvm),
        docker: EngineSettings {
            runtime: outside.docker.runtime.clone(),
            registries: registry_settings(outside, environment),
        },
        podman: EngineSettings {
            runtime: outside.podman.runtime.clone(),
            registries: registry_settings(outside, environment),
        },
        engines: EngineEnvironment {
            docker_host: outside.docker.host.clone(),
            docker_context: outside.docker_context.clone(),
            docker_config: outside.docker_config.clone(),
            docker_cert_path: outside.docker_certificates.clone(),
            docker_tls_verify: outside.docker_tls_verify,
            container_host: outside.podman.host.clone(),
            xdg_runtime_dir: outside.runtime_dir.clone(),
            home: outside.home.clone(),
            uid: environment.uid,
        },
    }
}

/// What microVMs are made with.
pub(crate) fn firecracker_settings(microvm: &MicrovmSettings) -> FirecrackerSettings {
    FirecrackerSettings {
        vmm: match microvm.vmm {
            Vmm::Firecracker => VmmChoice::Firecracker,
            Vmm::Qemu => VmmChoice::Qemu,
        },
        firecracker: microvm.firecracker.clone(),
        jailer: microvm.jailer.clone(),
        kernel: microvm.kernel.clone(),
        qemu: microvm.qemu.clone(),
        vhost_device_vsock: microvm.vhost_device_vsock.clone(),
        search: microvm.search.clone(),
        allow_emulated_kvm: microvm.allow_emulated_kvm,
        max_template_bytes: microvm.max_template_size.map(|size| size.bytes()),
        rates: DeviceRates {
            disk_bandwidth: microvm.disk_bandwidth,
            disk_iops: microvm.disk_iops,
            network_bandwidth: microvm.network_bandwidth,
        },
        share: ShareProgram {
            path: std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()),
            arguments: vec!["internal-share".into()],
        },
        ..FirecrackerSettings::default()
    }
}

/// The images that sandboxes and snapshots were made from. One whose record can't be read can't be started either.
fn in_use(store: Store) -> Arc<dyn Fn() -> BTreeSet<ImageId> + Send + Sync> {
    Arc::new(move || {
        let records = store.list().unwrap_or_else(|error| {
            tracing::warn!(%error, "the sandboxes can't be listed; their images may be taken for unused");
            Vec::new()
        });
        let snapshots = store.snapshots().list().unwrap_or_else(|error| {
            tracing::warn!(%error, "the snapshots can't be listed; their images may be taken for unused");
            Vec::new()
        });
        let of_sandboxes = records.into_iter().filter_map(|(_, record)| record.ok()?.spec.image_id);
        let of_snapshots = snapshots.into_iter().filter_map(|(_, record)| record.ok()?.spec.image_id);
        of_sandboxes.chain(of_snapshots).collect()
    })
}

/// Our own store as the place where built images go.
pub(crate) struct OwnImages {
    pub(crate) state_dir: PathBuf,
    pub(crate) settings: BackendSettings,
}

#[async_trait]
impl ImageImporter for OwnImages {
    async fn import(&self, archive: OutputStream, name: &ImageRef) -> Result<ReadyImage, BackendError> {
        let failed = |error: String| BackendError::runtime(format!("import {name}"), error);
        let store = agentkernel_backends::image_store(&self.state_dir, &self.settings.native);
        let reference = Reference::try_from(name).map_err(|error| failed(error.to_string()))?;
        let request = |source| ImportRequest {
            source,
            names: vec![reference],
            config: ImageConfig::default(),
            platform: None,
        };
        let imported =
            import_stream(&store, archive, request).await.map_err(|error| failed(describe(&error)))?;
        let [imported] = imported.as_slice() else {
            return Err(failed("the engine's archive doesn't hold one image".to_owned()));
        };
        let stored = store.get(&imported.id).map_err(|error| failed(error.to_string()))?;
        let stored = stored.ok_or_else(|| BackendError::NotFound { what: format!("image {name}") })?;
        Ok(ReadyImage { id: stored.id, config: stored.config })
    }
}
