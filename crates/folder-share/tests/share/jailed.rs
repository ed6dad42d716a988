//! The process itself, in its jail.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkernel_folder_share::{Share, ShareProgram, ShareSpec};
use agentkernel_sys::process::wait_ended;
use tempfile::TempDir;

use crate::client::{Client, libc_flags as flags, mode_and_owner};

const ROOT: u64 = 1;
const TOKEN: [u8; 32] = [9; 32];
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

/// The argument that makes this program a share's.
pub(crate) const ARGUMENT: &str = "share-process";

fn program() -> ShareProgram {
    ShareProgram { path: std::env::current_exe().unwrap(), arguments: vec![ARGUMENT.into()] }
}

struct Stage {
    place: TempDir,
    socket: PathBuf,
    listener: UnixListener,
}

fn stage() -> Stage {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let socket = place.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    Stage { place, socket, listener }
}

impl Stage {
    fn folder(&self) -> PathBuf {
        let folder = self.place.path().canonicalize().unwrap().join("folder");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn start(&self, source: &Path, read_only: bool) -> Result<Share, String> {
        let listener = self.listener.as_fd();
        let spec = ShareSpec { source: source.to_owned(), read_only, listener, token: TOKEN };
        Share::start(&program(), &spec).map_err(|error| {
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error}: {why}")
        })
    }

    fn connect(&self) -> Client {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(&TOKEN).unwrap();
        Client::begun(stream)
    }
}

fn end(share: Share) {
    share.child.kill().unwrap();
    share.child.reap().unwrap();
}

fn status(share: &Share, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", share.child.pid.as_raw_nonzero())).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{field}:"))).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

pub(crate) fn it_has_the_folder_and_nothing_else() {
    let stage = stage();
    let folder = stage.folder();
    fs::write(folder.join("f"), "content").unwrap();
    let share = stage.start(&folder, false).unwrap();
    assert!(share.is_folder);
    let mut client = stage.connect();
    let pid = share.child.pid.as_raw_nonzero();
    let root: Vec<_> =
        fs::read_dir(format!("/proc/{pid}/root/")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(root, ["shared"]);
    for (field, wanted) in [
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(status(&share, field), wanted, "{field}");
    }
    let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    let its = |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
    for name in ["mnt", "net", "pid", "ipc", "uts"] {
        assert_ne!(own(name), its(name), "{name}");
    }
    assert!(!fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap().contains("/proc"), "no /proc");
    let node = client.look_up(ROOT, "f").unwrap();
    let handle = client.open(node, flags::RDWR).unwrap();
    assert_eq!(client.read(handle, 0, 100).unwrap(), b"content");
    // Whose the folder is, is the owner of what is made in it, and root inside.
    let (made, _) = client.create(ROOT, "made", 0o666).unwrap();
    let found = fs::metadata(folder.join("made")).unwrap();
    let owner = fs::metadata(&folder).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (owner.uid(), owner.gid(), 0o666));
    let told = client.ask(3, made, &[crate::client::Part::Large(0), crate::client::Part::Large(0)]).unwrap();
    assert_eq!(mode_and_owner(&told, 16)[2..], [0, 0]);
    // No second guest is heard, and with the first it ends.
    assert!(UnixStream::connect(&stage.socket).is_ok_and(|mut second| {
        second.write_all(&TOKEN).ok();
        second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        std::io::Read::read(&mut second, &mut [0; 1]).map_or(true, |read| read == 0)
    }));
    drop(client);
    assert!(wait_ended(&share.child.pidfd, PATIENCE).unwrap());
    share.child.reap().unwrap();
}

pub(crate) fn it_is_the_owner_of_the_folder() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root serves the folders of others");
        return;
    }
    let stage = stage();
    let folder = stage.folder();
    let secret = folder.join("secret");
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&folder, Some(12_345), Some(12_346)).unwrap();
    let share = stage.start(&folder, false).unwrap();
    let mut client = stage.connect();
    assert_eq!(status(&share, "Uid"), "12345\t12345\t12345\t12345");
    assert_eq!(status(&share, "Gid"), "12346\t12346\t12346\t12346");
    client.create(ROOT, "made", 0o644).unwrap();
    let found = fs::metadata(folder.join("made")).unwrap();
    assert_eq!((found.uid(), found.gid()), (12_345, 12_346));
    let node = client.look_up(ROOT, "secret").unwrap();
    assert_eq!(client.open(node, flags::RDONLY), Err(13), "what its owner can't read, no guest can");
    end(share);
}

