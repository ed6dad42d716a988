//! The little world.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agentkernel_sys::netlink;

use crate::host::Places;
use crate::{Connected, NetworkError, NetworkHost, program};

/// How long a packet may take that is to arrive.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long one is waited for that must not arrive.
const IMPATIENCE: Duration = Duration::from_millis(400);
/// The host's own address towards the Internet.
pub(super) const HOST: &str = "198.51.100.2";
/// The same by IPv6.
pub(super) const HOST_IPV6: &str = "2001:db8:1::2";
/// A server on the Internet.
pub(super) const SERVER: &str = "203.0.113.9:8080";
/// The same by IPv6.
pub(super) const SERVER_IPV6: &str = "[2001:db8:9::9]:8080";
/// Addresses that answer on the Internet side and that no box may reach.
pub(super) const METADATA: [&str; 5] = [
    "169.254.169.254:8080",
    "169.254.170.2:8080",
    "100.100.100.200:8080",
    "[fd00:ec2::254]:8080",
    "[fd20:ce::254]:8080",
];

/// A process that does nothing in namespaces of its own.
pub(super) struct Namespace {
    child: Option<Child>,
    pid: u32,
    pub(super) file: File,
}

impl Namespace {
    /// With the flags of unshare(1).
    pub(super) fn new(flags: &str) -> Self {
        let mut child = Command::new("unshare")
            .args([flags, "sh", "-c", "echo; exec sleep 600"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        let pid = child.id();
        let mut namespace = Self::of(pid);
        namespace.child = Some(child);
        namespace
    }

    /// Of a process that somebody else looks after.
    pub(super) fn of(pid: u32) -> Self {
        Self { child: None, pid, file: File::open(format!("/proc/{pid}/ns/net")).unwrap() }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Runs `work` inside.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        netlink::in_network_namespace(self.file.as_fd(), work).unwrap()
    }

    /// Runs lines of ip(8) inside.
    pub(super) fn ip(&self, lines: &str) {
        let script: String = lines.lines().map(|line| format!("ip {line}\n")).collect();
        self.run(|| shell(&script));
    }

    /// Answers each connection to `port`, on every address, with the caller's address.
    pub(super) fn serve(&self, address: &str) {
        let listener = self.run(|| TcpListener::bind(address)).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream.peer_addr().unwrap().ip().to_canonical();
                // Whoever does not wait for the answer has had it.
                stream.write_all(peer.to_string().as_bytes()).ok();
            }
        });
    }

    /// Answers each datagram with the sender's address.
    pub(super) fn serve_udp(&self, address: &str) {
        let socket = self.run(|| UdpSocket::bind(address)).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                socket.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer).unwrap();
            }
        });
    }

    /// What a server says to a caller inside; None when it can't be reached.
    pub(super) fn call(&self, address: &str) -> Option<String> {
        self.call_within(address, PATIENCE)
    }

    /// Panics when `address` answers.
    pub(super) fn cannot_call(&self, address: &str) {
        if let Some(answer) = self.call_within(address, IMPATIENCE) {
            panic!("{address} was reached and said {answer:?}");
        }
    }

    fn call_within(&self, address: &str, limit: Duration) -> Option<String> {
        let address: SocketAddr = address.parse().unwrap();
        self.run(|| {
            let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
            stream.set_read_timeout(Some(limit)).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        })
    }

    /// What becomes of a call by a socket bound to `interface` (SO_BINDTODEVICE), which passes over some routes: the
    /// answer or the error's number. By Python, since no safe Rust sets that option.
    pub(super) fn call_through(&self, interface: &str, address: &str) -> String {
        let address: SocketAddr = address.parse().unwrap();
        let script = format!(
            "import socket\n\
             s = socket.socket(socket.AF_INET{}, socket.SOCK_STREAM)\n\
             s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'{interface}')\n\
             s.settimeout(0.4)\n\
             try:\n s.connect(('{}', {}))\n print(s.recv(100).decode())\n\
             except OSError as e: print(e.errno)\n",
            if address.is_ipv4() { "" } else { "6" },
            address.ip(),
            address.port()
        );
        let output = self.run(|| Command::new("python3").args(["-c", &script]).output()).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The same by datagram.
    pub(super) fn ask(&self, address: &str, limit: Duration) -> Option<String> {
        let address: SocketAddr = address.parse().unwrap();
        self.run(|| {
            let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.connect(address).ok()?;
            socket.set_read_timeout(Some(limit)).unwrap();
            socket.send(b"who am I?").ok()?;
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        })
    }

    pub(super) fn cannot_ask(&self, address: &str) {
        if let Some(answer) = self.ask(address, IMPATIENCE) {
            panic!("{address} was reached and said {answer:?}");
        }
    }

    /// A kernel setting below /proc/sys/net.
    pub(super) fn setting(&self, name: &str) -> String {
        let path = Path::new("/proc/sys/net").join(name);
        self.run(|| std::fs::read_to_string(path)).unwrap().trim().to_owned()
    }

    pub(super) fn set(&self, name: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(name);
        self.run(|| std::fs::write(path, value)).unwrap();
    }

    /// The names of the interfaces of boxes here.
    pub(super) fn box_interfaces(&self) -> Vec<String> {
        self.run(|| {
            let mut socket = netlink::Socket::open(netlink::Protocol::Route).unwrap();
            let links = netlink::list_links(&mut socket).unwrap();
            links.into_iter().map(|link| link.name).filter(|name| name.starts_with("ak-")).collect()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// A host with an uplink to an Internet.
pub(super) struct World {
    pub(super) host: Namespace,
    pub(super) internet: Namespace,
    pub(super) folder: tempfile::TempDir,
}

impl World {
    /// None, with the reason printed, when this machine can't hold one.
    pub(super) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: a world of network namespaces needs root");
            return None;
        }
        for tool in ["ip", "unshare", "nft", "python3"] {
            if program::find(tool).is_none() {
                println!("SKIPPED: the program {tool} is missing");
                return None;
            }
        }
        let world = Self {
            host: Namespace::new("-n"),
            internet: Namespace::new("-n"),
            folder: tempfile::tempdir().unwrap(),
        };
        world.set_up();
        Some(world)
    }

    fn set_up(&self) {
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            self.host.set(setting, "0");
        }
        self.host.ip(&format!(
            "link set lo up\n\
             link add up0 type veth peer name in0 netns {}\n\
             addr add {HOST}/24 dev up0\n\
             addr add {HOST_IPV6}/64 dev up0 nodad\n\
             link set up0 up",
            self.internet.pid()
        ));
        self.internet.ip("link set lo up\n\
             addr add 198.51.100.1/24 dev in0\n\
             addr add 2001:db8:1::1/64 dev in0 nodad\n\
             addr add 203.0.113.9/32 dev lo\n\
             addr add 2001:db8:9::9/128 dev lo nodad\n\
             addr add 169.254.169.254/32 dev lo\n\
             addr add 169.254.170.2/32 dev lo\n\
             addr add 100.100.100.200/32 dev lo\n\
             addr add fd00:ec2::254/128 dev lo nodad\n\
             addr add fd20:ce::254/128 dev lo nodad\n\
             link set in0 up");
        self.host.ip("route add default via 198.51.100.1\n-6 route add default via 2001:db8:1::1");
        self.internet.serve("[::]:8080");
        self.internet.serve_udp("203.0.113.9:53");
        self.host.serve("127.0.0.1:8080");
        self.host.serve("[::1]:8080");
        self.host.serve("[::]:9090");
        self.host.serve_udp(&format!("{HOST}:9053"));
    }

    /// What a process on the host sees, which has this as its `/etc/resolv.conf`.
    pub(super) fn network(&self, resolv_conf: &str) -> NetworkHost {
        let path = self.folder.path().join("resolv.conf");
        std::fs::write(&path, resolv_conf).unwrap();
        let places = Places {
            resolv_conf: &path,
            upstream_resolv_conf: Path::new("/nonexistent"),
            runtime_folder: &self.folder.path().join("run"),
        };
        let network = self.host.run(|| NetworkHost::detect_in(false, places));
        network.available().unwrap();
        network
    }

    pub(super) fn connect(
        &self,
        network: &NetworkHost,
        target: &Namespace,
        id: &str,
    ) -> Result<Connected, NetworkError> {
        self.host.run(|| network.connect(target.file.as_fd(), target.pid(), id))
    }

    /// A new connected box.
    pub(super) fn new_box(&self, network: &NetworkHost, id: &str) -> (Namespace, Connected) {
        let target = new_box();
        let connected =
            self.connect(network, &target, id).unwrap_or_else(|error| panic!("{error}: {error:?}"));
        (target, connected)
    }
}

/// A box without a network: as the real ones, with a user namespace that owns the others.
pub(super) fn new_box() -> Namespace {
    let target = Namespace::new("-Urn");
    target.ip("link set lo up");
    target
}

/// Takes away a box's own refusals, to see whether the host's rules hold without them.
pub(super) fn forget_refusals(inside: &Namespace) {
    inside.run(|| shell("ip xfrm policy flush"));
}

/// Runs a script in the calling thread's namespace.
pub(super) fn shell(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until it holds.
pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::yield_now();
    }
}
