//! The host as an attacker would like it: secrets, services and processes within reach of a leaking box. Each is looked
//! at again after the attempt.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

use agentkernel_model::ByteString;
use tempfile::TempDir;

/// The variable of the host that no box may see.
const SECRET_VARIABLE: &str = "ESCAPE_HOST_SECRET";

/// Host settings that no box may change.
const SETTINGS: [&str; 7] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/vm/overcommit_memory",
];

/// Restarts this program with a secret in its environment: a box that inherited that would show it.
pub(crate) fn put_secret_into_own_environment() -> io::Result<()> {
    if std::env::var_os(SECRET_VARIABLE).is_some() {
        return Ok(());
    }
    let secret = format!("secret-{}-{:x}", std::process::id(), nanoseconds());
    Err(Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(SECRET_VARIABLE, secret)
        .exec())
}

fn nanoseconds() -> u128 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_nanos())
}

/// One attempt's bait and its state before.
pub(crate) struct Stage {
    folder: TempDir,
    secret: String,
    /// Open without close-on-exec while boxes are started.
    _secret_file: File,
    home_bait: PathBuf,
    memory_bait: Option<PathBuf>,
    listener: TcpListener,
    datagrams: Option<UdpSocket>,
    abstract_name: String,
    abstract_listener: UnixListener,
    sleeper: Child,
    sleeper_seconds: String,
    settings: BTreeMap<&'static str, Vec<u8>>,
    started: (Instant, SystemTime),
    /// Told to the inside beside what every attempt is told.
    pub(crate) more_clues: Vec<(&'static str, String)>,
    ends: Vec<Box<dyn FnOnce()>>,
}

impl Stage {
    pub(crate) fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("agentkernel-escape-").tempdir()?;
        let unique = format!("{}-{:x}", std::process::id(), nanoseconds());
        let secret = std::env::var(SECRET_VARIABLE).map_err(io::Error::other)?;
        std::fs::create_dir(folder.path().join("shared"))?;
        std::fs::create_dir(folder.path().join("readonly"))?;
        std::fs::write(folder.path().join("readonly/file"), "unchanged")?;
        std::fs::write(folder.path().join("shared/ordinary"), "ordinary")?;
        std::fs::write(folder.path().join("secret"), &secret)?;
        std::fs::create_dir(folder.path().join("trap"))?;
        // Whoever gets there may leave a mark.
        std::fs::set_permissions(folder.path().join("trap"), std::fs::Permissions::from_mode(0o777))?;
        std::os::unix::fs::symlink(folder.path().join("secret"), folder.path().join("shared/absolute-link"))?;
        std::os::unix::fs::symlink("../secret", folder.path().join("shared/relative-link"))?;
        let secret_file = File::open(folder.path().join("secret"))?;
        rustix::io::fcntl_setfd(&secret_file, rustix::io::FdFlags::empty())?;

        let home = std::env::var_os("HOME").map_or_else(|| folder.path().to_owned(), PathBuf::from);
        let home_bait = home.join(format!(".agentkernel-escape-{unique}"));
        std::fs::write(&home_bait, &secret)?;
        let memory_bait = Path::new("/dev/shm").join(format!("agentkernel-escape-{unique}"));
        let memory_bait = std::fs::write(&memory_bait, &secret).is_ok().then_some(memory_bait);

        // Both families at once, where the machine has both.
        let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0"))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();

        let datagrams = UdpSocket::bind(("::", port)).or_else(|_| UdpSocket::bind(("0.0.0.0", port))).ok();
        datagrams.iter().try_for_each(|socket| socket.set_nonblocking(true))?;

