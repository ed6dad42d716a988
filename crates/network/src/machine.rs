//! The network of a virtual machine: a namespace of its own that stands before it as a router.
//!
//! The namespace's one end leads to the host as any box's does. Its other end is a TAP device, which the machine's monitor
//! holds; the monitor is all that lives in the namespace, and the namespace has no address of its own. Packets are passed on
//! as they are, so that the machine has the box's address and the host's rules (a box speaks with its own address only, and
//! not to other boxes) are about it; and what it sends is passed on by the namespace's tables, whose refusals hold for what
//! is passed on as for what is sent (policies of the way out, `xfrm4_route_forward` of the kernel). A bridge would carry
//! frames past them.
//!
//! Machine and TAP device have the same hardware address and speak no ARP: what either sends arrives at the other.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, OwnedFd};

use agentkernel_sys::netlink::{
    self, InterfaceIndex, Ipv4Setting, LinkAnswer, NetlinkError, Protocol, RouteTarget, Socket,
};
use agentkernel_sys::tap::{self, Tap};
use rustix::rand::{GetRandomFlags, getrandom};

use super::firewall::{Firewall, Ready};
use super::veth::{self, Addresses, CONFIGURE, INSIDE};
use super::{Connected, NetworkError, forwarding};

/// The TAP device's name, the same in each namespace: a machine that was saved finds it in another's place.
pub const TAP: &str = "tap0";
/// The longest packet, as the kernel makes veth pairs and TAP devices.
const LONGEST_PACKET: u32 = 1500;

/// The network of one virtual machine.
#[derive(Debug)]
pub struct MachineNetwork {
    /// For its monitor to live in.
    pub namespace: OwnedFd,
    /// The TAP device in it, the monitor's user's.
    pub tap: &'static str,
    /// The machine's hardware address, and the TAP device's.
    pub hardware_address: [u8; 6],
    /// The machine's address, alone in its network: everything else is reached by sending it.
    pub ipv4: Ipv4Addr,
    /// The same for IPv6; None where the host has none.
    pub ipv6: Option<Ipv6Addr>,
    /// The longest packet in bytes.
    pub longest_packet: u32,
}

/// A machine behind a namespace.
#[derive(Debug)]
pub(super) struct Behind {
    user: u32,
    hardware_address: [u8; 6],
}

/// Whether there can be TAP devices; else why not and what mends it.
pub(super) fn available() -> Result<(), String> {
    match tap::problem() {
        None => Ok(()),
        Some(error) => Err(format!(
            "{} can't be opened ({error}), which a machine's network needs: `modprobe tun`, or use `--no-network`",
            tap::DEVICE
        )),
    }
}

/// Makes and connects it.
pub(super) fn connect(firewall: &Firewall, box_id: &str, user: u32) -> Result<MachineNetwork, NetworkError> {
    let behind = Behind { user, hardware_address: random_hardware_address()? };
    let (namespace, ()) = netlink::new_network_namespace(|_| ())
        .map_err(NetworkError::kernel("make the machine's network namespace"))?;
    let Connected { ipv4, ipv6, helper_pid: _ } =
        veth::connect(firewall, namespace.as_fd(), box_id, Some(&behind))?;
    Ok(MachineNetwork {
        namespace,
        tap: TAP,
        hardware_address: behind.hardware_address,
        ipv4: ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED),
        ipv6,
        longest_packet: LONGEST_PACKET,
    })
}

/// Of nobody's make, and one station's (the two lowest bits of the first byte, IEEE 802).
fn random_hardware_address() -> Result<[u8; 6], NetworkError> {
    let mut address = [0; 6];
    rustix::io::retry_on_intr(|| getrandom(&mut address, GetRandomFlags::empty()))
        .map_err(|errno| NetworkError::file("read", "/dev/urandom")(errno.into()))?;
    address[0] = (address[0] & 0xfc) | 2;
    Ok(address)
}

impl Behind {
    /// In the namespace: the TAP device, and the ways from and to it. Its refusals are in force.
    pub(super) fn configure(
        &self,
        inside: InterfaceIndex,
        addresses: Addresses,
        ready: &Ready,
    ) -> Result<(), NetworkError> {
        Tap::make(TAP)
            .and_then(|tap| tap.leave_to(self.user))
            .map_err(|source| NetworkError::Tap { name: TAP, source })?;
        let mut socket = Socket::open(Protocol::Route).map_err(NetworkError::kernel(CONFIGURE))?;
        let passes_on = [
            (Ipv4Setting::Forwarding, 1),
            (Ipv4Setting::AcceptRedirects, 0),
            (Ipv4Setting::SendRedirects, 0),
        ];
        // What the machine sends with another's address stops here already.
        let checks = [&passes_on[..], &[(Ipv4Setting::ReversePathFilter, 1)]].concat();
        let links = vec![
            netlink::veth_end(INSIDE, &passes_on, ready.ipv6),
            netlink::tap_end(TAP, self.hardware_address, &checks, ready.ipv6),
            netlink::set_link_up(INSIDE),
            netlink::set_link_up(TAP),
            LinkAnswer::request(TAP),
        ];
        let mut found = None;
        socket
            .exchange(links, |_, payload| found = LinkAnswer::parse(payload))
            .map_err(NetworkError::kernel(CONFIGURE))?;
        let tap = found.ok_or(NetlinkError::Malformed { action: CONFIGURE });
        let tap = tap.map_err(NetworkError::kernel(CONFIGURE))?.index;
        let to_machine = addresses.all().map(|address| netlink::new_route(RouteTarget::single(address), tap));
        let routes = addresses.ways_out(inside).chain(to_machine).collect();
        socket.apply(routes).map_err(NetworkError::kernel(CONFIGURE))?;
        if ready.ipv6 {
            forwarding::write("ipv6/conf/all/forwarding", 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_one_station_s_and_of_nobody_s_make() {
        let addresses: Vec<_> = (0..64).map(|_| random_hardware_address().unwrap()).collect();
        assert!(addresses.iter().all(|address| address[0] & 3 == 2), "{addresses:x?}");
        assert!(addresses.windows(2).all(|pair| pair[0] != pair[1]), "{addresses:x?}");
    }
}
