//! What a box of root reaches, and what not.

use std::net::SocketAddr;

use super::world::{
    HOST, HOST_IPV6, METADATA, PATIENCE, SERVER, SERVER_IPV6, World, forget_refusals, new_box, shell,
    wait_until,
};

const PLAIN: &str = "nameserver 203.0.113.9\n";

#[test]
fn a_box_reaches_the_internet_as_the_host() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let (inside, connected) = world.new_box(&network, "0011223344556677");
    assert_eq!(inside.call(SERVER).as_deref(), Some(HOST));
    assert_eq!(inside.call(SERVER_IPV6).as_deref(), Some(HOST_IPV6));
    assert!(connected.ipv6.is_some() && connected.helper_pid.is_none());
    assert_eq!(
        String::from_utf8(network.resolv_conf()).unwrap().lines().last(),
        Some("nameserver 203.0.113.9")
    );
    assert_eq!(inside.ask("203.0.113.9:53", PATIENCE).as_deref(), Some(HOST));
    assert_eq!(world.host.box_interfaces(), ["ak-001122334455"]);
}

#[test]
fn a_box_reaches_nothing_of_the_host_and_no_metadata() {
    let Some(world) = World::new() else { return };
    let (inside, _) = world.new_box(&world.network(PLAIN), "0011223344556677");
    let own = [format!("{HOST}:9090"), format!("[{HOST_IPV6}]:9090")];
    let loopback = ["127.0.0.1:8080", "127.0.0.2:9090", "[::1]:8080", "0.0.0.0:9090", "[::]:9090"];
    let mapped = ["[::ffff:127.0.0.1]:8080", "[::ffff:198.51.100.2]:9090", "[::ffff:169.254.169.254]:8080"];
    for address in own.iter().map(String::as_str).chain(METADATA) {
        assert!(world.host.call(address).is_some(), "the host itself does not reach {address}");
        inside.cannot_call(address);
    }
    for address in loopback.into_iter().chain(mapped) {
        inside.cannot_call(address);
    }
    assert!(world.host.ask("198.51.100.2:9053", PATIENCE).is_some());
    inside.cannot_ask("198.51.100.2:9053");
    // Without the box's own refusing routes the host's rules still hold.
    forget_refusals(&inside);
    for address in own.iter().map(String::as_str).chain(METADATA) {
        inside.cannot_call(address);
    }
    inside.cannot_ask("198.51.100.2:9053");
    // Nor does a route to loopback addresses help.
    inside.run(|| {
        shell("ip link set lo down; ip route flush table local; ip route add 127.0.0.0/8 dev eth0");
        shell("echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet");
    });
    inside.cannot_call("127.0.0.1:8080");
}

#[test]
fn a_port_of_the_host_that_leads_elsewhere_is_the_host_s() {
    let Some(world) = World::new() else { return };
    let (inside, _) = world.new_box(&world.network(PLAIN), "0011223344556677");
    // As container software publishes ports, and as clusters stand in for the metadata service.
    world.host.run(|| {
        shell(
            "nft -f - <<'END'\n\
             table ip nat {\nchain pre {\ntype nat hook prerouting priority -100;\n\
             ip daddr { 198.51.100.2, 169.254.169.254 } tcp dport 80 dnat to 203.0.113.9:8080\n\
             }\n}\nEND\n",
        );
    });
    forget_refusals(&inside);
    for address in [&format!("{HOST}:80"), "169.254.169.254:80"] {
        inside.cannot_call(address);
    }
    assert_eq!(inside.call(SERVER).as_deref(), Some(HOST));
}

#[test]
fn a_socket_bound_to_the_interface_is_refused_too() {
    let Some(world) = World::new() else { return };
    let (inside, _) = world.new_box(&world.network(PLAIN), "0011223344556677");
    // The first call waits for the host and its neighbour to find one another.
    assert_eq!(inside.call(SERVER_IPV6).as_deref(), Some(HOST_IPV6));
    assert_eq!(inside.call_through("eth0", SERVER), HOST);
    assert_eq!(inside.call_through("eth0", SERVER_IPV6), HOST_IPV6);
    world.host.run(|| shell("nft flush ruleset"));
    let own = [format!("{HOST}:9090"), format!("[{HOST_IPV6}]:9090")];
    for address in own.iter().map(String::as_str).chain(METADATA) {
        assert_eq!(inside.call_through("eth0", address), rustix::io::Errno::PERM.raw_os_error().to_string());
    }
}

