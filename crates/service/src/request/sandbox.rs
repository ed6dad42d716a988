//! What a sandbox is to be made of: the fields that `run`, `create` and `pool/warm` share.

use std::collections::BTreeMap;
use std::path::Path;

use agentkernel_api::{CreateRequest, MountRequest, RunRequest, WarmRequest};
use agentkernel_config::{CwdMount, EnvFlag, Overrides};
use agentkernel_model::{
    Access, BackendName, Cpus, ImageRef, Mib, Mount, NetworkAccess, OpenFiles, Pids, Profile, PublishedPort,
    SandboxName, UserSpec,
};
use agentkernel_pool::Template;

use super::command::variables;
use super::{box_path, parse};
use crate::ServiceError;

/// The fields, checked. Equal ones ask for the same sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct SandboxWish {
    pub(crate) backend: Option<BackendName>,
    image: Option<ImageRef>,
    profile: Option<Profile>,
    network: Option<NetworkAccess>,
    read_only: Option<bool>,
    cpus: Option<Cpus>,
    memory: Option<Mib>,
    pids: Option<u32>,
    disk: Option<Mib>,
    open_files: Option<u32>,
    pub(crate) allow_unlimited: bool,
    workdir: Option<String>,
    user: Option<String>,
}

/// What only some requests name. Never part of what is remembered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extras {
    pub(crate) name: Option<SandboxName>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) ports: Vec<PublishedPort>,
    pub(crate) env: Vec<EnvFlag>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl SandboxWish {
    /// Of a run, and the mounts.
    pub(crate) fn of_run(request: &RunRequest) -> Result<(Self, Extras), ServiceError> {
        let wish = Self {
            backend: optional("backend", request.backend.as_deref())?,
            image: optional("image", request.image.as_deref())?,
            profile: optional("profile", request.profile.as_deref())?,
            network: request.network.map(network),
            read_only: request.read_only,
            cpus: cpus(request.vcpus.as_ref())?,
            memory: mib("memory_mb", request.memory_mb)?,
            pids: pids(request.pids)?,
            disk: mib("disk_mb", request.disk_mb)?,
            open_files: open_files(request.open_files)?,
            allow_unlimited: request.allow_unlimited,
            workdir: request.workdir.clone(),
            user: request.user.clone(),
        };
        wish.check()?;
        Ok((wish, Extras { mounts: mounts(&request.mounts)?, ..Extras::default() }))
    }

    /// Of a creation. `name`: the one that was made up where the request has none.
    pub(crate) fn of_create(
        request: &CreateRequest,
        name: SandboxName,
    ) -> Result<(Self, Extras), ServiceError> {
        let wish = Self {
            backend: optional("backend", request.backend.as_deref())?,
            image: optional("image", request.image.as_deref())?,
            profile: optional("profile", request.profile.as_deref())?,
            network: request.network.map(network),
            read_only: request.read_only,
            cpus: cpus(request.vcpus.as_ref())?,
            memory: mib("memory_mb", request.memory_mb)?,
            pids: pids(request.pids)?,
            disk: mib("disk_mb", request.disk_mb)?,
            open_files: open_files(request.open_files)?,
            allow_unlimited: request.allow_unlimited,
            workdir: request.workdir.clone(),
            user: request.user.clone(),
        };
        wish.check()?;
        let ports = request.ports.iter().map(|text| parse("ports", text)).collect::<Result<_, _>>()?;
        let env = variables(request.env.clone())?.into_iter().map(EnvFlag::Set).collect();
        if request.labels.keys().any(String::is_empty) {
            return Err(ServiceError::invalid("labels", "a name is empty"));
        }
        let labels = request.labels.clone();
        Ok((wish, Extras { name: Some(name), mounts: mounts(&request.mounts)?, ports, env, labels }))
    }

    /// Of boxes to make ready.
    pub(crate) fn of_warm(request: &WarmRequest) -> Result<Self, ServiceError> {
        Ok(Self {
            backend: optional("backend", request.backend.as_deref())?,
            image: optional("image", request.image.as_deref())?,
            profile: optional("profile", request.profile.as_deref())?,
            network: request.network.map(network),
            ..Self::default()
        })
    }

    /// Of a kind that the configuration names.
    pub(crate) fn of_template(template: &Template) -> Self {
        Self {
            backend: template.backend.clone(),
            image: template.image.clone(),
            profile: template.profile,
            ..Self::default()
        }
    }

    /// What is kept as text because it is a part of the key.
    fn check(&self) -> Result<(), ServiceError> {
        if let Some(text) = &self.workdir {
            box_path("workdir", text)?;
        }
        optional::<UserSpec>("user", self.user.as_deref())?;
        Ok(())
    }

    /// As flags of a command line. A request has no current folder, so that none is ever shown.
    pub(crate) fn overrides(&self, extras: &Extras, state_dir: &Path) -> Result<Overrides, ServiceError> {
        Ok(Overrides {
            state_dir: Some(state_dir.to_owned()),
            backend: self.backend.clone(),
            name: extras.name.clone(),
            image: self.image.clone(),
            profile: self.profile,
            network: self.network,
            mount_cwd: Some(CwdMount::Off),
            read_only: self.read_only,
            allow_unlimited: self.allow_unlimited.then_some(true),
            memory: self.memory,
            cpus: self.cpus,
            pids: self.pids,
            disk: self.disk,
            open_files: self.open_files,
            env: extras.env.clone(),
            mounts: extras.mounts.clone(),
            ports: extras.ports.clone(),
            workdir: self.workdir.as_deref().map(|text| box_path("workdir", text)).transpose()?,
            user: optional("user", self.user.as_deref())?,
            labels: extras.labels.clone(),
            ..Overrides::default()
        })
    }

    /// Whether something was named that may have a command of its own.
    pub(crate) fn names_image(&self) -> bool {
        self.image.as_ref().is_some_and(|image| !image.is_host())
    }
}

