//! What the boxes' network does to the host: its rules, its forwarding, its resolver.

use std::time::{Duration, Instant};

use super::world::{HOST, Namespace, PATIENCE, SERVER, SERVER_IPV6, World, forget_refusals, new_box, shell};
use crate::program;

const PLAIN: &str = "nameserver 203.0.113.9\n";

#[test]
fn flushed_rules_are_installed_again_before_the_next_box() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let (first, _) = world.new_box(&network, "1111111111111111");
    for (number, harm) in [
        "nft flush ruleset",
        "nft flush chain inet agentkernel to_host",
        "nft delete table inet agentkernel",
        "nft insert rule inet agentkernel to_host accept",
        "nft add chain inet agentkernel to_host '{ policy accept; }'; nft flush table inet agentkernel",
    ]
    .into_iter()
    .enumerate()
    {
        world.host.run(|| shell(harm));
        // The box's own routes hold out.
        first.cannot_call("198.51.100.2:9090");
        first.cannot_call("169.254.169.254:8080");
        let (second, _) = world.new_box(&network, &format!("2{number}22222222222222"));
        forget_refusals(&second);
        second.cannot_call("198.51.100.2:9090");
        for inside in [&first, &second] {
            assert_eq!(inside.call(SERVER).as_deref(), Some(HOST), "after {harm}");
        }
    }
}

#[test]
fn without_rules_there_is_no_network() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let inside = new_box();
    // Nobody may install rules here any more: the record's folder is a file.
    std::fs::write(world.folder.path().join("run"), "").unwrap();
    let error = world.connect(&network, &inside, "1111111111111111").unwrap_err();
    assert!(error.to_string().contains("network-"), "{error}");
    assert_eq!(world.host.box_interfaces(), [""; 0]);
    assert_eq!(world.host.setting("ipv4/conf/up0/forwarding"), "0");
}

/// A neighbour on a second interface of the host, whom the Internet knows the way back to.
fn neighbour(world: &World) -> Namespace {
    let lan = Namespace::new("-n");
    world.host.ip(&format!(
        "link add lan0 type veth peer name up0 netns {}\n\
         addr add 192.0.2.1/24 dev lan0\n\
         addr add 2001:db8:2::1/64 dev lan0 nodad\n\
         link set lan0 up",
        lan.pid()
    ));
    lan.ip("link set lo up\n\
         addr add 192.0.2.7/24 dev up0\n\
         addr add 2001:db8:2::7/64 dev up0 nodad\n\
         link set up0 up\n\
         route add default via 192.0.2.1\n\
         -6 route add default via 2001:db8:2::1");
    world
        .internet
        .ip("route add 192.0.2.0/24 via 198.51.100.2\n-6 route add 2001:db8:2::/64 via 2001:db8:1::2");
    lan
}

#[test]
fn a_host_that_was_no_router_does_not_become_one() {
    let Some(world) = World::new() else { return };
    let lan = neighbour(&world);
    let network = world.network(PLAIN);
    lan.cannot_call(SERVER);
    let (inside, connected) = world.new_box(&network, "1111111111111111");
    assert_eq!(inside.call(SERVER).as_deref(), Some(HOST));
    inside.serve("[::]:7070");
    for closed in [SERVER, SERVER_IPV6, &format!("{}:7070", connected.ipv4.unwrap())] {
        lan.cannot_call(closed);
    }
    // Also when the rules are made anew, when forwarding is on already.
    world.host.run(|| shell("nft flush ruleset"));
    let (_second, _) = world.new_box(&network, "2222222222222222");
    lan.cannot_call(SERVER);
    lan.cannot_call(SERVER_IPV6);
    // The interfaces stay a host's: they go on listening to router advertisements.
    for (setting, value) in [
        ("ipv4/ip_forward", "0"),
        ("ipv6/conf/up0/forwarding", "0"),
        ("ipv6/conf/up0/accept_ra", "1"),
        ("ipv6/conf/default/forwarding", "0"),
        ("ipv6/conf/ak-111111111111/accept_ra", "0"),
    ] {
        assert_eq!(world.host.setting(setting), value, "{setting}");
    }
    // When its administrator makes it a router, it is one from the next box on.
    world.host.set("ipv4/ip_forward", "1");
    world.host.set("ipv6/conf/all/forwarding", "1");
    let (_third, _) = world.new_box(&network, "3333333333333333");
    assert_eq!(lan.call(SERVER).as_deref(), Some("192.0.2.7"));
    assert_eq!(lan.call(SERVER_IPV6).as_deref(), Some("2001:db8:2::7"));
    lan.cannot_call(&format!("{}:7070", connected.ipv4.unwrap()));
}

#[test]
fn a_router_stays_one() {
    let Some(world) = World::new() else { return };
    let lan = neighbour(&world);
    world.host.set("ipv4/ip_forward", "1");
    world.host.set("ipv6/conf/all/forwarding", "1");
    let (inside, _) = world.new_box(&world.network(PLAIN), "1111111111111111");
    assert_eq!(inside.call(SERVER).as_deref(), Some(HOST));
    assert_eq!(lan.call(SERVER).as_deref(), Some("192.0.2.7"));
    assert_eq!(lan.call(SERVER_IPV6).as_deref(), Some("2001:db8:2::7"));
}

