//! Reach of the network. No case sends anything to another machine.

use agentkernel_model::NetworkAccess;

use super::super::ask::shell;
use super::super::scene::Scene;

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
    let inside = shell(&*guest, "readlink /proc/self/ns/net").await;
    let outside = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
    assert_ne!(inside.trim(), outside.to_string_lossy(), "the host's own network namespace");
}