#[test]
fn boxes_do_not_reach_one_another() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let (one, _) = world.new_box(&network, "1111111111111111");
    let (other, connected) = world.new_box(&network, "2222222222222222");
    other.serve("[::]:7070");
    for inside in [&one, &other] {
        forget_refusals(inside);
    }
    for address in
        [SocketAddr::from((connected.ipv4.unwrap(), 7070)), SocketAddr::from((connected.ipv6.unwrap(), 7070))]
    {
        assert!(world.host.call(&address.to_string()).is_some(), "the host itself does not reach {address}");
        one.cannot_call(&address.to_string());
    }
}

#[test]
fn a_box_speaks_with_its_own_address_only() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let (inside, connected) = world.new_box(&network, "1111111111111111");
    let (_other, neighbour) = world.new_box(&network, "2222222222222222");
    let (own, stolen) = (connected.ipv4.unwrap(), neighbour.ipv4.unwrap());
    for (own, stolen, server) in [
        (own.to_string(), stolen.to_string(), SERVER),
        (own.to_string(), "192.0.2.77".to_owned(), SERVER),
        (connected.ipv6.unwrap().to_string(), neighbour.ipv6.unwrap().to_string(), SERVER_IPV6),
        (connected.ipv6.unwrap().to_string(), "2001:db8:7::7".to_owned(), SERVER_IPV6),
    ] {
        let nodad = if own.contains(':') { "nodad" } else { "" };
        inside.run(|| shell(&format!("ip addr del {own} dev eth0; ip addr add {stolen} dev eth0 {nodad}")));
        inside.cannot_call(server);
        inside.run(|| shell(&format!("ip addr del {stolen} dev eth0; ip addr add {own} dev eth0 {nodad}")));
        inside.run(|| shell("ip route replace default dev eth0; ip -6 route replace default dev eth0"));
        assert!(inside.call(server).is_some(), "{own} again");
    }
}

#[test]
fn all_goes_with_the_box() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let (inside, connected) = world.new_box(&network, "0011223344556677");
    assert_eq!(world.host.box_interfaces().len(), 1);
    drop(inside);
    wait_until("the interface's removal", || world.host.box_interfaces().is_empty());
    let routes = world.host.run(|| std::process::Command::new("ip").args(["route"]).output().unwrap());
    let routes = String::from_utf8(routes.stdout).unwrap();
    assert!(!routes.contains(&connected.ipv4.unwrap().to_string()), "{routes}");
    assert_eq!(world.host.run(|| network.reclaim("0011223344556677")).unwrap(), None);
}

#[test]
fn a_dead_box_s_interface_is_reclaimed_by_its_id() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let (_inside, _) = world.new_box(&network, "0011223344556677");
    let removed = world.host.run(|| network.reclaim("0011223344556677")).unwrap();
    assert_eq!(removed.as_deref(), Some("network interface ak-001122334455"));
    assert_eq!(world.host.box_interfaces(), [""; 0]);
}

#[test]
fn a_failure_half_way_leaves_nothing() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let inside = new_box();
    // The box's end can't be named so: the name is taken inside.
    inside.ip("link add eth0 type veth peer name other");
    let error = world.connect(&network, &inside, "0011223344556677").unwrap_err();
    assert!(error.to_string().contains("interface"), "{error}");
    assert_eq!(world.host.box_interfaces(), [""; 0]);
}

#[test]
fn many_at_once_get_an_address_each() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let boxes: Vec<_> = (0..10).map(|_| new_box()).collect();
    let mut addresses: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = boxes
            .iter()
            .enumerate()
            .map(|(number, inside)| {
                let (world, network) = (&world, &network);
                scope.spawn(move || world.connect(network, inside, &format!("{number:016x}")))
            })
            .collect();
        // The first twelve digits of these ids are the same: only one can have the name.
        threads.into_iter().map(|thread| thread.join().unwrap()).filter_map(Result::ok).collect()
    });
    assert_eq!(addresses.len(), 1);
    let more: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..10_u64)
            .map(|number| {
                let (world, network) = (&world, &network);
                scope.spawn(move || world.new_box(network, &format!("a{number}00000000000000")))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    addresses.extend(more.iter().map(|(_, connected)| connected.clone()));
    let mut seen: Vec<_> = addresses.iter().map(|connected| connected.ipv4.unwrap()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 11);
    for (inside, _) in &more {
        assert_eq!(inside.call(SERVER).as_deref(), Some(HOST));
    }
}