        let abstract_name = format!("agentkernel-escape-{unique}");
        let abstract_listener = UnixListener::bind_addr(&UnixAddr::from_abstract_name(&abstract_name)?)?;
        abstract_listener.set_nonblocking(true)?;
        let sleeper_seconds = format!("88{:06}", std::process::id() % 1_000_000);
        let sleeper = Command::new("sleep").arg(&sleeper_seconds).spawn()?;
        Ok(Self {
            folder,
            secret,
            _secret_file: secret_file,
            home_bait,
            memory_bait,
            listener,
            datagrams,
            abstract_name,
            abstract_listener,
            sleeper,
            sleeper_seconds,
            settings: settings(),
            started: (Instant::now(), SystemTime::now()),
            more_clues: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// A private folder of the host.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that boxes get read-write at `/mnt/shared`.
    pub(crate) fn shared(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    /// The folder that boxes get read-only at `/mnt/readonly`.
    pub(crate) fn read_only(&self) -> PathBuf {
        self.folder.path().join("readonly")
    }

    /// A folder, open to all, where nothing must ever turn up.
    pub(crate) fn trap(&self) -> String {
        self.folder.path().join("trap").display().to_string()
    }

    /// The text that no box may know.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// Where the secret lies.
    pub(crate) fn secret_path(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// Undoes bait when the stage is struck.
    pub(crate) fn at_end(&mut self, undo: Box<dyn FnOnce()>) {
        self.ends.push(undo);
    }

    /// What the inside is told, as variables. The secret itself goes in backwards: it is looked for in there.
    pub(crate) fn clues(&self) -> Vec<(ByteString, ByteString)> {
        let mut clues: Vec<(&str, String)> = vec![
            ("ESCAPE_TERCES", self.secret.chars().rev().collect()),
            ("ESCAPE_TRAP", self.trap()),
            ("ESCAPE_SECRET_PATH", self.secret_path().display().to_string()),
            ("ESCAPE_HOME_BAIT", self.home_bait.display().to_string()),
            ("ESCAPE_PORT", self.port().to_string()),
            ("ESCAPE_HOST_ADDRESSES", host_addresses().join(" ")),
            ("ESCAPE_ABSTRACT_NAME", self.abstract_name.clone()),
            ("ESCAPE_SLEEPER", self.sleeper_seconds.clone()),
            ("ESCAPE_SLEEPER_PID", self.sleeper.id().to_string()),
        ];
        if let Some(bait) = &self.memory_bait {
            clues.push(("ESCAPE_MEMORY_BAIT", bait.display().to_string()));
        }
        clues.extend(self.more_clues.iter().cloned());
        clues.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().map_or(0, |address| address.port())
    }

    /// Looks at all of it again. What is wrong, or nothing.
    pub(crate) fn harm(&mut self) -> Vec<String> {
        let mut harm = Vec::new();
        let mut expect = |well: bool, what: &str| {
            if !well {
                harm.push(what.to_owned());
            }
        };
        let same = |path: &Path| std::fs::read(path).is_ok_and(|content| content == self.secret.as_bytes());
        expect(same(&self.secret_path()), "the host's secret file was changed");
        let kept = std::fs::read(self.read_only().join("file")).is_ok_and(|content| content == b"unchanged");
        let alone = std::fs::read_dir(self.read_only()).is_ok_and(|entries| entries.count() == 1);
        expect(kept && alone, "a folder given read-only was changed");
        let untouched = std::fs::read_dir(self.trap()).is_ok_and(|entries| entries.count() == 0);
        expect(untouched, "something was left in a folder of the host");
        expect(same(&self.home_bait), "a file in the host's home was changed");
        expect(self.memory_bait.as_deref().is_none_or(same), "a file in the host's /dev/shm was changed");
        expect(matches!(self.sleeper.try_wait(), Ok(None)), "a process of the host was killed");
        expect(settings() == self.settings, "a setting of the host's kernel was changed");
        expect(self.listener.accept().is_err(), "a service of the host was reached");
        let heard = self.datagrams.as_ref().is_some_and(|socket| socket.recv(&mut [0; 64]).is_ok());
        expect(!heard, "a datagram reached the host");
        expect(self.abstract_listener.accept().is_err(), "an abstract socket of the host was reached");
        let real = self.started.1.elapsed().unwrap_or(Duration::MAX);
        let steady = self.started.0.elapsed();
        expect(real.abs_diff(steady) < Duration::from_secs(30), "the host's clock was set");
        harm
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.ends.drain(..).for_each(|undo| undo());
        // It was ours to kill, and may be gone where a test failed.
        drop(self.sleeper.kill());
        drop(self.sleeper.wait());
        drop(std::fs::remove_file(&self.home_bait));
        if let Some(bait) = &self.memory_bait {
            drop(std::fs::remove_file(bait));
        }
    }
}

fn settings() -> BTreeMap<&'static str, Vec<u8>> {
    SETTINGS.into_iter().filter_map(|path| Some((path, std::fs::read(path).ok()?))).collect()
}

/// This machine's own addresses but loopback: IPv4 from the routing table's local entries (proc(5), net/fib_trie), IPv6
/// from net/if_inet6. Link-local ones mean nothing without an interface.
fn host_addresses() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let lines: Vec<&str> = table.lines().collect();
    let local = lines.windows(2).filter(|pair| pair[1].contains("/32 host LOCAL"));
    let mut addresses: Vec<String> = local
        .filter_map(|pair| pair[0].trim().strip_prefix("|-- ").map(str::to_owned))
        .filter(|address| !address.starts_with("127."))
        .collect();
    let six = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let six = six.lines().filter_map(|line| u128::from_str_radix(line.split_whitespace().next()?, 16).ok());
    let six =
        six.map(Ipv6Addr::from).filter(|address| !address.is_loopback() && !address.is_unicast_link_local());
    addresses.extend(six.map(|address| address.to_string()));
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