pub(crate) fn one_file_is_shared_alone() {
    let stage = stage();
    let folder = stage.folder();
    fs::write(folder.join("f"), "one").unwrap();
    fs::write(folder.join("beside"), "two").unwrap();
    let share = stage.start(&folder.join("f"), false).unwrap();
    assert!(!share.is_folder);
    let mut client = stage.connect();
    assert_eq!(client.look_up(ROOT, "beside"), Err(20));
    let handle = client.open(ROOT, flags::RDWR | flags::DIRECT).unwrap();
    assert_eq!(client.read(handle, 0, 100).unwrap(), b"one");
    client.write(handle, 3, b" more").unwrap();
    assert_eq!(fs::read(folder.join("f")).unwrap(), b"one more");
    end(share);
}

pub(crate) fn a_read_only_jail_can_not_write() {
    let stage = stage();
    let folder = stage.folder();
    let share = stage.start(&folder, true).unwrap();
    let mut client = stage.connect();
    assert_eq!(client.create(ROOT, "new", 0o644).err(), Some(30));
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", share.child.pid.as_raw_nonzero())).unwrap();
    let shared = mounts.lines().find(|line| line.contains(" /shared ")).unwrap();
    for option in ["ro,", "nosuid", "nodev", "noexec"] {
        assert!(shared.contains(option), "{shared}");
    }
    end(share);
}

pub(crate) fn what_can_not_be_shared_is_refused_by_name() {
    let stage = stage();
    let folder = stage.folder();
    symlink(&folder, folder.join("link")).unwrap();
    fs::create_dir(folder.join("real")).unwrap();
    symlink("real", folder.join("behind")).unwrap();
    fs::create_dir(folder.join("real/sub")).unwrap();
    for (name, why) in [("link", "neither"), ("nope", "look at it"), ("behind/sub", "take ")] {
        let error = stage.start(&folder.join(name), false).map(end).unwrap_err();
        assert!(error.contains(name) && error.contains(why), "{error}");
    }
    let listener = stage.listener.as_fd();
    let spec = ShareSpec { source: folder, read_only: false, listener, token: TOKEN };
    let missing = ShareProgram { path: "/nonexistent/program".into(), arguments: Vec::new() };
    assert!(Share::start(&missing, &spec).is_err());
}

pub(crate) fn who_does_not_know_the_token_ends_it() {
    let stage = stage();
    let share = stage.start(&stage.folder(), false).unwrap();
    let mut stranger = UnixStream::connect(&stage.socket).unwrap();
    stranger.write_all(&[8; 32]).unwrap();
    assert_eq!(std::io::Read::read(&mut stranger, &mut [0; 1]).unwrap_or(0), 0);
    assert!(wait_ended(&share.child.pidfd, PATIENCE).unwrap());
    share.child.reap().unwrap();
}

pub(crate) fn without_a_guest_it_ends_with_its_maker() {
    let stage = stage();
    let Share { child, waits, .. } = stage.start(&stage.folder(), false).unwrap();
    assert!(!wait_ended(&child.pidfd, Some(Duration::from_millis(100))).unwrap());
    drop(waits);
    assert!(wait_ended(&child.pidfd, PATIENCE).unwrap());
    child.reap().unwrap();
    // Once a guest is there, it needs its maker no more.
    let Share { child, waits, .. } = stage.start(&stage.folder(), false).unwrap();
    let mut client = stage.connect();
    drop(waits);
    assert!(client.create(ROOT, "later", 0o644).is_ok());
    assert!(client.stream.as_raw_fd() > 0);
    child.kill().unwrap();
    child.reap().unwrap();
}
