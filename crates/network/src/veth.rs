//! A box's own link to the host: a veth pair, an address that only it has, and its routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use agentkernel_sys::netlink::{
    self, InterfaceIndex, Ipv4Setting, LinkAnswer, Message, NetlinkError, Protocol, Refusal, RouteTarget,
    Socket,
};
use rustix::io::Errno;

use super::firewall::{Firewall, Ready};
use super::machine::Behind;
use super::rules::INTERFACE_PREFIX;
use super::{Connected, NetworkError, forbidden, forwarding};

/// The interface's name in the box.
pub(super) const INSIDE: &str = "eth0";
/// The hardware address of both ends of every pair; see [`netlink::new_veth`]. Locally administered.
const HARDWARE_ADDRESS: [u8; 6] = [0x02, b'a', b'k', 0, 0, 1];
/// What fails where the box's end can't be set up.
pub(super) const CONFIGURE: &str = "configure the sandbox's network interface";
/// How many addresses are tried before the range counts as full.
const ATTEMPTS: usize = 64;
/// How long the kernel may take to let packets through a new pair; it needs microseconds.
const OPERATIONAL_LIMIT: Duration = Duration::from_secs(5);

/// The name of the host's end: IFNAMSIZ leaves 15 bytes.
pub(super) fn host_end(box_id: &str) -> String {
    let id: String = box_id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    format!("{INTERFACE_PREFIX}{id}")
}

/// Connects the network namespace of a box; the addresses are the namespace's own, or those of the machine `behind` it.
/// Needs no undoing: with the namespace go the pair and its routes.
pub(super) fn connect(
    firewall: &Firewall,
    namespace: BorrowedFd<'_>,
    box_id: &str,
    behind: Option<&Behind>,
) -> Result<Connected, NetworkError> {
    let mut socket =
        Socket::open(Protocol::Route).map_err(NetworkError::kernel("open the kernel's network settings"))?;
    let ready = firewall.ensure(&mut socket)?;
    let host = netlink::list_addresses(&mut socket).map_err(NetworkError::kernel("list addresses"))?;
    let mut pair = Pair { name: host_end(box_id), index: InterfaceIndex(0), socket, armed: false };
    let inside = pair.make(namespace, &ready, firewall.resolver.is_some_and(|r| r.is_loopback()))?;
    let (ipv4, ipv6) = pair.route(&ready)?;
    let addresses = Addresses { ipv4, ipv6 };
    let refusals = forbidden::refusals(&host, ipv6);
    in_box(namespace, move || {
        Socket::open(Protocol::Policy)
            .and_then(|mut policies| policies.apply(refusals))
            .map_err(NetworkError::kernel("keep the sandbox away from the host"))?;
        // Nothing passes before that.
        match behind {
            None => configure_inside(inside, addresses, &ready),
            Some(behind) => behind.configure(inside, addresses, &ready),
        }
    })?;
    pair.wait_operational()?;
    pair.armed = false;
    Ok(Connected { ipv4: Some(ipv4), ipv6, helper_pid: None })
}

/// The pair while it is not finished: removed again on the way out of an error.
struct Pair {
    name: String,
    index: InterfaceIndex,
    socket: Socket,
    armed: bool,
}

impl Drop for Pair {
    fn drop(&mut self) {
        if self.armed
            && let Err(error) = netlink::remove_link(&mut self.socket, &self.name)
        {
            tracing::warn!(interface = %self.name, %error, "an interface was left behind");
        }
    }
}

impl Pair {
    /// Makes it and switches the host's end on; the number of the box's end.
    fn make(
        &mut self,
        namespace: BorrowedFd<'_>,
        ready: &Ready,
        loopback_resolver: bool,
    ) -> Result<InterfaceIndex, NetworkError> {
        let action = "make the sandbox's network interface";
        let create = netlink::new_veth(&self.name, INSIDE, namespace, HARDWARE_ADDRESS);
        self.socket.apply(vec![create]).map_err(NetworkError::kernel(action))?;
        self.armed = true;
        if ready.ipv6 {
            // No router is ever heard on this interface.
            forwarding::write(&format!("ipv6/conf/{}/accept_ra", self.name), 0)?;
        }
        let mut settings = vec![
            (Ipv4Setting::Forwarding, 1),
            (Ipv4Setting::ReversePathFilter, 1),
            (Ipv4Setting::AcceptRedirects, 0),
            (Ipv4Setting::SendRedirects, 0),
        ];
        if loopback_resolver {
            settings.push((Ipv4Setting::RouteLocalnet, 1));
        }
        let requests = vec![
            netlink::veth_end(&self.name, &settings, ready.ipv6),
            netlink::set_link_up(&self.name),
            LinkAnswer::request(&self.name),
        ];
        let mut found = None;
        self.socket
            .exchange(requests, |_, payload| found = LinkAnswer::parse(payload))
            .map_err(NetworkError::kernel(action))?;
        let (index, peer) = found
            .and_then(|link| Some((link.index, link.peer?)))
            .ok_or(NetlinkError::Malformed { action })
            .map_err(NetworkError::kernel(action))?;
        self.index = index;
        Ok(peer)
    }

