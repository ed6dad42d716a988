//! The bed's machine: started, asked, ended.

use std::io::{BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::host_kernel::HostKernel;
use super::line::copy_answer;
use crate::command;
use crate::kernel::remove;
use crate::test::{Needed, install_packages};

/// One for the machine. Short, because names of unix sockets are at most 107 bytes long (unix(7)).
const FOLDER: &str = "/var/tmp/ak-svm";
const PORT: &str = "bed.sock";
/// How long it may take to boot on a machine that does much else.
const READY_WITHIN: Duration = Duration::from_secs(240);
const MEMORY_MIB: &str = "8192";

const NEEDED: &[Needed] = &[
    Needed { program: "qemu-system-x86_64", package: "qemu-system-x86" },
    Needed { program: "busybox", package: "busybox-static" },
    Needed { program: "depmod", package: "kmod" },
];

/// Brings it up, or finds it up already.
pub(in super::super) fn start() -> Result<()> {
    if !command::is_root() {
        bail!("only root can bring this bed up, because it shows all of this machine's files");
    }
    if !processes().is_empty() {
        return ask("true", READY_WITHIN).map(drop);
    }
    stop()?;
    install_packages(NEEDED)?;
    let kernel = HostKernel::ensure()?;
    let folder = Path::new(FOLDER);
    std::fs::DirBuilder::new().mode(0o700).create(folder).with_context(|| format!("create {FOLDER}"))?;
    std::fs::write(folder.join("initramfs"), kernel.initramfs(folder)?).context("write the initramfs")?;
    let begun = Instant::now();
    let up = command::output(&mut qemu(&kernel, folder)).and_then(|_| ask("test -c /dev/kvm", READY_WITHIN));
    match up {
        Ok(0) => {
            eprintln!("microvm-bed: firecracker-svm is up after {:.1} s", begun.elapsed().as_secs_f64());
            Ok(())
        }
        result => {
            let console = std::fs::read(folder.join("console")).unwrap_or_default();
            let console = String::from_utf8_lossy(&console).into_owned();
            stop()?;
            result.map(drop)?;
            bail!("the bed has no /dev/kvm; its console: {console}")
        }
    }
}

/// Runs a command line in it, over this machine's files, in this folder; its exit status. Output goes to ours.
pub(in super::super) fn run_command(line: &str, variables: &str) -> Result<i32> {
    let here = std::env::current_dir().context("find the current folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let here = quoted(&here.display().to_string());
    ask(
        &format!("{variables}export PATH={} HOME=/root\ncd {here} || exit\n{line}", quoted(&path)),
        Duration::ZERO,
    )
}

/// Ends it and removes its folder. Fine where there is none.
pub(in super::super) fn stop() -> Result<()> {
    for (id, begun) in processes().into_iter().map(|id| (id, Instant::now())) {
        // One that has just ended by itself can't be killed, and that is fine: the loop below looks.
        drop(command::output(Command::new("kill").args(["-KILL", &id.to_string()])));
        while processes().contains(&id) {
            if begun.elapsed() > Duration::from_secs(20) {
                bail!("process {id} of the bed does not end");
            }
            // sleep: between two looks at whether a killed process has gone, until the deadline
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    remove(Path::new(FOLDER))
}

/// Runs Firecracker, if it is there, as far as its version, and looks at what it needs.
pub(in super::super) fn check(variables: &str) -> Result<bool> {
    let line = "test -c /dev/kvm && test -c /dev/net/tun && grep -qw svm /proc/cpuinfo && \
                grep -qw memory /sys/fs/cgroup/cgroup.controllers && echo 'microvm-bed: KVM, TUN and cgroup v2 are there' && \
                if [ -n \"$FIRECRACKER_BIN\" ]; then \"$FIRECRACKER_BIN\" --version; \
                else echo 'microvm-bed: no Firecracker: see docs/kernel.md'; fi";
    Ok(run_command(line, variables)? == 0)
}

/// Asks the bed to run `line`. A `within` of zero waits as long as the command takes.
fn ask(line: &str, within: Duration) -> Result<i32> {
    check_owner()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?;
    let word = format!("{}-{}", std::process::id(), now.as_nanos());
    let file = Path::new(FOLDER).join(format!("command-{word}"));
    std::fs::write(&file, line).with_context(|| format!("write {}", file.display()))?;
    let answer = connect().and_then(|mut stream| {
        stream.set_read_timeout((within > Duration::ZERO).then_some(within))?;
        writeln!(stream, "{word}").context("ask the bed")?;
        copy_answer(&word, &mut BufReader::new(stream), &mut std::io::stdout())
    });
    std::fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    answer
}

fn connect() -> Result<UnixStream> {
    UnixStream::connect(Path::new(FOLDER).join(PORT))
        .context("no bed is up: run `cargo xtask microvm-bed firecracker-svm start`")
}

/// The parent is everybody's: what somebody else put there is not ours.
fn check_owner() -> Result<()> {
    let metadata = std::fs::symlink_metadata(FOLDER)
        .context("no bed is up: run `cargo xtask microvm-bed firecracker-svm start`")?;
    if !metadata.is_dir() || metadata.uid() != 0 || metadata.mode() & 0o077 != 0 {
        bail!("{FOLDER} is not a folder that only root can use");
    }
    Ok(())
}

fn qemu(kernel: &HostKernel, folder: &Path) -> Command {
    let share = |name: &str, path: &Path| {
        let path = path.display();
        format!("local,id={name},path={path},readonly=on,security_model=none,multidevs=remap")
    };
    let own = |name: &str| folder.join(name).display().to_string();
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-M", "q35", "-accel", "tcg,thread=multi", "-smp", "2", "-m", MEMORY_MIB]);
    qemu.args(["-cpu", "max,+svm,+npt", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(&kernel.kernel).args(["-initrd", &own("initramfs")]);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr"]);
    qemu.args(["-serial", &format!("file:{}", own("console"))]);
    qemu.args(["-fsdev", &share("host", Path::new("/")), "-fsdev", &share("modules", &kernel.modules)]);
    qemu.args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]);
    qemu.args(["-device", "virtio-9p-pci,fsdev=modules,mount_tag=modules"]);
    qemu.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=bed,name=bed"]);
    qemu.args(["-chardev", &format!("socket,id=bed,path={},server=on,wait=off", own(PORT))]);
    qemu.arg("-daemonize").current_dir("/");
    qemu
}

/// Ids of the bed's living processes.
fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| is_ours(&PathBuf::from(format!("/proc/{id}")))).collect()
}

fn is_ours(process: &Path) -> bool {
    let program = std::fs::read_link(process.join("exe")).unwrap_or_default();
    let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
    let port = format!("path={FOLDER}/{PORT}");
    program.file_name().is_some_and(|name| name == "qemu-system-x86_64")
        && line.windows(port.len()).any(|window| window == port.as_bytes())
}
