//! The images into registries and engines.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::place::Place;
use crate::command;

/// Pushes `names` from their OCI layouts as tag `1`, and from their `docker save` tar as tag `1-docker`, so that both
/// kinds of manifest are there.
pub(crate) fn to_registry(place: &Place, address: &str, names: &[String]) -> Result<()> {
    for name in names {
        let layout = format!("oci:{}:1", place.join("oci").join(name).display());
        let archive = format!("docker-archive:{}", archive(place, name).display());
        for (from, tag) in [(layout, "1"), (archive, "1-docker")] {
            let mut copy = Command::new("skopeo");
            copy.args(["copy", "--quiet", "--dest-tls-verify=false", &from]);
            copy.arg(format!("docker://{address}/agentkernel-test/{name}:{tag}"));
            command::output(&mut copy)?;
        }
    }
    Ok(())
}

/// Loads `names` with `client`, a `docker` or `podman` command that lacks only its verb.
pub(crate) fn to_engine(place: &Place, names: &[String], client: impl Fn() -> Command) -> Result<()> {
    for name in names {
        command::output(client().args(["load", "--quiet", "--input"]).arg(archive(place, name)))?;
    }
    Ok(())
}

fn archive(place: &Place, name: &str) -> std::path::PathBuf {
    place.join("images").join(Path::new(name).with_extension("docker.tar"))
}
