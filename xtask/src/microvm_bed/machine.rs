//! One machine of the bed: QEMU and its vsock daemon, ended when this is dropped.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::parts::Parts;

/// The port that the guest connects to when it is ready.
const KNOCK: u32 = 1025;
/// The most that is read of a guest's line or report.
const MOST_BYTES: u64 = 64 * 1024;
/// How long a machine may take for anything, on a machine that does much else.
const DEADLINE: Duration = Duration::from_secs(60);
const CID: &str = "3";

/// A machine that runs.
pub(super) struct Machine {
    folder: PathBuf,
    daemon: Child,
    qemu: Child,
    knock: mpsc::Receiver<String>,
    begun: Instant,
}

impl Machine {
    /// Starts one in `folder`, which has to be empty, with `initramfs` and a disk that holds `disk`.
    pub(super) fn start(parts: &Parts, folder: &Path, initramfs: &[u8], disk: &[u8]) -> Result<Self> {
        std::fs::write(folder.join("initramfs"), initramfs).context("write the initramfs")?;
        std::fs::write(folder.join("disk"), disk).context("write the disk")?;
        let knock = listen(&folder.join(format!("v.sock_{KNOCK}")))?;
        let begun = Instant::now();
        let mut daemon = Command::new(&parts.vhost_vsock);
        daemon.args(["--guest-cid", CID, "--socket", "vhost.sock", "--uds-path", "v.sock"]);
        let mut daemon = spawn(&mut daemon, folder, "vhost")?;
        if let Err(error) = wait_for(&folder.join("vhost.sock"), &mut daemon) {
            end(&mut daemon);
            return Err(error);
        }
        let mut qemu = Command::new(&parts.qemu);
        qemu.args(arguments(&parts.kernel));
        match spawn(&mut qemu, folder, "qemu") {
            Ok(qemu) => Ok(Self { folder: folder.to_owned(), daemon, qemu, knock, begun }),
            Err(error) => {
                end(&mut daemon);
                Err(error)
            }
        }
    }

    /// Waits until the guest has knocked; returns what it said and how long that took since the start.
    pub(super) fn wait_ready(&mut self) -> Result<(String, Duration)> {
        match self.knock.recv_timeout(DEADLINE) {
            Ok(line) => Ok((line, self.begun.elapsed())),
            Err(_) => {
                bail!("the machine did not knock within {} s; {}", DEADLINE.as_secs(), self.last_words())
            }
        }
    }

    /// Connects to a port of the guest's and reads lines, until one begins with `last`.
    pub(super) fn read_from(&mut self, port: u32, last: &str) -> Result<String> {
        let ask = || -> Result<String> {
            let mut stream =
                UnixStream::connect(self.folder.join("v.sock")).context("connect to the vsock")?;
            stream.set_read_timeout(Some(DEADLINE))?;
            writeln!(stream, "CONNECT {port}")?;
            let mut reader = BufReader::new(stream.take(MOST_BYTES));
            let mut answer = String::new();
            reader.read_line(&mut answer).context("read the answer to CONNECT")?;
            if !answer.starts_with("OK ") {
                bail!("the answer to CONNECT is {answer:?}");
            }
            let mut text = String::new();
            loop {
                let begin = text.len();
                if reader.read_line(&mut text).context("read what the guest says")? == 0 {
                    bail!("the guest said only {text:?}");
                }
                if text[begin..].starts_with(last) {
                    return Ok(text);
                }
            }
        };
        ask().with_context(|| self.last_words())
    }

    /// Waits until it has powered itself off.
    pub(super) fn wait_end(&mut self) -> Result<()> {
        let begun = Instant::now();
        while self.qemu.try_wait()?.is_none() {
            if begun.elapsed() > DEADLINE {
                bail!("the machine did not power off within {} s; {}", DEADLINE.as_secs(), self.last_words());
            }
            // sleep: between two looks at whether QEMU has ended, until the deadline
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let tail = |name: &str| {
            let text = std::fs::read(self.folder.join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().rev().take(12).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        format!("console: {}\nqemu: {}\nvhost: {}", tail("console"), tail("qemu.log"), tail("vhost.log"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end(&mut self.qemu);
        end(&mut self.daemon);
    }
}

/// The command line of QEMU. All paths are relative to the machine's folder.
fn arguments(kernel: &Path) -> Vec<String> {
    let words = [
        "-M",
        // Without ACPI, because with it and without KVM a guest has nothing to set its clocks by.
        "microvm,acpi=off,x-option-roms=off,memory-backend=memory",
        "-object",
        // Shared, because the vsock daemon reads and writes it.
        "memory-backend-memfd,id=memory,size=128M,share=on",
        "-m",
        "128M",
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-smp",
        "2",
        "-kernel",
        &kernel.display().to_string(),
        "-initrd",
        "initramfs",
        "-append",
        "console=ttyS0 reboot=k panic=-1 quiet rdinit=/init",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-serial",
        "file:console",
        "-no-reboot",
        "-chardev",
        "socket,id=vsock,path=vhost.sock",
        "-device",
        "vhost-user-vsock-device,chardev=vsock",
        "-drive",
        "id=disk,file=disk,format=raw,if=none,readonly=on",
        "-device",
        "virtio-blk-device,drive=disk",
        "-netdev",
        "user,id=network,restrict=on",
        "-device",
        "virtio-net-device,netdev=network",
        "-device",
        "virtio-balloon-device",
        "-device",
        "virtio-rng-device",
    ];
    words.map(str::to_owned).into()
}

/// Starts `command` in `folder` with its output in `<name>.log` there.
fn spawn(command: &mut Command, folder: &Path, name: &str) -> Result<Child> {
    let log = File::create(folder.join(format!("{name}.log"))).context("create a log")?;
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("start {}", command.get_program().to_string_lossy()))
}

fn end(child: &mut Child) {
    // One that has ended by itself can't be killed, and that is fine.
    if child.kill().is_ok()
        && let Err(error) = child.wait()
    {
        eprintln!("xtask: wait for process {}: {error}", child.id());
    }
}

fn wait_for(socket: &Path, child: &mut Child) -> Result<()> {
    let begun = Instant::now();
    while !socket.exists() {
        if let Some(status) = child.try_wait()? {
            bail!("the vsock daemon ended with {status}; its log is beside {}", socket.display());
        }
        if begun.elapsed() > DEADLINE {
            bail!("{} did not appear", socket.display());
        }
        // sleep: between two looks at whether the daemon has made its socket, until the deadline
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Listens for the guest's knock; the first line that it says arrives at the other end.
fn listen(socket: &Path) -> Result<mpsc::Receiver<String>> {
    let listener = UnixListener::bind(socket).with_context(|| format!("listen on {}", socket.display()))?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let Ok((stream, _)) = listener.accept() else { return };
        let mut line = String::new();
        // Whoever waits sees the end of the channel where either fails.
        if BufReader::new(stream.take(MOST_BYTES)).read_line(&mut line).is_ok() {
            drop(sender.send(line));
        }
    });
    Ok(receiver)
}
