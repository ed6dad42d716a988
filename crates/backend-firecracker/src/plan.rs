//! From what was asked for to what a machine is and what its agent is told.

use std::path::Path;

use agentkernel_backend::{AGENT_CAPABILITIES, BackendError, Lifetime};
use agentkernel_model::{Boundary, Feature, Isolation, Mib, Mount, NetworkAccess, Profile, SandboxSpec};
use agentkernel_protocol::machine::{GivenFile, Limits, MachineSetup, Network, Root, Upper};
use agentkernel_protocol::{ByteVec, Setup};
use agentkernel_sys::capability::CapabilitySet;
use agentkernel_sys::cgroup::{CgroupLimits, Resource};
use agentkernel_sys::seccomp::Filter;

use crate::backend::NAME;
use crate::rates::DeviceRates;
use crate::surroundings::Surroundings;
use crate::vmm::{Confinement, Vmm};

/// What a machine has where nothing was asked for.
const USUAL_MEMORY: Mib = Mib(512);

/// The least that our kernel and agent run with.
const LEAST_MEMORY: Mib = Mib(64);

/// The most processors of a machine that nobody limited.
const USUAL_CPUS: usize = 4;

/// Thousandths of a processor.
const WHOLE_CPU: u32 = 1000;

/// What the kernel is told: its console, to restart (which ends the machine) when it is told so and when it fails, and
/// where its first program is. That gets the word that the kernel doesn't know; VMMs add devices after it, which would be
/// the program's too behind a `--`.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 reboot=k panic=-1 quiet rdinit=/init machine";

/// What one machine is.
pub(crate) struct Plan<'a> {
    spec: &'a SandboxSpec,
    lifetime: Lifetime,
    /// Limits that are let go.
    waived: Vec<Feature>,
    /// What its devices may move, and what of that can't be held to and is let go.
    rates: (DeviceRates, Option<String>),
    /// What a control group around the VMM will limit.
    held: Vec<Resource>,
    /// The names that the box asks.
    resolv_conf: Vec<u8>,
}

impl<'a> Plan<'a> {
    /// Checks what capabilities can't say; nothing is made yet.
    pub(crate) fn new(
        spec: &'a SandboxSpec,
        lifetime: Lifetime,
        mut waived: Vec<Feature>,
        rates: (DeviceRates, Option<String>),
        surroundings: &Surroundings,
    ) -> Result<Self, BackendError> {
        let can = |resource: &Resource| surroundings.cgroups.can_limit(*resource);
        let whole = spec.resources.cpus.is_none_or(|cpus| cpus.millis() % WHOLE_CPU == 0);
        if let (false, Err(why)) = (whole, can(&Resource::Cpu)) {
            if !spec.allow_unlimited {
                return Err(BackendError::Unsupported {
                    backend: NAME.to_owned(),
                    what: "a part of a processor".to_owned(),
                    fix: format!(
                        "a machine has whole processors, and less takes a control group: {why}; or give --cpus a whole \
                         number, or let limits go with --allow-unlimited"
                    ),
                });
            }
            waived.push(Feature::CpuLimit);
        }
        let held = Resource::ALL.into_iter().filter(|resource| can(resource).is_ok()).collect();
        let plan = Self { spec, lifetime, waived, rates, held, resolv_conf: surroundings.resolv_conf(spec) };
        if plan.memory().0 < LEAST_MEMORY.0 {
            return Err(BackendError::Unsupported {
                backend: NAME.to_owned(),
                what: format!("a machine of {}", plan.memory()),
                fix: format!(
                    "a machine holds a kernel of its own: give it {LEAST_MEMORY} or more with --memory"
                ),
            });
        }
        Ok(plan)
    }

    /// Of the machine, and so a limit of all in it.
    pub(crate) fn memory(&self) -> Mib {
        self.asked(Feature::MemoryLimit, self.spec.resources.memory).unwrap_or(USUAL_MEMORY)
    }

    /// Processors.
    pub(crate) fn cpus(&self) -> u8 {
        // A part of one that can't be held to is the whole of it.
        let asked = self.spec.resources.cpus;
        let usual = || std::thread::available_parallelism().map_or(1, usize::from).min(USUAL_CPUS);
        let count = asked.map_or_else(usual, |cpus| cpus.millis().div_ceil(WHOLE_CPU) as usize);
        u8::try_from(count).unwrap_or(u8::MAX).max(1)
    }

    /// Around the machine on its host.
    pub(crate) fn limits(&self, surroundings: &Surroundings, vmm: &dyn Vmm) -> CgroupLimits {
        let asked = self.asked(Feature::CpuLimit, self.spec.resources.cpus);
        surroundings.limits(vmm, self.memory(), self.cpus(), asked.map(agentkernel_model::Cpus::millis))
    }

    /// Of its devices.
    pub(crate) fn rates(&self) -> &DeviceRates {
        &self.rates.0
    }

