//! Three registries on the loopback over one storage: plain, with a password, with TLS.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::certificate;
use super::daemon::{Daemon, free_port};
use super::place::{Place, REGISTRY, REGISTRY_AUTH, REGISTRY_TLS, Variables};
use crate::command;

/// Of the registry with a password.
const USER: &str = "user";
const PASSWORD: &str = "secret";

/// Starts all three. Each writes a line for each request into `<bed>/registry*.log`.
pub(crate) fn start(place: &Place) -> Result<Variables> {
    let folder = place.private("registry")?;
    certificate::make(&place.folder, &folder)?;
    let passwords = command::output(Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]))?;
    let password_file = folder.join("htpasswd");
    std::fs::write(&password_file, passwords).context("write htpasswd")?;

    let auth = format!("auth:\n  htpasswd:\n    realm: test-bed\n    path: {}\n", password_file.display());
    let tls = format!("  tls:\n    certificate: {0}/server.pem\n    key: {0}/server.key\n", folder.display());
    Ok(vec![
        (REGISTRY.to_owned(), one(place, &folder, "registry", "", "")?),
        (REGISTRY_AUTH.to_owned(), one(place, &folder, "registry-auth", "", &auth)?),
        (REGISTRY_TLS.to_owned(), one(place, &folder, "registry-tls", &tls, "")?),
    ])
}

/// Starts one; returns its host and port. `http` is added to that section, `more` behind it.
fn one(place: &Place, folder: &Path, name: &'static str, http: &str, more: &str) -> Result<String> {
    let address = format!("127.0.0.1:{}", free_port()?);
    let settings = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}/storage\n  \
         delete:\n    enabled: true\nhttp:\n  addr: {address}\n  secret: not-a-secret\n{http}{more}",
        folder.display()
    );
    let file = folder.join(format!("{name}.yml"));
    std::fs::write(&file, settings).with_context(|| format!("write {}", file.display()))?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&file);
    let mut registry = Daemon::start(place, name, &mut command)?;
    registry.wait_ready(|| TcpStream::connect(&address).is_ok())?;
    Ok(address)
}
