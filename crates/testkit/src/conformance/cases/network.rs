//! Reach of the network. No case sends anything to another machine.

use std::net::TcpListener;

use agentkernel_model::NetworkAccess;

use super::super::ask::shell;
use super::super::scene::Scene;

/// A socket's state in proc_pid_net(5): TCP_LISTEN.
const LISTEN: &str = "0A";

pub(in super::super) async fn none_is_loopback_only(scene: &Scene) {
    let guest = scene.guest().await;
    let devices = shell(&*guest, "cat /proc/net/dev").await;
    let names: Vec<&str> =
        devices.lines().filter_map(|line| line.split_once(':').map(|(name, _)| name.trim())).collect();
    assert_eq!(names, ["lo"], "{devices}");
    let routes = shell(&*guest, "cat /proc/net/route").await;
    assert!(routes.lines().count() <= 1, "a route leads out: {routes}");
}

pub(in super::super) async fn on_has_a_route(scene: &Scene) {
    let guest = scene.guest_with(|spec| spec.network = NetworkAccess::On).await;
    let routes = shell(&*guest, "cat /proc/net/route").await;
    let default = routes.lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    assert!(default, "no default route: {routes}");
    let resolver = shell(&*guest, "cat /etc/resolv.conf").await;
    assert!(resolver.lines().any(|line| line.starts_with("nameserver ")), "no resolver: {resolver}");
}

pub(in super::super) async fn on_is_not_the_hosts(scene: &Scene) {
    let guest = scene.guest_with(|spec| spec.network = NetworkAccess::On).await;
    // The number of its namespace would not tell: each kernel's first one has the same.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the host's loopback");
    let port = listener.local_addr().expect("its address").port();
    let listens = |sockets: &str| {
        sockets.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            matches!(fields[..], [_, local, _, LISTEN, ..] if local.ends_with(&format!(":{port:04X}")))
        })
    };
    assert!(listens(&std::fs::read_to_string("/proc/net/tcp").expect("the host's sockets")));
    let inside = shell(&*guest, "cat /proc/net/tcp").await;
    assert!(!listens(&inside), "the host's own network namespace: {inside}");
}