#[test]
fn a_learnt_default_route_survives() {
    let Some(world) = World::new() else { return };
    // As from a router advertisement: such routes are dropped when an interface becomes a router's.
    world
        .host
        .ip("-6 route del default\n-6 route add default via 2001:db8:1::1 dev up0 proto ra expires 600");
    let (inside, _) = world.new_box(&world.network(PLAIN), "1111111111111111");
    assert!(inside.call(SERVER_IPV6).is_some());
}

#[test]
fn a_new_uplink_is_noticed() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    world.host.ip("link set up0 down");
    let (_first, _) = world.new_box(&network, "1111111111111111");
    world.host.ip("link set up0 up\nroute add default via 198.51.100.1");
    let (second, _) = world.new_box(&network, "2222222222222222");
    assert_eq!(second.call(SERVER).as_deref(), Some(HOST));
}

#[test]
fn a_foreign_firewall_that_drops_what_it_does_not_know_is_passed() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let (inside, _) = world.new_box(&network, "1111111111111111");
    world.host.run(|| {
        shell(
            "nft 'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }'",
        );
    });
    inside.cannot_call(SERVER);
    for id in ["2222222222222222", "3333333333333333"] {
        let (second, _) = world.new_box(&network, id);
        assert_eq!(second.call(SERVER).as_deref(), Some(HOST));
        second.cannot_call("198.51.100.2:9090");
    }
    let listing =
        world.host.run(|| std::process::Command::new("nft").args(["list", "table", "ip", "filter"]).output());
    let listing = String::from_utf8(listing.unwrap().stdout).unwrap();
    assert_eq!(listing.matches("agentkernel sandboxes").count(), 2, "{listing}");
}

#[test]
fn iptables_goes_on_reading_the_chains_that_were_opened() {
    let Some(world) = World::new() else { return };
    if program::find("iptables-nft").is_none() {
        println!("SKIPPED: the program iptables-nft is missing");
        return;
    }
    world.host.serve_udp("127.0.0.53:53");
    let network = world.network("nameserver 127.0.0.53\n");
    world.host.run(|| shell("for chain in INPUT FORWARD; do iptables-nft -P $chain DROP; done"));
    let (inside, connected) = world.new_box(&network, "1111111111111111");
    assert_eq!(inside.call(SERVER).as_deref(), Some(HOST));
    assert_eq!(inside.ask("192.0.0.53:53", PATIENCE).as_deref(), Some("127.0.0.1"));
    inside.cannot_call("198.51.100.2:9090");
    let listing = world.host.run(|| std::process::Command::new("iptables-nft").arg("-S").output()).unwrap();
    let text = String::from_utf8(listing.stdout).unwrap();
    assert!(listing.status.success(), "{}", String::from_utf8_lossy(&listing.stderr));
    assert_eq!(text.matches("--comment \"agentkernel sandboxes\" -j ACCEPT").count(), 4, "{text}");
    // What is open there is still closed by the rules of our own.
    inside.serve("[::]:7070");
    world.internet.ip("route add 10.0.0.0/8 via 198.51.100.2");
    world.host.run(|| shell("echo 1 >/proc/sys/net/ipv4/ip_forward"));
    let (_second, _) = world.new_box(&network, "2222222222222222");
    world.internet.cannot_call(&format!("{}:7070", connected.ipv4.unwrap()));
}

#[test]
fn a_resolver_on_the_host_s_loopback_answers_and_nothing_else_does() {
    let Some(world) = World::new() else { return };
    for (nameserver, number) in [("127.0.0.53", 1), (HOST, 2)] {
        world.host.serve_udp(&format!("{nameserver}:53"));
        world.host.serve(&format!("{nameserver}:53"));
        world.host.serve(&format!("{nameserver}:8081"));
        let network = world.network(&format!("nameserver {nameserver}\n"));
        let text = String::from_utf8(network.resolv_conf()).unwrap();
        assert!(text.ends_with("nameserver 192.0.0.53\n"), "{text}");
        let (inside, _) = world.new_box(&network, &format!("{number}111111111111111"));
        let source = if number == 1 { "127.0.0.1" } else { HOST };
        assert_eq!(inside.ask("192.0.0.53:53", PATIENCE).as_deref(), Some(source));
        assert_eq!(inside.call("192.0.0.53:53").as_deref(), Some(source));
        forget_refusals(&inside);
        for closed in ["192.0.0.53:8081", "127.0.0.53:53", "198.51.100.2:9090", "198.51.100.2:8081"] {
            inside.cannot_call(closed);
        }
        inside.cannot_ask("198.51.100.2:53");
        assert_eq!(inside.call(SERVER).as_deref(), Some(HOST));
    }
}

/// Prints what a connection costs; no limit, since other work on the machine decides too.
#[test]
fn the_cost_of_a_connection_is_printed() {
    let Some(world) = World::new() else { return };
    let network = world.network(PLAIN);
    let boxes: Vec<_> = (0..50).map(|_| new_box()).collect();
    let mut costs: Vec<Duration> = boxes
        .iter()
        .enumerate()
        .map(|(number, inside)| {
            world.host.run(|| {
                let start = Instant::now();
                let id = format!("{number:03}0000000000000");
                network.connect(std::os::fd::AsFd::as_fd(&inside.file), inside.pid(), &id).unwrap();
                start.elapsed()
            })
        })
        .collect();
    let first = costs.remove(0);
    costs.sort_unstable();
    println!("connect: first {first:?}, then min {:?} median {:?} p95 {:?}", costs[0], costs[24], costs[46]);
}
