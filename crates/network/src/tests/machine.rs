//! What a virtual machine reaches, and what not. In place of one, frames are carried between its TAP device and another
//! namespace, whose kernel does whatever the test says.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use agentkernel_sys::netlink;
use agentkernel_sys::tap::Tap;
use rustix::event::{PollFd, PollFlags, poll};

use super::world::{
    HOST, HOST_IPV6, METADATA, Namespace, PATIENCE, SERVER, SERVER_IPV6, World, forget_refusals, shell,
    wait_until,
};
use crate::{MachineNetwork, TAP};

const PLAIN: &str = "nameserver 203.0.113.9\n";
/// More than a packet and its header.
const FRAME: usize = 4096;

/// A kernel behind a machine's TAP device.
struct Machine {
    network: MachineNetwork,
    kernel: Namespace,
    /// They hold the TAP device, until the other is closed.
    carriers: Vec<JoinHandle<()>>,
    running: Option<OwnedFd>,
}

impl Machine {
    fn new(world: &World, id: &str) -> Self {
        let network = world.network(PLAIN);
        let network = world
            .host
            .run(|| network.connect_machine(id, 0))
            .unwrap_or_else(|error| panic!("{error}: {error:?}"));
        let kernel = Namespace::new("-n");
        let outer = netlink::in_network_namespace(network.namespace.as_fd(), || Tap::take(TAP));
        let inner = kernel.run(|| Tap::make("eth0")).unwrap();
        let (running, carriers) = carry(outer.unwrap().unwrap(), inner);
        let mac = network.hardware_address.map(|byte| format!("{byte:02x}")).join(":");
        kernel.ip(&format!(
            "link set lo up\nlink set eth0 address {mac} arp off\nlink set eth0 up\n\
             addr add {}/32 dev eth0\nroute add default dev eth0",
            network.ipv4
        ));
        if let Some(ipv6) = network.ipv6 {
            kernel.ip(&format!("addr add {ipv6}/128 dev eth0 nodad\n-6 route add default dev eth0"));
        }
        Self { network, kernel, carriers, running: Some(running) }
    }

    fn router<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netlink::in_network_namespace(self.network.namespace.as_fd(), work).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.running = None;
        for carrier in self.carriers.drain(..) {
            carrier.join().unwrap();
        }
    }
}

/// Carries frames both ways until the descriptor is closed.
fn carry(outer: Tap, inner: Tap) -> (OwnedFd, Vec<JoinHandle<()>>) {
    let (stopped, running) = std::io::pipe().unwrap();
    let (taps, stopped) = (Arc::new((outer, inner)), Arc::new(stopped));
    let threads = [false, true].map(|back| {
        let (taps, stopped) = (Arc::clone(&taps), Arc::clone(&stopped));
        std::thread::spawn(move || {
            let (from, to) = if back { (&taps.1, &taps.0) } else { (&taps.0, &taps.1) };
            let mut frame = [0; FRAME];
            loop {
                let mut ready = [
                    PollFd::from_borrowed_fd(from.frames().as_fd(), PollFlags::IN),
                    PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::IN),
                ];
                poll(&mut ready, None).unwrap();
                if !ready[1].revents().is_empty() {
                    return;
                }
                let Ok(length) = from.frames().read(&mut frame) else { return };
                // Refused while the other side is not up yet, as a cable that is not plugged in.
                to.frames().write_all(&frame[..length]).ok();
            }
        })
    });
    (running.into(), threads.into())
}

fn world() -> Option<World> {
    let world = World::new()?;
    if let Some(error) = agentkernel_sys::tap::problem() {
        println!("SKIPPED: a machine's network needs {}: {error}", agentkernel_sys::tap::DEVICE);
        return None;
    }
    Some(world)
}

#[test]
fn a_machine_reaches_the_internet_as_the_host() {
    let Some(world) = world() else { return };
    let machine = Machine::new(&world, "0011223344556677");
    assert_eq!(machine.kernel.call(SERVER).as_deref(), Some(HOST));
    assert_eq!(machine.kernel.call(SERVER_IPV6).as_deref(), Some(HOST_IPV6));
    assert_eq!(machine.kernel.ask("203.0.113.9:53", PATIENCE).as_deref(), Some(HOST));
    assert_eq!(world.host.box_interfaces(), ["ak-001122334455"]);
}

#[test]
fn a_machine_reaches_nothing_of_the_host_and_no_metadata() {
    let Some(world) = world() else { return };
    let machine = Machine::new(&world, "0011223344556677");
    let own = [format!("{HOST}:9090"), format!("[{HOST_IPV6}]:9090")];
    for address in own.iter().map(String::as_str).chain(METADATA) {
        assert!(world.host.call(address).is_some(), "the host itself does not reach {address}");
        machine.kernel.cannot_call(address);
    }
    machine.kernel.cannot_ask("198.51.100.2:9053");
    // The host's rules hold without the refusals of the namespace, which stands before the machine ...
    machine.router(|| shell("ip xfrm policy flush"));
    for address in own.iter().map(String::as_str).chain(METADATA) {
        machine.kernel.cannot_call(address);
    }
}

