//! A machine of namespaces: this kernel, but a first process, mounts, a network and a name of its own. Without vsock: the
//! agent is given a listening socket.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Machine;
use super::image::run;

/// A file as a block device, as long as this lives.
pub(super) struct LoopDevice(String);

impl LoopDevice {
    pub(super) fn new(file: &Path, read_only: bool) -> Self {
        let mut arguments = vec!["--find", "--show"];
        if read_only {
            arguments.push("--read-only");
        }
        arguments.push(file.to_str().unwrap());
        Self(run("losetup", &arguments))
    }

    pub(super) fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // The kernel does it once the last mount is gone.
        Command::new("losetup").args(["--detach", &self.0]).status().ok();
    }
}

/// Why there are none here.
pub(super) fn obstacle() -> Option<&'static str> {
    let kernel = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !Path::new("/dev/loop-control").exists() {
        return Some("this kernel has no loop devices");
    }
    let lacks = |name: &&&str| !kernel.split_ascii_whitespace().any(|known| known == **name);
    ["erofs", "ext4", "overlay", "devtmpfs"].iter().find(lacks).copied()
}

/// Starts one with its listening socket in `place`.
pub(super) async fn start(place: &Path) -> Machine {
    let socket = place.join("socket");
    let console = place.join("console");
    std::fs::remove_file(&socket).ok();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let bare = place.join("bare");
    std::fs::create_dir_all(&bare).unwrap();
    // A network device that leads nowhere, where this kernel has such.
    let script = "ip link add eth0 type dummy 2>/dev/null; mount -t tmpfs tmpfs \"$1\" && cp \"$0\" \"$1/init\" && \
        exec chroot \"$1\" /init nokaslr machine --listen-fd 5 5<&1 1>&2";
    let process = Command::new("unshare")
        .args(["--fork", "--pid", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--kill-child"])
        .args(["sh", "-c", script, env!("CARGO_BIN_EXE_agentkernel-agent")])
        .arg(&bare)
        .stdin(Stdio::null())
        .stdout(Stdio::from(OwnedFd::from(listener)))
        .stderr(std::fs::File::create(&console).unwrap())
        .spawn()
        .unwrap();
    Machine { process, aides: Vec::new(), socket, is_hybrid: false, console }
}
