//! The one table of layers. ARCHITECTURE.md explains it; `cargo xtask layers` holds the crates against it.

/// What a crate may depend on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Any crate of a lower layer.
    Layer(u8),
    /// These crates only. For what runs in the box or beside the program.
    Apart(&'static [&'static str]),
}

/// Every crate of the workspace, without the `agentkernel-` prefix. One that is missing here is an error.
pub(crate) const CRATES: &[(&str, Place)] = &[
    ("model", Place::Layer(0)),
    ("protocol", Place::Layer(0)),
    ("sys", Place::Layer(1)),
    ("config", Place::Layer(1)),
    ("store", Place::Layer(1)),
    ("api", Place::Layer(1)),
    ("audit", Place::Layer(1)),
    ("backend", Place::Layer(1)),
    ("image", Place::Layer(2)),
    ("agent-binary", Place::Layer(2)),
    ("network", Place::Layer(2)),
    ("folder-share", Place::Layer(2)),
    ("sdk", Place::Layer(2)),
    ("backend-native", Place::Layer(3)),
    ("backend-docker", Place::Layer(3)),
    ("backend-firecracker", Place::Layer(3)),
    ("pool", Place::Layer(3)),
    ("backends", Place::Layer(4)),
    ("engine", Place::Layer(4)),
    ("service", Place::Layer(5)),
    ("server", Place::Layer(6)),
    ("mcp", Place::Layer(6)),
    ("cli", Place::Layer(7)),
    ("guest-agent", Place::Apart(&["protocol"])),
    ("testkit", Place::Apart(&["model", "backend"])),
    ("xtask", Place::Apart(&["sdk"])),
];

/// Third-party crates that only these crates of ours may name, although others in the tree use them as well (for which
/// reason deny.toml can't say it).
pub(crate) const ENTRY_POINTS: &[(&str, &[&str])] = &[
    ("bollard", &["backend-docker"]),
    ("kvm-ioctls", &["sys"]),
    ("libc", &["sys", "guest-agent"]),
    ("schemars", &["model", "config"]),
    ("tar", &["backend-docker", "engine", "guest-agent", "image", "testkit"]),
    ("serde_ignored", &["config"]),
];

/// The most packages that Cargo.lock may hold, ours included. Raise it only with a reason in the commit's message.
pub(crate) const PACKAGE_CEILING: usize = 330;
