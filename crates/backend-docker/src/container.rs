//! A box as the engine is asked for it. Pure: what is decided here is what the engine is told.

use std::collections::HashMap;
use std::path::Path;

use agentkernel_backend::BackendError;
use agentkernel_model::{Access, Boundary, Feature, Isolation, NetworkAccess, Profile, SandboxSpec};
use agentkernel_sys::cgroup::MOST_PIDS;
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountType, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use rustix::process::Resource;

use crate::facts::Facts;
use crate::owner::{self, Owner};
use crate::program::{self, Capabilities, Way};
use crate::{EngineKind, mounts, network};

/// The least of /dev/shm, as engines have it.
const LEAST_MEMORY_FILES: u64 = 64 << 20;

/// What the agent may write in a box whose root can't be written.
const OWN_SIZE: u64 = 256 << 20;

/// Everything that decides a container.
pub(crate) struct Plan<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) spec: &'a SandboxSpec,
    pub(crate) id: &'a str,
    /// The sandbox's name; one-shot boxes have none.
    pub(crate) name: Option<&'a str>,
    pub(crate) owner: &'a Owner,
    pub(crate) way: Way,
    /// The OCI runtime, where the user names one.
    pub(crate) runtime: Option<&'a str>,
    /// The filter of system calls as this engine takes it: as text, or as the path of a file; `None` where it can't be
    /// told at all and the agent's own has to do.
    pub(crate) seccomp: Option<String>,
    /// The agent's program on this machine, or the engine's volume with it.
    pub(crate) program: &'a str,
    /// The folder of the door, on this machine.
    pub(crate) door: &'a Path,
}

