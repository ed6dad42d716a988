//! The filter of a container that somebody else has connected ([`container_egress`]): sent by a process inside, as the
//! guest agent sends it.

use std::net::IpAddr;
use std::time::Instant;

use agentkernel_sys::netlink::{ContainerEgress, RouteTarget, container_egress, container_egress_verdict};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::world::{HOST, METADATA, Namespace, PATIENCE, SERVER, SERVER_IPV6, World, shell};

/// The container's network, as an engine makes it: a link to the host, which forwards.
fn container(world: &World, name: &str, number: u8) -> Namespace {
    let inside = Namespace::new("-n");
    world.host.ip(&format!(
        "link add {name} type veth peer name eth0 netns {}\n\
         addr add 172.17.{number}.1/24 dev {name}\n\
         addr add fd00:77:{number}::1/64 dev {name} nodad\n\
         link set {name} up",
        inside.pid()
    ));
    inside.ip(&format!(
        "link set lo up\n\
         addr add 172.17.{number}.2/24 dev eth0\n\
         addr add fd00:77:{number}::2/64 dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via 172.17.{number}.1\n\
         -6 route add default via fd00:77:{number}::1"
    ));
    inside.serve("[::]:7070");
    inside
}

/// As the agent does it, in few lines.
fn send(inside: &Namespace, bytes: &[u8]) -> Option<Result<(), Errno>> {
    inside.run(|| {
        let (raw, cloexec) = (SocketType::RAW, SocketFlags::CLOEXEC);
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, raw, cloexec, Some(NETFILTER)).unwrap();
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0)).unwrap();
        assert_eq!(rustix::net::send(&socket, bytes, SendFlags::empty()).unwrap(), bytes.len());
        let mut answer = [0_u8; 256];
        let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty()).unwrap();
        container_egress_verdict(&answer[..length])
    })
}

#[test]
fn a_container_reaches_the_internet_and_nothing_of_its_host() {
    let Some(world) = World::new() else { return };
    let inside = container(&world, "c0", 1);
    let _neighbour = container(&world, "c1", 2);
    world.host.run(|| {
        shell("echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
    });
    world
        .internet
        .ip("route add 172.17.0.0/16 via 198.51.100.2\n-6 route add fd00:77::/32 via 2001:db8:1::2");
    world.host.serve_udp("198.51.100.2:53");
    let host: [IpAddr; 6] =
        [HOST, "2001:db8:1::2", "172.17.1.1", "fd00:77:1::1", "172.17.2.1", "fd00:77:2::1"]
            .map(|address| address.parse().unwrap());
    let closed = [
        "198.51.100.2:9090",
        "[2001:db8:1::2]:9090",
        "172.17.1.1:9090",
        "[fd00:77:1::1]:9090",
        "172.17.2.2:7070",
        "[fd00:77:2::2]:7070",
    ];
    for address in closed.iter().chain(&METADATA) {
        assert!(inside.call(address).is_some(), "{address} can't be reached before");
    }
    let mut refused: Vec<RouteTarget> = host.map(RouteTarget::single).into();
    refused.push(RouteTarget { address: "172.17.0.0".parse().unwrap(), prefix: 16 });
    refused.push(RouteTarget { address: "fd00:77::".parse().unwrap(), prefix: 32 });
    let egress = ContainerEgress { resolvers: &[host[0]], refused: &refused };
    // Twice: the second takes the place of the first.
    for _ in 0..2 {
        assert_eq!(send(&inside, &container_egress(&egress)), Some(Ok(())));
    }
    for address in closed.iter().chain(&METADATA) {
        let start = Instant::now();
        inside.cannot_call(address);
        assert!(start.elapsed().as_millis() < 300, "{address} was refused in silence");
    }
    // Nobody is found by what was known before.
    inside.ip("neigh flush all");
    assert!(inside.call(SERVER).is_some() && inside.call(SERVER_IPV6).is_some());
    assert!(inside.call("127.0.0.1:7070").is_some() && inside.call("[::1]:7070").is_some());
    assert!(inside.ask("198.51.100.2:53", PATIENCE).is_some());
    inside.cannot_ask("198.51.100.2:9053");
    world.host.cannot_call("172.17.1.2:7070");
    world.host.cannot_call("[fd00:77:1::2]:7070");
    inside
        .run(|| shell("ip route add 127.0.0.0/8 dev eth0 table 7; ip rule add pref 0 to 127.0.0.2 table 7"));
    inside.cannot_call("127.0.0.2:9090");
}
