//! What this computer puts around machines: control groups and networks. Found out when it is first asked for, without
//! making anything.

use agentkernel_model::{Feature, Mib, NetworkAccess, SandboxSpec};
use agentkernel_network::{CurrentNetwork, NetworkHost};
use agentkernel_sys::cgroup::{CgroupHost, CgroupLimits, Resource};

use crate::vmm::Vmm;

/// Threads of a VMM and of what it starts, beside one for each processor: QEMU has up to 64 for its disks alone.
const OWN_THREADS: u32 = 128;

/// Of the guest's memory, what the host's kernel needs to map it: page tables, KVM's and the VMM's.
const MAPPING_SHARE: u32 = 64;

/// Facts of this computer and this caller.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) cgroups: CgroupHost,
    network: CurrentNetwork,
}

impl Surroundings {
    /// Looks around: a few small files.
    pub(crate) fn detect() -> Self {
        let rootless = !rustix::process::geteuid().is_root();
        Self { cgroups: CgroupHost::detect(), network: CurrentNetwork::detect(rootless) }
    }

    /// How machines get their network now: a process that lives long may see its computer move to another.
    pub(crate) fn network(&self) -> NetworkHost {
        self.network.now()
    }

    /// What machines can't have here, and why.
    pub(crate) fn missing(&self) -> Option<(Feature, String)> {
        self.network().available_to_machines().err().map(|why| (Feature::Network, why))
    }

    /// The names that a machine of `spec` asks, as a file.
    pub(crate) fn resolv_conf(&self, spec: &SandboxSpec) -> Vec<u8> {
        match spec.network {
            NetworkAccess::None => Vec::new(),
            NetworkAccess::On => self.network().resolv_conf(),
        }
    }

    /// The limits of a VMM's group, as far as groups can be had: they hold it where the guest has taken it over. Its memory
    /// is the guest's and what the VMM needs itself.
    pub(crate) fn limits(&self, vmm: &dyn Vmm, memory: Mib, vcpus: u8, cpus: Option<u32>) -> CgroupLimits {
        let can = |resource| self.cgroups.can_limit(resource).is_ok();
        let most = Mib(memory.0.saturating_add(memory.0 / MAPPING_SHARE).saturating_add(vmm.overhead().0));
        CgroupLimits {
            memory_bytes: can(Resource::Memory).then(|| most.bytes()),
            cpu_millis: cpus.filter(|_| can(Resource::Cpu)),
            pids: can(Resource::Pids).then(|| OWN_THREADS + u32::from(vcpus)),
        }
    }
}

#[cfg(test)]
mod tests {
    use agentkernel_backend::{BackendError, Lifetime};
    use agentkernel_model::{Boundary, Cpus};
    use agentkernel_testkit::plain_spec;

    use super::*;
    use crate::plan::Plan;
    use crate::vmm::{Acceleration, Confinement, Qemu};

    fn qemu(acceleration: Acceleration) -> Qemu {
        Qemu { program: "/q".into(), vsock_program: "/v".into(), acceleration }
    }

    #[test]
    fn a_group_has_room_for_the_guest_and_its_vmm() {
        let surroundings = Surroundings::detect();
        let limits = |acceleration| surroundings.limits(&qemu(acceleration), Mib(512), 2, Some(2000));
        let (real, emulated) = (limits(Acceleration::Kvm), limits(Acceleration::Emulated));
        match surroundings.cgroups.can_limit(Resource::Memory) {
            Ok(()) => {
                assert!(real.memory_bytes.unwrap() >= Mib(512 + 64).bytes(), "{real:?}");
                assert!(emulated.memory_bytes > real.memory_bytes, "{emulated:?}");
            }
            Err(_) => assert_eq!(real.memory_bytes, None),
        }
        let cpu = surroundings.cgroups.can_limit(Resource::Cpu).is_ok();
        assert_eq!(real.cpu_millis, cpu.then_some(2000));
        assert_eq!(surroundings.limits(&qemu(Acceleration::Kvm), Mib(512), 2, None).cpu_millis, None);
    }

    #[test]
    fn a_part_of_a_processor_is_one_that_is_held_back_or_is_refused_by_name() {
        let surroundings = Surroundings::detect();
        let mut spec = plain_spec(&crate::backend::name());
        spec.resources.cpus = Cpus::from_millis(1500);
        let plan = |spec: &SandboxSpec| {
            let plan = Plan::new(spec, Lifetime::Ephemeral, Vec::new(), Default::default(), &surroundings)?;
            let isolation = plan.isolation(Boundary::VirtualMachine, &Confinement::default());
            let limits = plan.limits(&surroundings, &qemu(Acceleration::Kvm));
            Ok::<_, BackendError>((plan.cpus(), limits, isolation))
        };
        if surroundings.cgroups.can_limit(Resource::Cpu).is_ok() {
            let (cpus, limits, isolation) = plan(&spec).unwrap();
            assert_eq!((cpus, limits.cpu_millis), (2, Some(1500)));
            assert!(isolation.layers.contains(&"cpus 1.5".to_owned()), "{isolation:?}");
            assert!(isolation.not_enforced.is_empty());
            return;
        }
        let Err(BackendError::Unsupported { what, fix, .. }) = plan(&spec) else { panic!("not refused") };
        assert!(what.contains("part of a processor") && fix.contains("--allow-unlimited"), "{what} {fix}");
        spec.allow_unlimited = true;
        let (cpus, limits, isolation) = plan(&spec).unwrap();
        assert_eq!((cpus, limits.cpu_millis), (2, None));
        assert!(isolation.layers.contains(&"cpus 2".to_owned()), "{isolation:?}");
        assert_eq!(isolation.not_enforced, [Feature::CpuLimit.to_string()]);
        spec.resources.cpus = Cpus::from_millis(3000);
        assert_eq!(plan(&spec).unwrap().0, 3);
    }
}
