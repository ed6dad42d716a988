//! What the bed is made with.

use crate::test::Needed;

/// Programs and the Debian packages that bring them.
pub(crate) const FOR_BED: &[Needed] = &[
    Needed { program: "dockerd", package: "docker.io" },
    Needed { program: "docker", package: "docker.io" },
    Needed { program: "podman", package: "podman" },
    Needed { program: "crun", package: "crun" },
    Needed { program: "slirp4netns", package: "slirp4netns" },
    Needed { program: "/usr/lib/podman/netavark", package: "netavark" },
    Needed { program: "/usr/lib/podman/aardvark-dns", package: "aardvark-dns" },
    Needed { program: "iptables", package: "iptables" },
    Needed { program: "docker-registry", package: "docker-registry" },
    Needed { program: "skopeo", package: "skopeo" },
    Needed { program: "umoci", package: "umoci" },
    Needed { program: "mmdebstrap", package: "mmdebstrap" },
    Needed { program: "busybox", package: "busybox-static" },
    Needed { program: "musl-gcc", package: "musl-tools" },
    Needed { program: "htpasswd", package: "apache2-utils" },
    Needed { program: "openssl", package: "openssl" },
    Needed { program: "newuidmap", package: "uidmap" },
];