    /// Waits until the host's end passes packets. When its other end is switched on, the kernel leaves the rest to a worker
    /// of its own (since Linux 6.8 the question itself completes it): an answer that came before would be lost, and a
    /// second with it.
    fn wait_operational(&mut self) -> Result<(), NetworkError> {
        let deadline = Instant::now() + OPERATIONAL_LIMIT;
        loop {
            let link = netlink::get_link(&mut self.socket, &self.name)
                .map_err(NetworkError::kernel("watch the sandbox's network interface"))?;
            if link.operational {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(NetworkError::NotOperational { name: self.name.clone() });
            }
            std::thread::yield_now();
        }
    }

    fn host_route(&self, address: IpAddr) -> Message {
        netlink::new_route(RouteTarget::single(address), self.index)
    }

    /// Finds a free address and routes it to the pair. The kernel is the arbiter: a route to a taken address is
    /// refused.
    fn route(&mut self, ready: &Ready) -> Result<(Ipv4Addr, Option<Ipv6Addr>), NetworkError> {
        for _ in 0..ATTEMPTS {
            let (ipv4, ipv6) = ready.range.draw()?;
            let mut requests = vec![self.host_route(ipv4.into())];
            if ready.ipv6 {
                requests.push(self.host_route(ipv6.into()));
            }
            match self.socket.apply(requests) {
                Ok(()) => return Ok((ipv4, ready.ipv6.then_some(ipv6))),
                // A route of this try that was not refused stays until the pair goes: it leads to this box, harmlessly.
                Err(NetlinkError::Refused(Refusal { source: Errno::EXIST, .. })) => {}
                Err(error) => return Err(NetworkError::kernel("route the sandbox's address")(error)),
            }
        }
        Err(NetworkError::NoFreeAddress { range: ready.range.to_string(), attempts: ATTEMPTS })
    }
}

/// A box's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) ipv4: Ipv4Addr,
    pub(super) ipv6: Option<Ipv6Addr>,
}

impl Addresses {
    pub(super) fn all(self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.ipv4.into()).chain(self.ipv6.map(IpAddr::from))
    }

    /// The routes to everywhere, of each version that there is an address of.
    pub(super) fn ways_out(self, inside: InterfaceIndex) -> impl Iterator<Item = Message> {
        let ipv6 = self.ipv6.map(|_| IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let all = std::iter::once(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).chain(ipv6);
        all.map(move |everywhere| way_out(everywhere, inside))
    }
}

fn in_box(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<(), NetworkError> + Send,
) -> Result<(), NetworkError> {
    netlink::in_network_namespace(namespace, work).map_err(NetworkError::kernel(CONFIGURE))?
}

/// Inside the box: its addresses, and the way out.
fn configure_inside(inside: InterfaceIndex, addresses: Addresses, ready: &Ready) -> Result<(), NetworkError> {
    let mut requests = vec![netlink::veth_end(INSIDE, &[], ready.ipv6)];
    requests.extend(addresses.all().map(|address| netlink::new_address(address, inside)));
    requests.push(netlink::set_link_up(INSIDE));
    requests.extend(addresses.ways_out(inside));
    Socket::open(Protocol::Route)
        .and_then(|mut socket| socket.apply(requests))
        .map_err(NetworkError::kernel(CONFIGURE))
}

/// The default route. It needs no gateway's address: on a pair whatever is sent arrives at the other end.
fn way_out(everywhere: IpAddr, inside: InterfaceIndex) -> Message {
    netlink::new_route(RouteTarget { address: everywhere, prefix: 0 }, inside)
}
