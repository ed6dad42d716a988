//! A virtual machine: QEMU's microvm without hardware help, the project's kernel, and vhost-device-vsock, which speaks
//! Firecracker's hybrid vsock.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use agentkernel_protocol::machine::{KNOCK, KNOCK_PORT, MAX_KNOCK};
use tokio::io::AsyncReadExt;

use super::{Bed, Machine};
use crate::until;

/// What it takes, each by a variable (`cargo xtask microvm-bed qemu` prints them).
#[derive(Clone)]
pub(super) struct Programs {
    kernel: PathBuf,
    qemu: PathBuf,
    vsock: PathBuf,
}

impl Programs {
    pub(super) fn find() -> Result<Self, String> {
        let path = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from).ok_or(format!("{name} is not set"))?;
            if path.exists() { Ok(path) } else { Err(format!("{name}: {} isn't there", path.display())) }
        };
        Ok(Self {
            kernel: path("AGENTKERNEL_TEST_KERNEL")?,
            qemu: path("AGENTKERNEL_TEST_QEMU")?,
            vsock: path("AGENTKERNEL_TEST_VHOST_VSOCK")?,
        })
    }
}

/// How long a machine may take to knock: it is emulated, and others are at work here.
const BOOT: Duration = Duration::from_secs(120);

/// Starts one, and returns when it has knocked.
pub(super) async fn start(bed: &Bed, programs: &Programs) -> Machine {
    let place = bed.place.path();
    let [socket, vhost, console] = ["v.sock", "vhost.sock", "console"].map(|name| place.join(name));
    let knock = place.join(format!("v.sock_{KNOCK_PORT}"));
    for old in [&socket, &vhost, &knock] {
        std::fs::remove_file(old).ok();
    }
    let initramfs = place.join("initramfs");
    if !initramfs.exists() {
        std::fs::write(&initramfs, archive(Path::new(env!("CARGO_BIN_EXE_agentkernel-agent")))).unwrap();
    }
    let listener = tokio::net::UnixListener::bind(&knock).unwrap();
    let log = std::fs::File::create(place.join("vsock.log")).unwrap();
    let daemon = Command::new(&programs.vsock)
        .args(["--guest-cid", "3"])
        .arg("--socket")
        .arg(&vhost)
        .arg("--uds-path")
        .arg(&socket)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    until("the vsock daemon listens", async || vhost.exists()).await;
    let qemu = qemu(bed, programs, &initramfs, &vhost, &console);
    let mut machine = Machine { process: qemu, aides: vec![daemon], socket, is_hybrid: true, console };
    let deadline = tokio::time::Instant::now() + BOOT;
    let knocked = loop {
        if let Ok(knocked) = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await {
            break knocked.unwrap().0;
        }
        let is_there = machine.process.try_wait().unwrap().is_none();
        let is_early = tokio::time::Instant::now() < deadline;
        assert!(is_there && is_early, "no knock:\n{}", machine.console());
    };
    let mut line = String::new();
    knocked.take(MAX_KNOCK as u64).read_to_string(&mut line).await.unwrap();
    assert!(line.starts_with(KNOCK) && line.ends_with('\n'), "{line:?}");
    machine
}

fn qemu(
    bed: &Bed,
    programs: &Programs,
    initramfs: &Path,
    vhost: &Path,
    console: &Path,
) -> std::process::Child {
    let drive = |id: &str, path: &Path, rest: &str| {
        format!("id={id},file={},format=raw,if=none{rest}", path.display())
    };
    let mut command = Command::new(&programs.qemu);
    command
        .args(["-M", "microvm,acpi=off,x-option-roms=off,memory-backend=mem"])
        .args(["-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-m", "256M"])
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-nodefaults", "-no-user-config", "-nographic"])
        .args(["-no-reboot", "-append"])
        .arg("console=ttyS0 reboot=k panic=-1 quiet rdinit=/init machine")
        .arg("-kernel")
        .arg(&programs.kernel)
        .arg("-initrd")
        .arg(initramfs)
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-chardev")
        .arg(format!("socket,id=vs,path={}", vhost.display()))
        .args(["-device", "vhost-user-vsock-device,chardev=vs"])
        .arg("-drive")
        .arg(drive("image", &bed.image, ",readonly=on"))
        .args(["-device", "virtio-blk-device,drive=image"])
        .arg("-drive")
        .arg(drive("disk", &bed.disk, ""))
        .args(["-device", "virtio-blk-device,drive=disk"])
        // Nothing but QEMU itself is at the other end.
        .args(["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-device,netdev=net"]);
    let log = std::fs::File::create(console.with_extension("qemu")).unwrap();
    let log_too = log.try_clone().unwrap();
    command.stdin(Stdio::null()).stdout(log).stderr(log_too).spawn().unwrap()
}

/// A cpio archive as the kernel unpacks it (initramfs-buffer-format.rst): the agent, and the devices without which no
/// program starts.
fn archive(agent: &Path) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let stripped = place.path().join("agent");
    // Most of it is for debuggers.
    let is_stripped = Command::new("strip").arg("-o").arg(&stripped).arg(agent).status();
    let agent = if is_stripped.is_ok_and(|status| status.success()) { &*stripped } else { agent };
    let mut archive = Vec::new();
    for folder in ["dev", "proc", "sys", "run", "box"] {
        add(&mut archive, folder, 0o040_755, (0, 0), &[]);
    }
    add(&mut archive, "dev/console", 0o020_600, (5, 1), &[]);
    add(&mut archive, "dev/null", 0o020_666, (1, 3), &[]);
    add(&mut archive, "init", 0o100_755, (0, 0), &std::fs::read(agent).unwrap());
    add(&mut archive, "TRAILER!!!", 0, (0, 0), &[]);
    archive
}

fn add(archive: &mut Vec<u8>, name: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
    let number = u32::try_from(archive.len()).unwrap();
    let length = u32::try_from(content.len()).unwrap();
    let name_length = u32::try_from(name.len() + 1).unwrap();
    archive.extend(b"070701");
    for field in [number, mode, 0, 0, 1, 0, length, 0, 0, major, minor, name_length, 0] {
        write!(archive, "{field:08x}").unwrap();
    }
    archive.extend(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}
