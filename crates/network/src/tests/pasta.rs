//! What a box without rights reaches. The part without rights is this test program once more, as another user, in the
//! world's host.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use agentkernel_sys::{companion, process};

use super::world::{HOST, HOST_IPV6, METADATA, Namespace, PATIENCE, SERVER, SERVER_IPV6, World, shell};
use crate::{NetworkHost, program};

/// Started by the other tests, never by itself.
#[test]
#[ignore = "the other tests start it, as an ordinary user"]
fn part_of_an_ordinary_user() {
    let network = NetworkHost::detect(true);
    if let Err(why) = network.available() {
        println!("unavailable {why}");
        return;
    }
    let inside = Namespace::new("-Urn");
    let connected = network.connect(inside.file.as_fd(), inside.pid(), "0011223344556677").unwrap();
    let resolv_conf = String::from_utf8(network.resolv_conf()).unwrap().replace('\n', "|");
    println!("connected {} {} {resolv_conf}", inside.pid(), connected.helper_pid.unwrap());
    // Until the test has seen enough.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// A box of an ordinary user, and who made it.
struct Rootless {
    user: Child,
    inside: Namespace,
    helper_pid: u32,
    resolv_conf: String,
    /// Held open: its harness goes on writing.
    _output: BufReader<ChildStdout>,
}

/// The ordinary user's part under a system of its own: `resolv_conf` is the host's, and there is a tun device unless
/// `tun` is false. Err with its complaint.
fn start(world: &World, resolv_conf: &str, tun: bool) -> Result<Rootless, String> {
    let folder = world.folder.path();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::write(folder.join("resolv.conf"), resolv_conf).unwrap();
    let device = if tun { "mknod -m 666 /dev/net/tun c 10 200" } else { "true" };
    let script = format!(
        "mount -t tmpfs none /dev/net; {device}\n\
         mount --bind {folder}/resolv.conf /etc/resolv.conf\n\
         exec setpriv --reuid 65534 --regid 65534 --clear-groups {program} --ignored --exact --nocapture \
         tests::pasta::part_of_an_ordinary_user",
        folder = folder.display(),
        program = program.display(),
    );
    let mut user = world.host.run(|| {
        Command::new("unshare")
            .args(["-m", "sh", "-ec", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let mut output = BufReader::new(user.stdout.take().unwrap());
    for line in output.by_ref().lines().map(Result::unwrap) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["unavailable", ..] => {
                user.wait().unwrap();
                return Err(line);
            }
            ["connected", pid, helper_pid, resolv_conf] => {
                let inside = Namespace::of(pid.parse().unwrap());
                let helper_pid = helper_pid.parse().unwrap();
                let resolv_conf = (*resolv_conf).to_owned();
                return Ok(Rootless { user, inside, helper_pid, resolv_conf, _output: output });
            }
            _ => {}
        }
    }
    user.wait().unwrap();
    Err("it said nothing".to_owned())
}

impl Drop for Rootless {
    fn drop(&mut self) {
        drop(self.user.stdin.take());
        self.user.wait().unwrap();
    }
}

fn world() -> Option<World> {
    let world = World::new()?;
    for tool in ["pasta", "setpriv"] {
        if program::find(tool).is_none() {
            println!("SKIPPED: the program {tool} is missing");
            return None;
        }
    }
    Some(world)
}

#[test]
fn an_ordinary_user_s_box_reaches_the_internet_and_nothing_of_the_host() {
    let Some(world) = world() else { return };
    let rootless = start(&world, "nameserver 203.0.113.9\nsearch example\n", true).unwrap();
    let inside = &rootless.inside;
    assert!(
        rootless.resolv_conf.ends_with("search example|nameserver 203.0.113.9|"),
        "{}",
        rootless.resolv_conf
    );
    assert_eq!(inside.call(SERVER).as_deref(), Some(HOST));
    assert_eq!(inside.call(SERVER_IPV6).as_deref(), Some(HOST_IPV6));
    assert_eq!(inside.ask("203.0.113.9:53", PATIENCE).as_deref(), Some(HOST));
    let own = [format!("{HOST}:9090"), format!("[{HOST_IPV6}]:9090")];
    for address in own.iter().map(String::as_str).chain(METADATA) {
        assert!(world.host.call(address).is_some(), "the host itself does not reach {address}");
        inside.cannot_call(address);
        assert_eq!(inside.call_through("eth0", address), rustix::io::Errno::PERM.raw_os_error().to_string());
    }
    inside.cannot_ask("198.51.100.2:9053");
    for address in [
        "127.0.0.1:8080",
        "127.0.0.2:9090",
        "0.0.0.0:9090",
        "[::1]:8080",
        "[::]:9090",
        "[::ffff:127.0.0.1]:8080",
        "10.213.0.1:8080",
        "10.213.0.1:9090",
        "[fd8b:3c61:7e42:ac5e::1]:8080",
        "[fd8b:3c61:7e42:ac5e::1]:9090",
    ] {
        inside.cannot_call(address);
        if !address.contains("ffff") {
            let answer = inside.call_through("eth0", address);
            assert!(answer.parse::<i32>().is_ok() || answer == "None", "{address}: {answer}");
        }
    }
}

#[test]
fn an_ordinary_user_s_box_asks_the_host_s_own_resolver() {
    let Some(world) = world() else { return };
    world.host.serve_udp("127.0.0.53:53");
    let rootless = start(&world, "nameserver 127.0.0.53\n", true).unwrap();
    assert!(rootless.resolv_conf.ends_with("nameserver 192.0.0.53|"), "{}", rootless.resolv_conf);
    assert_eq!(rootless.inside.ask("192.0.0.53:53", PATIENCE).as_deref(), Some("127.0.0.1"));
    rootless.inside.cannot_ask("127.0.0.53:53");
    rootless.inside.cannot_ask("192.0.0.53:9053");
}

#[test]
fn a_host_without_ipv6_gives_a_box_without() {
    let Some(world) = world() else { return };
    world.host.ip("-6 route del default");
    let rootless = start(&world, "nameserver 203.0.113.9\n", true).unwrap();
    assert_eq!(rootless.inside.call(SERVER).as_deref(), Some(HOST));
    rootless.inside.cannot_call(SERVER_IPV6);
}

#[test]
fn the_helper_dies_with_the_box() {
    let Some(world) = world() else { return };
    let rootless = start(&world, "nameserver 203.0.113.9\n", true).unwrap();
    let helper = companion::open_process(rootless.helper_pid).unwrap().unwrap();
    assert!(!process::is_ended(&helper).unwrap());
    // It outlives who started it and dies with the box, which here goes with its maker.
    drop(rootless);
    assert!(process::wait_ended(&helper, Some(Duration::from_secs(5))).unwrap());
}

#[test]
fn the_helper_dies_with_its_watcher() {
    let Some(world) = world() else { return };
    let rootless = start(&world, "nameserver 203.0.113.9\n", true).unwrap();
    let helper = companion::open_process(rootless.helper_pid).unwrap().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", rootless.helper_pid)).unwrap();
    let watcher = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap();
    shell(&format!("kill -9 {watcher}"));
    assert!(process::wait_ended(&helper, Some(Duration::from_secs(5))).unwrap());
    rootless.inside.cannot_call(SERVER);
}

#[test]
fn without_a_tun_device_the_reason_is_given_at_once() {
    let Some(world) = world() else { return };
    let error = start(&world, "nameserver 203.0.113.9\n", false).map(|_| ()).unwrap_err();
    assert!(error.contains("/dev/net/tun") && error.contains("--no-network"), "{error}");
}

/// The address of an interface that the kernel made up from its hardware address.
#[test]
fn link_local_addresses_are_out_of_reach() {
    let Some(world) = world() else { return };
    let rootless = start(&world, "nameserver 203.0.113.9\n", true).unwrap();
    for (owner, interface) in [(&world.host, "up0"), (&world.internet, "in0")] {
        let text = owner.run(|| {
            Command::new("ip")
                .args(["-6", "-o", "addr", "show", "dev", interface, "scope", "link"])
                .output()
                .unwrap()
        });
        let text = String::from_utf8(text.stdout).unwrap();
        let address = text.split_whitespace().find(|word| word.starts_with("fe80:")).unwrap();
        let (address, _) = address.split_once('/').unwrap();
        let target: SocketAddr = format!("[{address}]:9090").parse().unwrap();
        rootless.inside.cannot_call(&target.to_string());
        let answer = rootless.inside.call_through("eth0", &target.to_string());
        assert_eq!(answer, rustix::io::Errno::PERM.raw_os_error().to_string(), "{address}");
    }
}
