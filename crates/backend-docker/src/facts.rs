//! What one engine is and can do.

use agentkernel_model::Feature;
use serde::{Deserialize, Serialize};

use crate::EngineKind;

/// What is known of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) kind: EngineKind,
    /// What it calls itself, for as long as it keeps its containers. Podman invents another at every question.
    #[serde(default)]
    pub(crate) id: Option<String>,
    pub(crate) version: String,
    pub(crate) api: String,
    /// Whether it runs on this machine's kernel, so that it sees this machine's files and sockets.
    pub(crate) local: bool,
    /// Whether it runs without root on its machine.
    pub(crate) rootless: bool,
    /// Whether every container gets a user namespace.
    pub(crate) user_namespace: bool,
    pub(crate) cgroups: String,
    /// The OCI runtime that is used where none is named.
    pub(crate) default_runtime: String,
    pub(crate) runtimes: Vec<String>,
    pub(crate) memory_bytes: u64,
    /// What an engine of this machine may itself have open, and run; `None` where that isn't limited or not known.
    pub(crate) own_limits: OwnLimits,
    /// Limits that it can't keep.
    pub(crate) missing_limits: Vec<Feature>,
    /// The caller's user id.
    pub(crate) caller: u32,
}

/// Hard limits of an engine's process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnLimits {
    pub(crate) open_files: Option<u64>,
    pub(crate) processes: Option<u64>,
}

impl Facts {
    /// Whether files that a box writes belong to another user than the caller.
    pub(crate) fn writes_as_somebody_else(&self) -> bool {
        self.caller != 0 && !self.rootless
    }

    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        let mut parts = vec![format!("API {}", self.api)];
        parts.extend((!self.local).then(|| "on another machine or in a virtual machine".to_owned()));
        parts.extend(self.rootless.then(|| "rootless".to_owned()));
        parts.extend((self.user_namespace && !self.rootless).then(|| "user namespaces".to_owned()));
        parts.push(format!("control groups v{}", self.cgroups));
        parts.push(format!("runtime {}", self.default_runtime));
        format!("{} {} ({})", self.kind.title(), self.version, parts.join(", "))
    }

    #[cfg(test)]
    pub(crate) fn for_tests(kind: EngineKind) -> Self {
        Self {
            kind,
            id: None,
            version: "1".to_owned(),
            api: "1.41".to_owned(),
            local: true,
            rootless: false,
            user_namespace: false,
            cgroups: "2".to_owned(),
            default_runtime: "runc".to_owned(),
            runtimes: vec!["runc".to_owned()],
            memory_bytes: 1 << 30,
            own_limits: OwnLimits::default(),
            missing_limits: Vec::new(),
            caller: 0,
        }
    }
}
