//! Which of the two engines.

use agentkernel_model::BackendName;
use serde::{Deserialize, Serialize};

/// One of the engines that speak the Docker API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EngineKind {
    /// Docker, Docker Desktop, and whatever calls itself so.
    Docker,
    /// Podman.
    Podman,
}

impl EngineKind {
    /// As `--backend` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        }
    }

    /// The same as a backend's name.
    pub(crate) fn backend_name(self) -> BackendName {
        // Both constants are valid names; the test below holds them to that.
        self.name().parse().unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// How its service is started by hand on a usual Linux machine.
    pub(crate) fn start_hint(self) -> &'static str {
        match self {
            Self::Docker => "start it with `sudo systemctl start docker`",
            Self::Podman => {
                "start its service with `systemctl --user start podman.socket` (as root: `systemctl start \
                 podman.socket`)"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names() {
        for kind in [EngineKind::Docker, EngineKind::Podman] {
            assert_eq!(kind.backend_name().as_str(), kind.name());
        }
    }
}
