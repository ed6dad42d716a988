//! The rules as `nft` shows them, held against a text that says them in its language: what was written as bytes is what
//! was meant.

use std::net::Ipv4Addr;
use std::process::Command;

use agentkernel_sys::netlink::nftables::{Batch, InterfaceName};
use agentkernel_sys::netlink::{Protocol, Socket};

use super::world::{Namespace, shell};
use crate::program;
use crate::range::Range;
use crate::rules::Rules;

/// With everything in it.
const TEXT: &str = r#"
table inet agentkernel {
    chain source {
        type filter hook prerouting priority raw; policy accept;
        iifname "ak-*" ip saddr != 10.213.0.0/16 drop
        iifname "ak-*" ip6 saddr != fd8b:3c61:7e42:ac5e::/64 drop
        iifname "ak-*" fib saddr . iif oif missing drop
        iifname "ak-*" ip daddr 127.0.0.0/8 drop
    }
    chain destination {
        type filter hook prerouting priority mangle; policy accept;
        iifname != "ak-*" accept
        ct state established,related accept
        fib daddr type local drop
        ip daddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 100.100.100.200, 224.0.0.0/4, 240.0.0.0/4, 10.213.0.0/16 } drop
        ip6 daddr { ::/96, ::ffff:0:0/96, fe80::/10, fd00:ec2::254, fd20:ce::254, ff00::/8, 64:ff9b::7f00:0/104,
            64:ff9b::a9fe:0/112, 64:ff9b::6464:64c8, fd8b:3c61:7e42:ac5e::/64 } drop
    }
    chain resolver {
        type nat hook prerouting priority dstnat; policy accept;
        iifname "ak-*" ip daddr 192.0.0.53 udp dport 53 dnat ip to 127.0.0.53:53
        iifname "ak-*" ip daddr 192.0.0.53 tcp dport 53 dnat ip to 127.0.0.53:53
    }
    chain resolver_source {
        type nat hook input priority 100; policy accept;
        iifname "ak-*" ip daddr 127.0.0.53 ct status dnat snat ip to 127.0.0.1
    }
    chain translation {
        type nat hook postrouting priority srcnat; policy accept;
        oifname != "ak-*" ip saddr 10.213.0.0/16 masquerade
        oifname != "ak-*" ip6 saddr fd8b:3c61:7e42:ac5e::/64 masquerade
    }
    chain to_host {
        type filter hook input priority filter - 1; policy accept;
        iifname != "ak-*" accept
        ct status dnat ip daddr 127.0.0.53 udp dport 53 accept
        ct status dnat ip daddr 127.0.0.53 tcp dport 53 accept
        ct state established,related accept
        reject with icmpx type admin-prohibited
    }
    chain guard {
        ct state established,related accept
        ct status dnat accept
        drop
    }
    chain from_box {
        oifname "ak-*" reject with icmpx type admin-prohibited
        ct state invalid drop
        accept
    }
    chain forward {
        type filter hook forward priority filter - 1; policy accept;
        iifname "ak-*" jump from_box
        oifname "ak-*" ct state established,related accept
        oifname "ak-*" drop
        meta nfproto ipv4 iifname { "eth0", "wlan0" } jump guard
        meta nfproto ipv6 jump guard
    }
}
"#;

#[test]
fn the_rules_are_listed_as_they_were_meant() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: a network namespace needs root");
        return;
    }
    if program::find("nft").is_none() {
        println!("SKIPPED: the program nft is missing");
        return;
    }
    let rules = Rules {
        range: Range::choose(&[], None, false).unwrap(),
        ipv6: true,
        resolver: Some(Ipv4Addr::new(127, 0, 0, 53)),
        guarded_ipv4: ["eth0", "wlan0"].map(|name| InterfaceName::new(name).unwrap()).into(),
        guarded_ipv6: true,
    };
    let host = Namespace::new("-n");
    host.run(|| {
        let mut filter = Socket::open(Protocol::Netfilter).unwrap();
        filter.commit(&Batch::new().replace_table(&rules.table())).unwrap();
    });
    let written = listing(&host);
    host.run(|| shell(&format!("nft flush ruleset; nft -f - <<'END'\n{TEXT}END\n")));
    assert_eq!(written, listing(&host));
}

fn listing(host: &Namespace) -> String {
    let output = host.run(|| Command::new("nft").args(["list", "ruleset"]).output()).unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