fn optional<T>(field: &str, text: Option<&str>) -> Result<Option<T>, ServiceError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.map(|text| parse(field, text)).transpose()
}

fn network(on: bool) -> NetworkAccess {
    if on { NetworkAccess::On } else { NetworkAccess::None }
}

fn cpus(number: Option<&serde_json::Number>) -> Result<Option<Cpus>, ServiceError> {
    let Some(number) = number else { return Ok(None) };
    let cpus = Cpus::try_from(number.as_f64().unwrap_or(f64::NAN));
    cpus.map(Some).map_err(|error| ServiceError::invalid("vcpus", error))
}

fn mib(field: &str, number: Option<u32>) -> Result<Option<Mib>, ServiceError> {
    match number {
        Some(0) => Err(ServiceError::invalid(field, "0 MiB leave no room: give a whole number from 1")),
        number => Ok(number.map(Mib)),
    }
}

fn pids(number: Option<u32>) -> Result<Option<u32>, ServiceError> {
    number.map(|number| at_least::<Pids>("pids", number).map(Pids::get)).transpose()
}

fn open_files(number: Option<u32>) -> Result<Option<u32>, ServiceError> {
    number.map(|number| at_least::<OpenFiles>("open_files", number).map(OpenFiles::get)).transpose()
}

fn at_least<T>(field: &str, number: u32) -> Result<T, ServiceError>
where
    T: TryFrom<u32>,
    T::Error: std::fmt::Display,
{
    T::try_from(number).map_err(|error| ServiceError::invalid(field, error))
}

fn mounts(requests: &[MountRequest]) -> Result<Vec<Mount>, ServiceError> {
    requests
        .iter()
        .enumerate()
        .map(|(n, request)| {
            let source = Path::new(&request.source);
            if !source.is_absolute() || request.source.contains('\0') {
                let why = format!("{:?} is not an absolute path of the server's machine", request.source);
                return Err(ServiceError::invalid(&format!("mounts[{n}].source"), why));
            }
            let access = if request.read_only { Access::ReadOnly } else { Access::ReadWrite };
            let target = box_path(&format!("mounts[{n}].target"), &request.target)?;
            Ok(Mount { source: source.to_owned(), target, access })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_named() {
        let number = |number| serde_json::Number::from_f64(number);
        let cases = [
            ("backend", RunRequest { backend: Some("../x".to_owned()), ..RunRequest::default() }),
            ("image", RunRequest { image: Some(" ".to_owned()), ..RunRequest::default() }),
            ("profile", RunRequest { profile: Some("none".to_owned()), ..RunRequest::default() }),
            ("vcpus", RunRequest { vcpus: number(0.0), ..RunRequest::default() }),
            ("vcpus", RunRequest { vcpus: number(-1.0), ..RunRequest::default() }),
            ("memory_mb", RunRequest { memory_mb: Some(0), ..RunRequest::default() }),
            ("pids", RunRequest { pids: Some(1), ..RunRequest::default() }),
            ("disk_mb", RunRequest { disk_mb: Some(0), ..RunRequest::default() }),
            ("open_files", RunRequest { open_files: Some(1), ..RunRequest::default() }),
            ("workdir", RunRequest { workdir: Some("relative".to_owned()), ..RunRequest::default() }),
            ("user", RunRequest { user: Some("a:b:c".to_owned()), ..RunRequest::default() }),
        ];
        for (field, request) in cases {
            let error = SandboxWish::of_run(&request).unwrap_err();
            assert!(error.message.starts_with(field), "{field}: {error}");
        }
        let mount = |source: &str, target: &str| RunRequest {
            mounts: vec![MountRequest {
                source: source.to_owned(),
                target: target.to_owned(),
                read_only: true,
            }],
            ..RunRequest::default()
        };
        assert!(SandboxWish::of_run(&mount("relative", "/x")).is_err());
        assert!(SandboxWish::of_run(&mount("/tmp", "/x/../y")).is_err());
        assert!(SandboxWish::of_run(&mount("/tmp", "/x")).is_ok());
    }
}