impl Plan<'_> {
    fn one_shot(&self) -> bool {
        self.name.is_none()
    }

    fn has_network(&self) -> bool {
        self.spec.network == NetworkAccess::On
    }

    /// The request.
    pub(crate) fn request(&self) -> Result<ContainerCreateBody, BackendError> {
        let capabilities = Capabilities::of(self.spec.profile, self.has_network())
            .map_err(|source| BackendError::runtime("name a box's capabilities", source))?;
        let image = self.spec.image_id.as_ref().ok_or_else(|| BackendError::Invalid {
            what: format!("image {} was not looked up before its sandbox was made", self.spec.image),
        })?;
        let words =
            program::command_line(self.way, self.one_shot(), &capabilities, self.spec.resources.open_files);
        let (entrypoint, arguments) = words.split_at(1);
        let by_streams = self.one_shot() && self.way == Way::Engine;
        Ok(ContainerCreateBody {
            image: Some(image.to_string()),
            hostname: Some(self.spec.hostname.clone()),
            user: Some("0:0".to_owned()),
            working_dir: Some(self.spec.workdir.to_string()),
            entrypoint: Some(entrypoint.to_vec()),
            cmd: Some(arguments.to_vec()),
            labels: Some(self.labels()),
            // The image's would be run by the engine with all that the agent is given.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            // Commands are asked by us; the first process itself takes no signal.
            stop_signal: Some("SIGKILL".to_owned()),
            attach_stdin: Some(by_streams),
            attach_stdout: Some(by_streams),
            attach_stderr: Some(by_streams),
            open_stdin: Some(by_streams),
            stdin_once: Some(by_streams),
            tty: Some(false),
            host_config: Some(self.host_config(&capabilities)),
            ..ContainerCreateBody::default()
        })
    }

    fn labels(&self) -> HashMap<String, String> {
        let lifetime = if self.one_shot() { "one-shot" } else { "persistent" };
        let mut labels = HashMap::from([
            (owner::ID.to_owned(), self.id.to_owned()),
            (owner::OWNER.to_owned(), self.owner.as_str().to_owned()),
            (owner::LIFETIME.to_owned(), lifetime.to_owned()),
        ]);
        labels.extend(self.name.map(|name| (owner::NAME.to_owned(), name.to_owned())));
        labels
    }

    fn host_config(&self, capabilities: &Capabilities) -> HostConfig {
        let resources = &self.spec.resources;
        let memory = resources.memory.map(|memory| signed(memory.bytes()));
        let mut security = vec!["no-new-privileges".to_owned()];
        security.extend(self.seccomp.as_ref().map(|seccomp| format!("seccomp={seccomp}")));
        HostConfig {
            auto_remove: Some(self.one_shot()),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                ..RestartPolicy::default()
            }),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(capabilities.container.names()),
            security_opt: Some(security),
            memory,
            // The same: nothing may be swapped out beyond it.
            memory_swap: memory,
            nano_cpus: resources.cpus.map(|cpus| i64::from(cpus.millis()) * 1_000_000),
            pids_limit: resources.pids.map(|pids| pids.min(MOST_PIDS).into()),
            ulimits: self.limits(),
            init: Some(false),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            network_mode: Some(if self.has_network() { network::NAME.to_owned() } else { "none".to_owned() }),
            readonly_rootfs: Some(self.spec.read_only_root),
            tmpfs: self.spec.read_only_root.then(|| self.memory_folders()),
            shm_size: Some(signed(self.memory_files())),
            mounts: Some(self.mounts()),
            // What the agent says on its streams is the protocol, or of no use to anybody.
            log_config: (self.way == Way::Door || self.one_shot())
                .then(|| HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            runtime: self.runtime.map(str::to_owned),
            ..HostConfig::default()
        }
    }

    /// Limits of each process. A far Podman is told none: with any, it adds some of its own that its machine may not
    /// allow; the agent lowers its own there.
    fn limits(&self) -> Option<Vec<ResourcesUlimits>> {
        let same = |name: &str, value: i64| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(value),
            hard: Some(value),
        };
        let files = self.spec.resources.open_files.map(|most| same("nofile", i64::from(most)));
        let mut limits: Vec<ResourcesUlimits> = files.into_iter().collect();
        if self.facts.kind == EngineKind::Podman {
            if !self.facts.local {
                return None;
            }
            // Podman would set its own, larger than it may itself on a machine with small ones, and then fail.
            let own = &self.facts.own_limits;
            for (name, resource, engines) in
                [("nofile", Resource::Nofile, own.open_files), ("nproc", Resource::Nproc, own.processes)]
            {
                let ours = rustix::process::getrlimit(resource).maximum;
                let most = ours.into_iter().chain(engines).min().map(signed);
                let given = limits.iter().any(|limit| limit.name.as_deref() == Some(name));
                limits.extend(most.filter(|_| !given).map(|most| same(name, most)));
            }
        }
        Some(limits)
    }

    /// Half of what the box may have, as a kernel does it by itself for its own memory.
    fn memory_files(&self) -> u64 {
        let memory = self.spec.resources.memory.map_or(self.facts.memory_bytes, |memory| memory.bytes());
        (memory / 2).max(LEAST_MEMORY_FILES)
    }

    fn memory_folders(&self) -> HashMap<String, String> {
        let tmp = format!("rw,exec,nosuid,nodev,mode=1777,size={}", self.memory_files());
        let own = format!("rw,noexec,nosuid,nodev,mode=0755,size={OWN_SIZE}");
        HashMap::from([("/tmp".to_owned(), tmp), (program::OWN.to_owned(), own)])
    }

    fn mounts(&self) -> Vec<Mount> {
        let mut all = match self.way {
            Way::Door => vec![
                mounts::bind(Path::new(self.program), Path::new(program::PROGRAM), Access::ReadOnly),
                mounts::bind(self.door, Path::new(program::DOOR), Access::ReadOnly),
            ],
            Way::Engine => vec![Mount {
                typ: Some(MountType::VOLUME),
                source: Some(self.program.to_owned()),
                target: Some(program::PROGRAM_VOLUME.to_owned()),
                read_only: Some(true),
                ..Mount::default()
            }],
        };
        all.extend(mounts::engine_mounts(&self.spec.mounts));
        all
    }

    /// What the box gets, once the engine has taken the request without a warning.
    pub(crate) fn isolation(&self, waived: &[Feature]) -> Isolation {
        let facts = self.facts;
        let mut layers: Vec<String> = Vec::new();
        if facts.user_namespace {
            layers.push("user namespace".to_owned());
        }
        layers
            .extend(["mount", "pid", "network", "ipc", "uts", "cgroup"].map(|it| format!("{it} namespace")));
        layers.push(match self.spec.profile {
            Profile::Restrictive => "seccomp (restrictive)".to_owned(),
            Profile::Permissive | Profile::Moderate => "seccomp (standard)".to_owned(),
        });
        layers.push("no new privileges".to_owned());
        if self.has_network() {
            layers.push("egress filter".to_owned());
        }
        let resources = &self.spec.resources;
        for (feature, text) in [
            (Feature::MemoryLimit, resources.memory.map(|memory| format!("memory {memory}"))),
            (Feature::CpuLimit, resources.cpus.map(|cpus| format!("cpus {cpus}"))),
            (Feature::PidsLimit, resources.pids.map(|pids| format!("pids {pids}"))),
            (Feature::OpenFilesLimit, resources.open_files.map(|most| format!("open files {most}"))),
        ] {
            layers.extend(text.filter(|_| !waived.contains(&feature)));
        }
        let runtime = self.runtime.unwrap_or(&facts.default_runtime);
        layers.push(format!("runtime {runtime}"));
        Isolation {
            backend: facts.kind.backend_name(),
            boundary: if runtime.contains("runsc") {
                Boundary::EmulatedMachine
            } else {
                Boundary::SharedKernel
            },
            rootless: facts.rootless,
            layers,
            not_enforced: waived.iter().map(ToString::to_string).collect(),
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The limits that an engine says it has let go, by its warnings. Engines start a container without a limit that their
/// kernel can't enforce, and only warn.
pub(crate) fn discarded(warnings: &[String]) -> Vec<(Feature, &str)> {
    let is_discarded = |text: &&String| {
        let text = text.to_lowercase();
        text.contains("discarded") || text.contains("not supported") || text.contains("does not support")
    };
    let feature = |text: &str| {
        let text = text.to_lowercase();
        // Without an account of swap, memory itself is limited all the same.
        if text.contains("swap") {
            None
        } else if text.contains("memory") {
            Some(Feature::MemoryLimit)
        } else if text.contains("cpu") {
            Some(Feature::CpuLimit)
        } else if text.contains("pids") {
            Some(Feature::PidsLimit)
        } else {
            None
        }
    };
    warnings.iter().filter(is_discarded).filter_map(|text| Some((feature(text)?, text.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use agentkernel_model::{Cpus, Mib, Resources};

    use super::*;

    pub(crate) fn spec() -> SandboxSpec {
        SandboxSpec {
            image: "debian:12".parse().unwrap(),
            image_id: Some(format!("sha256:{}", "0".repeat(64)).parse().unwrap()),
            ..agentkernel_testkit::plain_spec(&"docker".parse().unwrap())
        }
    }

    fn request(spec: &SandboxSpec, name: Option<&str>, way: Way) -> ContainerCreateBody {
        let facts = Facts::for_tests(EngineKind::Docker);
        let owner = Owner::new(0, Path::new("/nonexistent"));
        let plan = Plan {
            facts: &facts,
            spec,
            id: "0123456789abcdef",
            name,
            owner: &owner,
            way,
            runtime: None,
            seccomp: Some("{}".to_owned()),
            program: "/state/agent",
            door: Path::new("/state/door"),
        };
        plan.request().unwrap()
    }

    #[test]
    fn every_box_is_hardened() {
        for profile in Profile::ALL {
            let spec = SandboxSpec { profile, ..spec() };
            let host = request(&spec, None, Way::Door).host_config.unwrap();
            assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
            assert!(!host.cap_add.unwrap().contains(&"CAP_NET_ADMIN".to_owned()));
            assert_eq!(host.security_opt.unwrap(), ["no-new-privileges", "seccomp={}"]);
            assert_eq!(host.network_mode.unwrap(), "none");
            assert_eq!(host.ipc_mode.unwrap(), "private");
            assert_eq!((host.privileged, host.binds, host.pid_mode, host.devices), (None, None, None, None));
            assert!(host.mounts.unwrap().iter().all(|mount| mount.read_only == Some(true)));
        }
    }

    #[test]
    fn limits_are_the_users() {
        let resources = Resources {
            memory: Some(Mib(1024)),
            cpus: Cpus::from_millis(1500),
            pids: Some(77),
            disk: None,
            open_files: Some(1024),
        };
        let spec = SandboxSpec { resources, profile: Profile::Restrictive, ..spec() };
        let host = request(&spec, None, Way::Door).host_config.unwrap();
        assert_eq!((host.memory, host.memory_swap), (Some(1 << 30), Some(1 << 30)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(1_500_000_000), Some(77)));
        let most = SandboxSpec { resources: Resources { pids: Some(u32::MAX), ..spec.resources }, ..spec };
        let most = request(&most, None, Way::Door).host_config.unwrap().pids_limit;
        assert_eq!(most, Some(1 << 22), "an engine's runtime would be refused more");
        let limits = host.ulimits.unwrap();
        assert!(limits.iter().any(|it| it.name.as_deref() == Some("nofile") && it.hard == Some(1024)));
    }

    #[test]
    fn a_read_only_root_keeps_room_for_temporary_files() {
        let spec = SandboxSpec { read_only_root: true, ..spec() };
        let host = request(&spec, None, Way::Door).host_config.unwrap();
        assert_eq!(host.readonly_rootfs, Some(true));
        let folders = host.tmpfs.unwrap();
        assert!(folders["/tmp"].starts_with("rw,exec,nosuid,nodev,mode=1777"));
        assert!(folders.contains_key(program::OWN));
    }

    #[test]
    fn an_image_never_runs_anything_by_itself() {
        let body = request(&spec(), Some("x"), Way::Door);
        assert_eq!(body.healthcheck.unwrap().test.unwrap(), ["NONE"]);
        assert_eq!(body.entrypoint.unwrap(), [program::PROGRAM]);
        assert_eq!(body.image.unwrap(), format!("sha256:{}", "0".repeat(64)));
        assert_eq!(body.user.unwrap(), "0:0");
    }

    #[test]
    fn only_one_shot_boxes_go_by_themselves() {
        let removed = |name| request(&spec(), name, Way::Door).host_config.unwrap().auto_remove;
        assert_eq!((removed(None), removed(Some("x"))), (Some(true), Some(false)));
        let far = request(&spec(), None, Way::Engine);
        assert_eq!((far.open_stdin, far.stdin_once), (Some(true), Some(true)));
        let mounts = far.host_config.unwrap().mounts.unwrap();
        assert!(mounts.iter().all(|mount| mount.typ == Some(MountType::VOLUME)));
    }

    #[test]
    fn an_image_that_was_not_looked_up_starts_nothing() {
        let spec = SandboxSpec { image_id: None, ..spec() };
        let facts = Facts::for_tests(EngineKind::Docker);
        let owner = Owner::new(0, Path::new("/nonexistent"));
        let plan = Plan {
            facts: &facts,
            spec: &spec,
            id: "0",
            name: None,
            owner: &owner,
            way: Way::Door,
            runtime: None,
            seccomp: None,
            program: "/a",
            door: Path::new("/d"),
        };
        assert!(plan.request().is_err());
    }

    #[test]
    fn limits_that_an_engine_lets_go_are_seen() {
        let warnings = [
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
            "Your kernel does not support pids limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
            "Your kernel does not support CPU cfs quota. Quota discarded.",
            "IPv4 forwarding is disabled. Networking will not work.",
        ]
        .map(str::to_owned);
        let found: Vec<Feature> = discarded(&warnings).into_iter().map(|(feature, _)| feature).collect();
        assert_eq!(found, [Feature::MemoryLimit, Feature::PidsLimit, Feature::CpuLimit]);
    }
}
