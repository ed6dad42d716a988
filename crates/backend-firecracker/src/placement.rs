//! What stands around a machine on its host: a control group, and a network namespace, with the machine's TAP device or with
//! nothing in it. The group is found again by the box's id and the namespace goes with its last process, so nothing has to
//! be noted of them.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use agentkernel_backend::BackendError;
use agentkernel_model::NetworkAccess;
use agentkernel_network::MachineNetwork;
use agentkernel_protocol::machine;
use agentkernel_sys::cgroup::{Cgroup, CgroupLimits};
use agentkernel_sys::netlink;

use crate::backend::Parts;
use crate::plan::Plan;
use crate::surroundings::Surroundings;
use crate::vmm::{Interface, Life, Owner, Site};

/// The first of the users of the host that machines run as, and how many there are: far above those of people and those
/// that containers get.
const FIRST_USER: u32 = 0x7100_0000;
const USERS: u32 = 0x00ff_0000;

/// The interface's name in the machine.
const INSIDE: &str = "eth0";

/// The place of one machine. Dropped, its group goes with all that is in it; its network goes with the last process in it.
#[derive(Debug)]
pub(crate) struct Placement {
    id: String,
    owner: Option<Owner>,
    /// `None` without limits.
    cgroup: Option<Cgroup>,
    cgroup_entries: Vec<PathBuf>,
    network: Option<MachineNetwork>,
    /// Where there is no network: nothing, so that one who has taken the VMM over has nothing either. Only root can.
    nothing: Option<OwnedFd>,
}

impl Placement {
    /// Makes the place of the machine `id`, whose box must be noted already. Where it fails, nothing is left.
    pub(crate) fn make(parts: &Parts, plan: &Plan<'_>, id: &str) -> Result<Self, BackendError> {
        let surroundings = parts.surroundings();
        let limits = plan.limits(surroundings, &*parts.equipment()?.vmm);
        let mut place = Self::in_group(surroundings, &limits, id)?;
        if plan.network() == NetworkAccess::On {
            let user = place.owner.map_or(rustix::process::geteuid().as_raw(), |owner| owner.user);
            let network = surroundings.network().connect_machine(id, user);
            let failed = |source| BackendError::runtime("connect a machine to the network", source);
            place.network = Some(network.map_err(failed)?);
        } else if place.owner.is_some() {
            let failed = |source| BackendError::runtime("keep a machine away from the network", source);
            let (nothing, ()) = netlink::new_network_namespace(|_| ()).map_err(failed)?;
            place.nothing = Some(nothing);
        }
        Ok(place)
    }

    fn in_group(surroundings: &Surroundings, limits: &CgroupLimits, id: &str) -> Result<Self, BackendError> {
        let mut place = Self {
            id: id.to_owned(),
            owner: owner(id),
            cgroup: None,
            cgroup_entries: surroundings.cgroups.entries(id, limits),
            network: None,
            nothing: None,
        };
        if *limits != CgroupLimits::default() {
            let group = surroundings.cgroups.create(id, limits);
            let failed = |source| BackendError::runtime("make the limits of a machine", source);
            place.cgroup = Some(group.map_err(failed)?);
        }
        Ok(place)
    }

    /// For a machine to be started or restored there, in its private `folder`.
    pub(crate) fn site(&self, folder: &Path, life: Life) -> Result<Site, BackendError> {
        let failed = |source| BackendError::runtime("refer to a machine's place", source);
        let namespace = self.network.as_ref().map(|network| &network.namespace).or(self.nothing.as_ref());
        let namespace = namespace.map(OwnedFd::try_clone);
        let birth = self.cgroup.as_ref().and_then(Cgroup::birth_folder);
        let birth = birth.map(|folder| folder.as_fd().try_clone_to_owned());
        Ok(Site {
            id: format!("ak-{}", self.id),
            folder: folder.to_owned(),
            owner: self.owner,
            network_namespace: namespace.transpose().map_err(failed)?,
            cgroup_birth: birth.transpose().map_err(failed)?,
            cgroup_entries: self.cgroup_entries.clone(),
            life,
        })
    }

    /// The machine's device, where it has a network. A machine that is restored needs only the name of its TAP device.
    pub(crate) fn interface(&self) -> Option<Interface> {
        self.network.as_ref().map(|network| Interface {
            tap: network.tap.to_owned(),
            mac: network.hardware_address,
            receive_rate: None,
            send_rate: None,
        })
    }

    /// What the agent is told of it.
    pub(crate) fn told(&self) -> Option<machine::Network> {
        self.network.as_ref().map(told)
    }

    /// Lets it be the machine's, which runs now: it is found again by the box's id.
    pub(crate) fn keep(self) {
        if let Some(cgroup) = self.cgroup {
            cgroup.keep();
        }
    }
}

/// The machine is alone with the namespace before it: there is nobody to ask for the way.
fn told(network: &MachineNetwork) -> machine::Network {
    let address = |ipv6: std::net::Ipv6Addr| ipv6.octets().into();
    machine::Network {
        interface: INSIDE.to_owned(),
        // A restored machine was made with another's.
        mac: Some(network.hardware_address.into()),
        address: network.ipv4.octets().into(),
        prefix: 32,
        gateway: None,
        mtu: network.longest_packet,
        version_6: network.ipv6.map(|ipv6| machine::NetworkVersion6 {
            address: address(ipv6),
            prefix: 128,
            gateway: None,
        }),
    }
}

impl Surroundings {
    /// Removes the group of a machine that has ended; fine if there is none. Its network is gone with it or goes in this
    /// moment, which nobody has to wait for.
    pub(crate) fn remove_group(&self, id: &str) -> io::Result<()> {
        let group = self.cgroups.open(id).map_err(io::Error::other)?;
        let Some(group) = group else { return Ok(()) };
        group.kill().and_then(|()| group.remove()).map_err(io::Error::other)
    }

    /// Removes all that a machine has left, which has ended or was never let go; fine if there is nothing.
    pub(crate) fn remove_place(&self, id: &str) -> io::Result<()> {
        self.remove_group(id)?;
        self.network().reclaim(id).map(drop).map_err(io::Error::other)
    }
}

/// Who the VMM of box `id` is: as root nobody of the host and nobody else's; else the caller.
fn owner(id: &str) -> Option<Owner> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let number = u64::from_str_radix(id, 16).unwrap_or_default() % u64::from(USERS);
    let user = FIRST_USER + u32::try_from(number).unwrap_or_default();
    Some(Owner { user, group: user })
}
