//! A bed's beginning.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::firewall::Before;
use super::images;
use super::packages::FOR_BED;
use super::place::{DOCKER, FOLDER, PODMAN, PODMAN_ROOTLESS, Place, REGISTRY, Variables};
use super::removal::{self, Notes};
use super::{docker, podman, push, registry, rootless};
use crate::command;
use crate::test::{ensure_test_user, install_packages, open_tun};

/// A bed that is up.
pub(crate) struct Bed {
    pub(crate) variables: Variables,
    /// Components that could not be brought up, with why.
    pub(crate) missing: Vec<(String, String)>,
}

impl Bed {
    fn note<T>(&mut self, what: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.missing.push((what.to_owned(), format!("{error:#}")))).ok()
    }

    fn add(&mut self, what: &str, name: &str, result: Result<String>) {
        if let Some(value) = self.note(what, result) {
            self.variables.push((name.to_owned(), value));
        }
    }
}

/// Brings a bed up in `place`, or finds it up already. What is left of one that was killed is removed first.
pub(crate) fn start(place: &Place) -> Result<Bed> {
    if !command::is_root() {
        bail!("only root can bring engines up: run this as root");
    }
    if let Some(variables) = running(place)? {
        return Ok(Bed { variables, missing: Vec::new() });
    }
    removal::remove(place)?;
    install_packages(FOR_BED)?;
    let cached = images::ensure()?;
    place.make()?;
    let bed = build(place, cached);
    if bed.is_err() {
        // What came up before the failure must not stay; the failure itself tells more than a second one.
        if let Err(error) = removal::remove(place) {
            eprintln!("xtask: {error:#}");
        }
    }
    bed
}

/// Whether nothing has to be installed or made for it.
pub(crate) fn is_quick_to_start() -> bool {
    let installed = FOR_BED.iter().all(|needed| command::find(needed.program).is_some());
    installed && images::are_cached()
}

/// The variables of a bed all of whose engines and registries are alive.
pub(crate) fn running(place: &Place) -> Result<Option<Variables>> {
    if !place.folder.exists() {
        return Ok(None);
    }
    place.check_owner()?;
    let Some(variables) = place.variables()? else { return Ok(None) };
    let alive = |(name, value): &(String, String)| match name.as_str() {
        DOCKER | PODMAN | PODMAN_ROOTLESS => super::daemon::answers(value.as_ref()),
        FOLDER => true,
        _ => std::net::TcpStream::connect(value).is_ok(),
    };
    Ok(variables.iter().all(alive).then_some(variables))
}

fn build(place: &Place, cached: images::Cached) -> Result<Bed> {
    let user = ensure_test_user();
    let firewall = command::find("iptables").map(|_| Before::look()).transpose()?;
    Notes {
        made_user: matches!(user, Ok(true)),
        had_locks: std::path::Path::new(removal::LOCKS).exists(),
        tun_mode: open_tun()?,
        firewall,
    }
    .write(place)?;
    for name in &cached.names {
        let from = cached.folder.join(name).join(".");
        command::output(Command::new("cp").args(["-r", "--reflink=auto"]).arg(from).arg(&place.folder))?;
    }
    command::output(Command::new("chmod").args(["-R", "a+rX"]).arg(&place.folder))?;

    let names = cached.names;
    let mut bed = Bed {
        variables: vec![(FOLDER.to_owned(), place.folder.display().to_string())],
        missing: cached.missing,
    };
    let registries = bed.note("registries", registry::start(place)).unwrap_or_default();
    let address = registries.iter().find(|(name, _)| name == REGISTRY).map(|(_, value)| value.clone());
    let address = address.unwrap_or_else(|| "127.0.0.1:1".to_owned());
    bed.variables.extend(registries);
    let (pushed, docker, podman, rootless) = std::thread::scope(|scope| {
        let pushed = scope.spawn(|| push::to_registry(place, &address, &names));
        let docker = scope.spawn(|| {
            let socket = docker::start(place)?;
            push::to_engine(place, &names, || docker::client(place)).map(|()| socket)
        });
        let podman = scope.spawn(|| {
            let socket = podman::start(place, &address)?;
            push::to_engine(place, &names, || podman::client(place))?;
            podman::name_images(&names, || podman::client(place)).map(|()| socket)
        });
        let rootless = scope.spawn(|| {
            user.context("make the test user")?;
            let socket = rootless::start(place, &address)?;
            push::to_engine(place, &names, || rootless::client(place))?;
            podman::name_images(&names, || rootless::client(place)).map(|()| socket)
        });
        (joined(pushed), joined(docker), joined(podman), joined(rootless))
    });
    bed.note("images in the registries", pushed);
    bed.add("Docker", DOCKER, docker);
    bed.add("Podman", PODMAN, podman);
    bed.add("rootless Podman", PODMAN_ROOTLESS, rootless);
    place.write_variables(&bed.variables)?;
    Ok(bed)
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| bail!("its thread panicked"))
}
