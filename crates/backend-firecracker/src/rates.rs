//! How much the devices of one machine may move in a second, in the user's terms and in those of the parts beside this.

use std::num::NonZero;

use agentkernel_backend::BackendError;
use agentkernel_model::{Mib, NetworkAccess, SandboxSpec};
use serde::{Deserialize, Serialize};

use crate::api::{RateLimiter, TokenBucket};
use crate::backend::NAME;
use crate::settings::VmmChoice;

/// Limits of each device of a machine; `None` is none. A sandbox keeps those that it was made with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRates {
    /// What is read and written together, of each disk, in MiB per second. Not 0.
    pub disk_bandwidth: Option<Mib>,
    /// Reads and writes together, of each disk, per second.
    pub disk_iops: Option<NonZero<u32>>,
    /// Of the network interface, each way, in MiB per second. Not 0.
    pub network_bandwidth: Option<Mib>,
}

impl DeviceRates {
    /// Of each disk.
    pub(crate) fn of_disk(&self) -> Option<RateLimiter> {
        limiter(self.disk_bandwidth, self.disk_iops)
    }

    /// Of the network interface, each way.
    pub(crate) fn of_network(&self) -> Option<RateLimiter> {
        limiter(self.network_bandwidth, None)
    }

    /// What of it a machine of `spec` that `vmm` makes can be held to. Refuses what it can't, unless limits may be let go:
    /// then names it.
    pub(crate) fn honoured(
        &self,
        spec: &SandboxSpec,
        vmm: VmmChoice,
    ) -> Result<(Self, Option<String>), BackendError> {
        let held = match (vmm, spec.network, self.network_bandwidth) {
            // Without the device, nothing goes through it.
            (VmmChoice::Firecracker, ..) | (_, NetworkAccess::None, _) | (.., None) => {
                return Ok((*self, None));
            }
            (VmmChoice::Qemu, NetworkAccess::On, Some(_)) => Self { network_bandwidth: None, ..*self },
        };
        let what = "the network's rate (`network_bandwidth`)";
        match spec.allow_unlimited {
            true => Ok((held, Some(what.to_owned()))),
            false => Err(BackendError::Unsupported {
                backend: NAME.to_owned(),
                what: what.to_owned(),
                fix: "QEMU doesn't limit it: set vmm = \"firecracker\" in [firecracker] or leave network_bandwidth \
                      out there, give the sandbox no network with --no-network, or let limits go with \
                      --allow-unlimited"
                    .to_owned(),
            }),
        }
    }

    /// For people.
    pub(crate) fn layers(&self, network: NetworkAccess) -> impl Iterator<Item = String> {
        let network = self.network_bandwidth.filter(|_| network == NetworkAccess::On);
        [
            self.disk_bandwidth.map(|rate| format!("disk bandwidth {rate}/s")),
            self.disk_iops.map(|rate| format!("disk operations {rate}/s")),
            network.map(|rate| format!("network bandwidth {rate}/s each way")),
        ]
        .into_iter()
        .flatten()
    }
}

fn limiter(bandwidth: Option<Mib>, iops: Option<NonZero<u32>>) -> Option<RateLimiter> {
    let bandwidth = bandwidth.map(|rate| TokenBucket::per_second(rate.bytes()));
    let ops = iops.map(|rate| TokenBucket::per_second(rate.get().into()));
    bandwidth.or(ops).map(|_| RateLimiter { bandwidth, ops })
}

#[cfg(test)]
mod tests {
    use agentkernel_testkit::plain_spec;

    use super::*;

    fn all() -> DeviceRates {
        DeviceRates {
            disk_bandwidth: Some(Mib(2)),
            disk_iops: NonZero::new(500),
            network_bandwidth: Some(Mib(3)),
        }
    }

    #[test]
    fn what_is_not_limited_has_no_limiter() {
        assert_eq!((DeviceRates::default().of_disk(), DeviceRates::default().of_network()), (None, None));
        let disk = all().of_disk().unwrap();
        assert_eq!(disk.bandwidth.unwrap().each_second(), 2 << 20);
        assert_eq!(disk.ops.unwrap().each_second(), 500);
        let operations = DeviceRates { disk_bandwidth: None, ..all() };
        assert_eq!(operations.of_disk().unwrap().bandwidth, None);
        let network = all().of_network().unwrap();
        assert_eq!((network.bandwidth.unwrap().each_second(), network.ops), (3 << 20, None));
    }

    #[test]
    fn a_network_that_can_not_be_limited_is_refused_or_named() {
        let mut spec = plain_spec(&crate::backend::name());
        spec.network = NetworkAccess::On;
        assert_eq!(all().honoured(&spec, VmmChoice::Firecracker).unwrap(), (all(), None));
        let refused = all().honoured(&spec, VmmChoice::Qemu).unwrap_err();
        let BackendError::Unsupported { what, fix, .. } = &refused else { panic!("{refused}") };
        assert!(what.contains("network_bandwidth") && fix.contains("--allow-unlimited"), "{what} {fix}");
        spec.allow_unlimited = true;
        let (held, let_go) = all().honoured(&spec, VmmChoice::Qemu).unwrap();
        assert_eq!((held.disk_bandwidth, held.network_bandwidth), (Some(Mib(2)), None));
        assert!(let_go.unwrap().contains("network_bandwidth"));
        spec.network = NetworkAccess::None;
        assert_eq!(all().honoured(&spec, VmmChoice::Qemu).unwrap(), (all(), None));
        let none = DeviceRates { network_bandwidth: None, ..all() };
        spec.network = NetworkAccess::On;
        assert_eq!(none.honoured(&spec, VmmChoice::Qemu).unwrap(), (none, None));
    }

    #[test]
    fn people_are_told_of_what_there_is() {
        let told = |network| all().layers(network).collect::<Vec<_>>().join(", ");
        assert_eq!(told(NetworkAccess::None), "disk bandwidth 2 MiB/s, disk operations 500/s");
        assert!(told(NetworkAccess::On).ends_with("network bandwidth 3 MiB/s each way"));
    }
}
