//! Sockets: kinds that no box needs, and the host's services.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::time::Duration;

use super::{Clues, each, refused};
use crate::attempt::Verdict;

fn socket(what: &str, family: i32, kind: i32, protocol: i32, errnos: &[i32]) -> Verdict {
    refused(what, libc::SYS_socket, &[family as usize, kind as usize, protocol as usize], errnos)
}

pub(crate) fn raw_sockets(_: &Clues) -> Verdict {
    each([
        socket("a raw IPv4 socket", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP, &[libc::EPERM]),
        socket("a raw IPv6 socket", libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6, &[libc::EPERM]),
        socket(
            "a raw IPv4 socket with flags",
            libc::AF_INET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            255,
            &[libc::EPERM],
        ),
        socket("SCTP", libc::AF_INET, libc::SOCK_STREAM, 132, &[libc::EPROTONOSUPPORT]),
        socket("DCCP", libc::AF_INET, 6, 33, &[libc::EPERM, libc::ESOCKTNOSUPPORT]),
        socket("MPTCP", libc::AF_INET, libc::SOCK_STREAM, 262, &[libc::EPROTONOSUPPORT]),
    ])
}

pub(crate) fn families(_: &Clues) -> Verdict {
    let families = [
        ("packet", libc::AF_PACKET),
        ("vsock", libc::AF_VSOCK),
        ("alg", libc::AF_ALG),
        ("bluetooth", libc::AF_BLUETOOTH),
        ("can", libc::AF_CAN),
        ("tipc", libc::AF_TIPC),
        ("rds", libc::AF_RDS),
        ("key", libc::AF_KEY),
        ("xdp", libc::AF_XDP),
        ("nfc", libc::AF_NFC),
        ("x25", libc::AF_X25),
        ("ax25", libc::AF_AX25),
        ("appletalk", libc::AF_APPLETALK),
        ("llc", libc::AF_LLC),
        ("ppp", libc::AF_PPPOX),
        ("caif", libc::AF_CAIF),
        ("kcm", 41),
        ("qipcrtr", 42),
        ("smc", 43),
        ("mctp", 45),
    ];
    let kinds = [libc::SOCK_RAW, libc::SOCK_DGRAM, libc::SOCK_STREAM, libc::SOCK_SEQPACKET];
    each(families.iter().flat_map(|(name, family)| {
        kinds.map(|kind| {
            socket(&format!("a socket of family {name}"), *family, kind, 0, &[libc::EAFNOSUPPORT])
        })
    }))
}

pub(crate) fn netlink(clues: &Clues) -> Verdict {
    let errno = if clues.is_restrictive() { libc::EAFNOSUPPORT } else { libc::EPROTONOSUPPORT };
    let protocols = [
        ("audit", 9),
        ("netfilter", 12),
        ("uevent", 15),
        ("crypto", 21),
        ("xfrm", 6),
        ("sock_diag", 4),
        ("generic", 16),
    ];
    each(protocols.map(|(name, protocol)| {
        socket(&format!("netlink {name}"), libc::AF_NETLINK, libc::SOCK_RAW, protocol, &[errno])
    }))
}

fn unreachable(address: SocketAddr) -> Verdict {
    match TcpStream::connect_timeout(&address, Duration::from_secs(3)) {
        Ok(_) => Err(format!("connected to {address}")),
        Err(error) => Ok(format!("{address}: {error}")),
    }
}

fn port(clues: &Clues) -> u16 {
    clues.get("PORT").parse().unwrap_or(0)
}

pub(crate) fn host_loopback(clues: &Clues) -> Verdict {
    let port = port(clues);
    each(
        [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            Ipv4Addr::new(127, 1, 2, 3).into(),
            Ipv6Addr::LOCALHOST.into(),
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        ]
        .map(|address| unreachable(SocketAddr::new(address, port))),
    )
}

/// The gateway of the default route, from proc(5)'s net/route: little-endian hex.
fn gateway() -> Option<Ipv4Addr> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    let mut lines = routes.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let fields = lines.find(|fields| fields.len() > 2 && fields[1] == "00000000")?;
    u32::from_str_radix(fields[2], 16).ok().map(|address| Ipv4Addr::from(address.swap_bytes()))
}

fn host_addresses(clues: &Clues) -> Vec<IpAddr> {
    let told = clues.get("HOST_ADDRESSES").split_whitespace().filter_map(|text| text.parse().ok());
    told.chain(gateway().map(IpAddr::V4)).collect()
}

pub(crate) fn host_services(clues: &Clues) -> Verdict {
    let addresses = host_addresses(clues);
    let held = each(addresses.iter().map(|address| unreachable(SocketAddr::new(*address, port(clues)))))?;
    Ok(format!("{} addresses tried: {held}", addresses.len()))
}

pub(crate) fn host_datagrams(clues: &Clues) -> Verdict {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(|error| error.to_string())?;
    // Whether one arrives is for the outside to see; here some can't even be sent.
    let refused = host_addresses(clues)
        .into_iter()
        .chain([Ipv4Addr::LOCALHOST.into(), Ipv4Addr::BROADCAST.into(), Ipv4Addr::new(224, 0, 0, 1).into()])
        .filter(|address| socket.send_to(b"escape", SocketAddr::new(*address, port(clues))).is_err())
        .count();
    Ok(format!("{refused} datagrams were refused at once"))
}

pub(crate) fn metadata(_: &Clues) -> Verdict {
    let places: [IpAddr; 5] = [
        Ipv4Addr::new(169, 254, 169, 254).into(),
        Ipv4Addr::new(169, 254, 170, 2).into(),
        Ipv4Addr::new(169, 254, 1, 1).into(),
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254).into(),
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
    ];
    each(places.map(|address| {
        let address = SocketAddr::new(address, 80);
        // No answer at all would prove nothing: it is what a machine without such a service gives.
        match TcpStream::connect_timeout(&address, Duration::from_secs(3)) {
            Ok(_) => Err(format!("connected to {address}")),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                Err(format!("packets to {address} went out"))
            }
            Err(error) => Ok(format!("{address}: {error}")),
        }
    }))
}

pub(crate) fn abstract_sockets(clues: &Clues) -> Verdict {
    let name = clues.get("ABSTRACT_NAME");
    let address =
        std::os::unix::net::SocketAddr::from_abstract_name(name).map_err(|error| error.to_string())?;
    let listed = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    if listed.contains(name) {
        return Err("the host's abstract socket is listed".to_owned());
    }
    let connected = std::os::unix::net::UnixStream::connect_addr(&address);
    super::held_by(
        "connect to the host's abstract socket",
        connected.map_err(|error| error.raw_os_error().unwrap_or(0)),
        &[libc::ECONNREFUSED],
    )
}