    /// In their order.
    pub(crate) fn mounts(&self) -> &'a [Mount] {
        &self.spec.mounts
    }

    pub(crate) fn network(&self) -> NetworkAccess {
        self.spec.network
    }

    pub(crate) fn kernel_arguments(&self) -> String {
        KERNEL_ARGUMENTS.to_owned()
    }

    fn asked<T>(&self, feature: Feature, value: Option<T>) -> Option<T> {
        value.filter(|_| !self.waived.contains(&feature))
    }

    fn upper(&self) -> Upper {
        match self.lifetime {
            Lifetime::Ephemeral => Upper::Memory {
                bytes: self.asked(Feature::DiskLimit, self.spec.resources.disk).map(Mib::bytes),
            },
            Lifetime::Persistent => {
                Upper::Device { path: "/dev/vdb".to_owned(), file_system: "ext4".to_owned() }
            }
        }
    }

    /// What makes the machine this box; `network`, `entropy` and `machine_id` are nobody else's.
    pub(crate) fn machine_setup(
        &self,
        network: Option<Network>,
        entropy: [u8; 64],
        machine_id: [u8; 16],
    ) -> Result<MachineSetup, BackendError> {
        let commands = CapabilitySet::from_names(self.spec.profile.linux_capabilities());
        let agent = CapabilitySet::from_names(AGENT_CAPABILITIES);
        let named = |source| BackendError::runtime("name the profile's capabilities", source);
        let (commands, agent) = (commands.map_err(named)?, agent.map_err(named)?);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let resources = &self.spec.resources;
        Ok(MachineSetup {
            hostname: self.spec.hostname.clone(),
            root: Root {
                device: "/dev/vda".to_owned(),
                file_system: "erofs".to_owned(),
                upper: self.upper(),
                read_only: self.spec.read_only_root,
            },
            network,
            files: self.files(),
            machine_id: machine_id.into(),
            entropy: entropy.to_vec().into(),
            wall_clock_ns: since.ok().and_then(|since| u64::try_from(since.as_nanos()).ok()),
            limits: Limits {
                pids: self.asked(Feature::PidsLimit, resources.pids).map(u64::from),
                memory_bytes: None,
            },
            tmp_bytes: None,
            workdir: bytes(self.spec.workdir.as_path()),
            // What is served is known once the machine is there.
            mounts: Vec::new(),
            exit_with_stream: self.lifetime == Lifetime::Ephemeral,
            agent_capabilities: agent.union(commands).0,
            command_capabilities: commands.0,
            open_files: self.asked(Feature::OpenFilesLimit, resources.open_files).map(u64::from),
        })
    }

    /// What the agent does to itself, as in any box.
    pub(crate) fn setup(&self) -> Setup {
        let filter = match self.spec.profile {
            Profile::Permissive | Profile::Moderate => Filter::Standard,
            Profile::Restrictive => Filter::Restrictive,
        };
        Setup { network_filter: Vec::new(), system_call_filter: filter.program_bytes() }
    }

    fn files(&self) -> Vec<GivenFile> {
        let hostname = &self.spec.hostname;
        let hosts = format!(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"
        );
        let file = |path: &str, content: Vec<u8>| GivenFile {
            path: bytes(Path::new(path)),
            mode: 0o644,
            content: content.into(),
        };
        vec![
            file("/etc/hosts", hosts.into_bytes()),
            file("/etc/hostname", format!("{hostname}\n").into_bytes()),
            file("/etc/resolv.conf", self.resolv_conf.clone()),
        ]
    }

    /// What it is kept apart by.
    pub(crate) fn isolation(&self, boundary: Boundary, confinement: &Confinement) -> Isolation {
        let mut layers = vec!["own kernel".to_owned()];
        layers.extend(confinement.layers.iter().cloned());
        layers.push(match self.spec.profile {
            Profile::Restrictive => "seccomp inside (restrictive)".to_owned(),
            Profile::Permissive | Profile::Moderate => "seccomp inside (standard)".to_owned(),
        });
        layers.push("no new privileges".to_owned());
        if !self.spec.mounts.is_empty() {
            layers.push("mounts served by jailed processes".to_owned());
        }
        layers.push(match self.spec.network {
            NetworkAccess::None => "no network device".to_owned(),
            NetworkAccess::On => "network namespace".to_owned(),
        });
        if self.spec.network == NetworkAccess::None && rustix::process::geteuid().is_root() {
            layers.push("no network around the VMM".to_owned());
        }
        layers.extend(self.control_group());
        layers.push(format!("memory {}", self.memory()));
        let asked = self.asked(Feature::CpuLimit, self.spec.resources.cpus);
        layers.push(asked.map_or_else(|| format!("cpus {}", self.cpus()), |cpus| format!("cpus {cpus}")));
        let resources = &self.spec.resources;
        layers.extend(self.asked(Feature::PidsLimit, resources.pids).map(|pids| format!("pids {pids}")));
        layers.extend(
            self.asked(Feature::OpenFilesLimit, resources.open_files)
                .map(|most| format!("open files {most}")),
        );
        layers.extend(self.disk().map(|disk| format!("disk {disk}")));
        layers.extend(self.rates().layers(self.spec.network));
        Isolation {
            backend: crate::backend::name(),
            boundary,
            rootless: !rustix::process::geteuid().is_root(),
            layers,
            not_enforced: self.waived.iter().map(ToString::to_string).chain(self.rates.1.clone()).collect(),
        }
    }

    /// What is limited of the VMM's processes together.
    fn control_group(&self) -> Option<String> {
        let limited = |resource: &&Resource| match resource {
            Resource::Memory | Resource::Pids => true,
            Resource::Cpu => self.asked(Feature::CpuLimit, self.spec.resources.cpus).is_some(),
        };
        let names: Vec<&str> = self.held.iter().filter(limited).map(|resource| resource.as_str()).collect();
        (!names.is_empty()).then(|| format!("control group around the VMM ({})", names.join(", ")))
    }

    /// The limit of what the box writes.
    pub(crate) fn disk(&self) -> Option<Mib> {
        let feature = match self.lifetime {
            Lifetime::Ephemeral => Feature::DiskLimit,
            Lifetime::Persistent => Feature::PersistentDiskLimit,
        };
        self.asked(feature, self.spec.resources.disk)
    }
}

fn bytes(path: &Path) -> ByteVec {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().to_vec().into()
}
