//! The order of automatic choice, as data: strongest isolation first, what every Linux machine has last.

/// One backend that may be chosen without being named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// As `--backend` spells it.
    pub name: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// Whether this build contains it.
    pub included: bool,
}

/// Tried in this order; the first that is included and ready is used. Kubernetes, Nomad and hosted backends are never
/// chosen without being named, so they aren't here.
pub const AUTOMATIC_ORDER: [Candidate; 6] = [
    Candidate { name: "hyperlight", what: "WebAssembly in a micro virtual machine (KVM)", included: false },
    Candidate { name: "firecracker", what: "a micro virtual machine (KVM)", included: true },
    Candidate { name: "apple", what: "Apple containers (macOS 26 and later)", included: false },
    Candidate { name: "docker", what: "a Docker container", included: true },
    Candidate { name: "podman", what: "a Podman container", included: true },
    Candidate { name: "native", what: "Linux namespaces, without a daemon or a download", included: true },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_comes_last_and_docker_before_podman() {
        let names: Vec<_> = AUTOMATIC_ORDER.iter().map(|candidate| candidate.name).collect();
        assert_eq!(names, ["hyperlight", "firecracker", "apple", "docker", "podman", "native"]);
    }
}
