//! What two boxes have in common that can stand for each other.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use agentkernel_model::SandboxSpec;
use serde::Serialize;

/// All of a specification that decides how a box is made: two boxes with equal keys are alike until somebody uses one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey(Arc<str>);

impl PoolKey {
    /// Of the boxes of `spec`; `None` where a box belongs to one request only.
    pub fn of(spec: &SandboxSpec) -> Option<Self> {
        // Field by field, so that a new one has to be thought about here.
        let SandboxSpec {
            backend,
            image,
            image_id,
            profile,
            network,
            read_only_root,
            mounts,
            ports: _,
            env: _,
            workdir,
            user,
            resources,
            allow_unlimited,
            hostname,
            agent: _,
            labels: _,
        } = spec;
        if !mounts.is_empty() {
            return None;
        }
        let limits = (resources, allow_unlimited);
        // The folder where commands start is made with the box, and a user that can't be is refused with it.
        let parts = Parts(
            backend,
            image,
            image_id,
            profile,
            network,
            read_only_root,
            workdir,
            user,
            limits,
            hostname,
        );
        serde_json::to_string(&parts).ok().map(|text| Self(text.into()))
    }

    /// A short name of the kind, for people.
    pub fn id(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        format!("{:016x}", hasher.finish())[..12].to_owned()
    }
}

#[derive(Serialize)]
struct Parts<A, B, C, D, E, F, G, H, I, J>(A, B, C, D, E, F, G, H, I, J);

/// Why boxes of `spec` are never made ahead.
pub(crate) fn unpoolable(spec: &SandboxSpec) -> Option<&'static str> {
    (!spec.mounts.is_empty()).then_some("folders of the host")
}

/// `spec` without what each command says for itself.
pub(crate) fn common(spec: &SandboxSpec) -> SandboxSpec {
    SandboxSpec {
        ports: Vec::new(),
        env: Vec::new(),
        agent: None,
        labels: Default::default(),
        ..spec.clone()
    }
}
