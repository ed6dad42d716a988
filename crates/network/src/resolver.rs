//! Which name servers a box asks: the host's own, as far as a box can reach them (resolv.conf(5)).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use agentkernel_sys::netlink::forbidden::is_forbidden;

use super::forbidden;

/// The settings of a box's resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolver {
    /// Asked directly, in this order.
    pub(super) nameservers: Vec<IpAddr>,
    /// An address of the host that answers for [`forbidden::RESOLVER`]; then `nameservers` holds only that.
    pub(super) translated_to: Option<Ipv4Addr>,
    /// `search`, `domain`, `options` and `sortlist` lines as they stand.
    lines: Vec<String>,
}

impl Resolver {
    /// From the host's `resolv.conf`, and from the list that systemd-resolved keeps of the real servers, used where the
    /// first names only a resolver on the host itself. `is_own` tells addresses of the host. Errors with the reason.
    pub(super) fn choose(
        primary: &str,
        upstream: Option<&str>,
        is_own: impl Fn(IpAddr) -> bool,
    ) -> Result<Self, String> {
        let servers = nameservers(primary);
        let reachable = |address: &IpAddr| !is_forbidden(*address) && !is_own(*address);
        let mut direct: Vec<IpAddr> = servers.iter().flatten().copied().filter(reachable).collect();
        let mut translated_to = None;
        let local = servers
            .iter()
            .flatten()
            .find(|address| address.is_loopback() || address.is_unspecified() || is_own(**address));
        if direct.is_empty() && local.is_some() {
            direct = upstream
                .map(nameservers)
                .unwrap_or_default()
                .into_iter()
                .flatten()
                .filter(reachable)
                .collect();
        }
        if direct.is_empty() && !servers.is_empty() {
            translated_to = Some(match local {
                Some(IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST,
                Some(IpAddr::V4(address)) => *address,
                Some(IpAddr::V6(address)) => {
                    return Err(format!(
                        "the host's only name server {address} is the host itself by IPv6, which a sandbox can't \
                         reach: give it an IPv4 address in /etc/resolv.conf too, or use `--no-network`"
                    ));
                }
                None => {
                    return Err("the host's name servers are link-local or metadata addresses, which a sandbox may not \
                                reach: name another one in /etc/resolv.conf, or use `--no-network`"
                        .to_owned());
                }
            });
            direct.push(forbidden::RESOLVER.into());
        }
        let lines = lines(primary)
            .filter(|(keyword, _)| matches!(*keyword, "search" | "domain" | "options" | "sortlist"))
            .map(|(keyword, rest)| format!("{keyword} {rest}"))
            .collect();
        Ok(Self { nameservers: direct, translated_to, lines })
    }

    /// The box's `/etc/resolv.conf`.
    pub(super) fn file(&self) -> Vec<u8> {
        let mut text = String::from("# made by agentkernel from the host's\n");
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        for server in &self.nameservers {
            // Writing to a String can't fail.
            writeln!(text, "nameserver {server}").ok();
        }
        text.into_bytes()
    }
}

/// The servers in order; None for one that is no plain address, such as `fe80::1%eth0`.
fn nameservers(text: &str) -> Vec<Option<IpAddr>> {
    lines(text)
        .filter(|(keyword, _)| *keyword == "nameserver")
        .map(|(_, rest)| rest.split_whitespace().next().and_then(|address| address.parse().ok()))
        .collect()
}

/// Keyword and the rest of each line; comments start with `#` or `;` in the first column.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter(|line| !line.starts_with(['#', ';'])).filter_map(|line| {
        let (keyword, rest) = line.trim().split_once(char::is_whitespace)?;
        Some((keyword, rest.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn choose(primary: &str, upstream: Option<&str>) -> Result<String, String> {
        let own: IpAddr = "192.168.1.1".parse().unwrap();
        Resolver::choose(primary, upstream, |address| address == own).map(|resolver| {
            let file = String::from_utf8(resolver.file()).unwrap();
            let rest = file.split_once('\n').unwrap().1.replace('\n', "|");
            format!("{rest}{}", resolver.translated_to.map(|to| format!(" -> {to}")).unwrap_or_default())
        })
    }

    #[test]
    fn a_box_asks_what_it_can_reach() {
        let cases = [
            (
                "nameserver 9.9.9.9\nsearch a.example b.example\noptions ndots:2\n",
                None,
                "search a.example b.example|options ndots:2|nameserver 9.9.9.9|",
            ),
            ("nameserver 127.0.0.1\nnameserver 9.9.9.9\n", None, "nameserver 9.9.9.9|"),
            (
                "nameserver 127.0.0.53\noptions edns0\n",
                Some("nameserver 10.0.0.2\nnameserver fe80::1%2\n"),
                "options edns0|nameserver 10.0.0.2|",
            ),
            (
                "nameserver 127.0.0.53\n",
                Some("nameserver 127.0.0.53\n"),
                "nameserver 192.0.0.53| -> 127.0.0.53",
            ),
            ("nameserver 192.168.1.1\n", None, "nameserver 192.0.0.53| -> 192.168.1.1"),
            ("nameserver 0.0.0.0\n", None, "nameserver 192.0.0.53| -> 127.0.0.1"),
            ("# nameserver 9.9.9.9\n; x y\n\nnonsense", None, ""),
            ("", None, ""),
            ("nameserver 2620:fe::fe\n", None, "nameserver 2620:fe::fe|"),
        ];
        for (primary, upstream, expected) in cases {
            assert_eq!(choose(primary, upstream).as_deref(), Ok(expected), "{primary:?}");
        }
    }

    #[test]
    fn servers_out_of_reach_are_refused_with_a_reason() {
        for (primary, word) in [
            ("nameserver 169.254.169.254\n", "link-local"),
            ("nameserver fe80::1%eth0\n", "link-local"),
            ("nameserver ::1\n", "IPv6"),
        ] {
            let why = choose(primary, None).unwrap_err();
            assert!(why.contains(word) && why.contains("--no-network"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn no_file_of_the_host_makes_a_box_ask_a_forbidden_server(text in "(nameserver|search|options|[a-z#;]{0,3}) ?[0-9a-f.:% ]{0,20}\n?{0,4}") {
            if let Ok(resolver) = Resolver::choose(&text, None, |_| false) {
                prop_assert!(resolver.nameservers.iter().all(|server| !is_forbidden(*server)));
            }
        }
    }
}
