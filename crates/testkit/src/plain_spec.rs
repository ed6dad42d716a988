//! A specification to begin with.

use agentkernel_model::{BackendName, BoxPath, ImageRef, NetworkAccess, Profile, Resources, SandboxSpec};

/// A box of `backend` from the host's own system, without network, limits or anything else that was asked for.
pub fn plain_spec(backend: &BackendName) -> SandboxSpec {
    SandboxSpec {
        backend: backend.clone(),
        image: ImageRef::host(),
        image_id: None,
        profile: Profile::Moderate,
        network: NetworkAccess::None,
        read_only_root: false,
        mounts: Vec::new(),
        ports: Vec::new(),
        env: Vec::new(),
        workdir: BoxPath::new("/workspace").expect("a path"),
        user: None,
        resources: Resources::default(),
        allow_unlimited: false,
        hostname: "box".to_owned(),
        agent: None,
        labels: Default::default(),
    }
}