#[test]
fn what_is_passed_on_meets_the_refusals_without_the_host_s_rules() {
    let Some(world) = world() else { return };
    let machine = Machine::new(&world, "0011223344556677");
    assert_eq!(machine.kernel.call(SERVER_IPV6).as_deref(), Some(HOST_IPV6));
    world.host.run(|| shell("nft flush ruleset"));
    // Somebody who knows the way back: what else would keep an answer from the machine?
    let (ipv4, ipv6) = (machine.network.ipv4, machine.network.ipv6.unwrap());
    world.internet.ip(&format!("route add {ipv4} via {HOST}\n-6 route add {ipv6} via {HOST_IPV6}"));
    world.host.set("ipv4/ip_forward", "1");
    let own = [format!("{HOST}:9090"), format!("[{HOST_IPV6}]:9090")];
    for address in own.iter().map(String::as_str).chain(METADATA) {
        machine.kernel.cannot_call(address);
    }
    machine.kernel.cannot_ask("198.51.100.2:9053");
    assert_eq!(machine.kernel.call(SERVER).as_deref(), Some(&*ipv4.to_string()));
    // Without them there would be nothing.
    machine.router(|| shell("ip xfrm policy flush"));
    for address in own.iter().map(String::as_str).chain(METADATA) {
        assert!(machine.kernel.call(address).is_some(), "{address} is out of reach whatever is done");
    }
}

#[test]
fn machines_and_boxes_do_not_reach_one_another() {
    let Some(world) = world() else { return };
    let (one, other) = (Machine::new(&world, "1111111111111111"), Machine::new(&world, "2222222222222222"));
    let (inside, connected) = world.new_box(&world.network(PLAIN), "3333333333333333");
    other.kernel.serve("[::]:7070");
    inside.serve("[::]:7070");
    for machine in [&one, &other] {
        machine.router(|| shell("ip xfrm policy flush"));
    }
    forget_refusals(&inside);
    let addresses = [
        SocketAddr::from((other.network.ipv4, 7070)),
        SocketAddr::from((other.network.ipv6.unwrap(), 7070)),
        SocketAddr::from((connected.ipv4.unwrap(), 7070)),
        SocketAddr::from((connected.ipv6.unwrap(), 7070)),
    ];
    for address in addresses.map(|address| address.to_string()) {
        assert!(world.host.call(&address).is_some(), "the host itself does not reach {address}");
        one.kernel.cannot_call(&address);
    }
    one.kernel.serve("[::]:7070");
    inside.cannot_call(&SocketAddr::from((one.network.ipv4, 7070)).to_string());
}

#[test]
fn a_machine_speaks_with_its_own_address_only() {
    let Some(world) = world() else { return };
    let machine = Machine::new(&world, "1111111111111111");
    let other = Machine::new(&world, "2222222222222222");
    let (ipv4, ipv6) = (machine.network.ipv4.to_string(), machine.network.ipv6.unwrap().to_string());
    for (own, stolen, server) in [
        (&ipv4, other.network.ipv4.to_string(), SERVER),
        (&ipv4, "192.0.2.77".to_owned(), SERVER),
        (&ipv6, other.network.ipv6.unwrap().to_string(), SERVER_IPV6),
        (&ipv6, "2001:db8:7::7".to_owned(), SERVER_IPV6),
    ] {
        let nodad = if own.contains(':') { "nodad" } else { "" };
        let inside = &machine.kernel;
        inside.ip(&format!("addr del {own} dev eth0\naddr add {stolen} dev eth0 {nodad}"));
        inside.cannot_call(server);
        inside.ip(&format!("addr del {stolen} dev eth0\naddr add {own} dev eth0 {nodad}"));
        inside.ip("route replace default dev eth0\n-6 route replace default dev eth0");
        assert!(inside.call(server).is_some(), "{own} again");
    }
}

#[test]
fn the_namespace_before_a_machine_has_nothing_to_talk_to() {
    let Some(world) = world() else { return };
    let machine = Machine::new(&world, "1111111111111111");
    let addresses = machine.router(|| {
        let mut socket = netlink::Socket::open(netlink::Protocol::Route).unwrap();
        netlink::list_addresses(&mut socket).unwrap()
    });
    assert!(addresses.is_empty(), "{addresses:?}");
    // The host's own forwarding is as it was for boxes.
    assert_eq!(world.host.setting("ipv4/ip_forward"), "0");
}

#[test]
fn all_goes_with_the_machine() {
    let Some(world) = world() else { return };
    let machine = Machine::new(&world, "0011223344556677");
    assert_eq!(world.host.box_interfaces().len(), 1);
    drop(machine);
    wait_until("the interface's removal", || world.host.box_interfaces().is_empty());
    let machine = Machine::new(&world, "0011223344556677");
    let network = world.network(PLAIN);
    assert!(world.host.run(|| network.reclaim("0011223344556677")).unwrap().is_some());
    machine.kernel.cannot_call(SERVER);
}
