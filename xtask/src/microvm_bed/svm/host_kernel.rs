//! The kernel of the bed itself: Debian's stock one, as on a server that Firecracker runs on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::super::initramfs::Initramfs;
use crate::command;
use crate::kernel::{Package, remove};
use crate::test::cache_folder;

const INIT: &str = include_str!("init.sh");
/// Depends on the newest one.
const NEWEST: &str = "linux-image-amd64";
/// What the bed's first process loads, each after what it needs. Those that a kernel has built in are left out.
const MODULES: &[&str] = &[
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "drivers/char/virtio_console",
    "fs/netfs/netfs",
    "fs/fscache/fscache",
    "net/9p/9pnet",
    "net/9p/9pnet_virtio",
    "fs/9p/9p",
    "fs/overlayfs/overlay",
    "virt/lib/irqbypass",
    "drivers/crypto/ccp/ccp",
    "arch/x86/kvm/kvm",
    "arch/x86/kvm/kvm-amd",
    "drivers/net/tun",
];

/// A kernel and its modules in the cache.
pub(super) struct HostKernel {
    pub(super) kernel: PathBuf,
    /// Holds one folder, named after the kernel's release.
    pub(super) modules: PathBuf,
    release: String,
}

impl HostKernel {
    /// The one fetched before, or the newest of the machine's package sources.
    pub(super) fn ensure() -> Result<Self> {
        let folder = cache_folder()?.join("firecracker-svm");
        if let Some(this) = Self::in_folder(&folder.join("unpacked")) {
            return Ok(this);
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let package = Package::fetch(&folder, &newest()?)?;
        let unpacked = folder.join(format!("unpacked.{}", std::process::id()));
        remove(&unpacked)?;
        package.unpack(&unpacked)?;
        let made = Self::in_folder(&unpacked).context("the kernel's package has no kernel or no modules")?;
        command::output(Command::new("depmod").arg("-b").arg(&unpacked).arg(&made.release))?;
        std::fs::rename(&unpacked, folder.join("unpacked")).context("keep the unpacked kernel")?;
        Self::in_folder(&folder.join("unpacked")).context("the unpacked kernel is gone")
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        let modules = folder.join("lib/modules");
        let release = std::fs::read_dir(&modules).ok()?.flatten().next()?.file_name().into_string().ok()?;
        let kernel = folder.join("boot").join(format!("vmlinuz-{release}"));
        kernel.is_file().then_some(Self { kernel, modules, release })
    }

    /// The initramfs that shows the host's files and takes commands from below `folder`.
    pub(super) fn initramfs(&self, folder: &Path) -> Result<Vec<u8>> {
        let busybox = command::find("busybox").context("busybox is not installed")?;
        let mut initramfs = Initramfs::new();
        for folder in ["bin", "sbin", "modules"] {
            initramfs.folder(folder);
        }
        let read = |file: &Path| std::fs::read(file).with_context(|| format!("read {}", file.display()));
        initramfs.file("bin/busybox", 0o755, &read(&busybox)?);
        // What the kernel calls when it wants a module.
        initramfs.link("sbin/modprobe", "/bin/busybox");
        let init = INIT.replace("$FOLDER", &folder.display().to_string());
        initramfs.file("init", 0o755, init.as_bytes());
        let mut order = String::new();
        for module in MODULES {
            let file = self.modules.join(&self.release).join(format!("kernel/{module}.ko"));
            let Some(name) = module.rsplit('/').next().filter(|_| file.is_file()) else { continue };
            initramfs.file(&format!("modules/{name}.ko"), 0o644, &read(&file)?);
            order.push_str(name);
            order.push('\n');
        }
        if !order.contains("kvm-amd") {
            bail!("{} has no uncompressed kvm-amd module", self.release);
        }
        initramfs.file("modules/order", 0o644, order.as_bytes());
        Ok(initramfs.finish())
    }
}

/// The name of the package that is the newest kernel.
fn newest() -> Result<String> {
    let listing = command::output(Command::new("apt-cache").args(["depends", NEWEST]))?;
    let depends = listing.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    depends.map(str::to_owned).with_context(|| format!("apt-cache knows no {NEWEST}: run apt-get update"))
}
