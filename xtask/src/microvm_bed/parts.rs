//! What the bed consists of, and how tests find it.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::tool;
use crate::command;
use crate::kernel::{self, Architecture, Built};
use crate::test::{Needed, install_packages};
use crate::test_bed::Variables;
use crate::workspace::Workspace;

const KERNEL: &str = "AGENTKERNEL_TEST_KERNEL";
const QEMU: &str = "AGENTKERNEL_TEST_QEMU";
const VHOST_VSOCK: &str = "AGENTKERNEL_TEST_VHOST_VSOCK";
const FIRECRACKER: &str = "FIRECRACKER_BIN";
const JAILER: &str = "JAILER_BIN";

const QEMU_PROGRAM: Needed = Needed { program: "qemu-system-x86_64", package: "qemu-system-x86" };
const COMPILER: Needed = Needed { program: "gcc", package: "gcc" };

/// Everything that a machine is made of.
pub(super) struct Parts {
    pub(super) kernel: PathBuf,
    pub(super) qemu: PathBuf,
    pub(super) vhost_vsock: PathBuf,
    /// No package brings these two: they are used where somebody has built them.
    firecracker: Option<PathBuf>,
    jailer: Option<PathBuf>,
}

impl Parts {
    /// What is there already; an error names what is missing.
    pub(super) fn find(workspace: &Workspace) -> Result<Self> {
        let start = "is missing: run `cargo xtask microvm-bed qemu start`";
        let kernel = kernel::cached(workspace, Architecture::X86_64)?;
        let kernel = kernel.with_context(|| format!("the guest kernel of this configuration {start}"))?;
        let qemu = command::find(QEMU_PROGRAM.program);
        let qemu = qemu.with_context(|| format!("{} {start}", QEMU_PROGRAM.program))?;
        let vhost_vsock = tool::vhost_vsock()?.with_context(|| format!("the vsock daemon {start}"))?;
        Self::with(kernel, qemu, vhost_vsock)
    }

    /// Installs the packages that they, and what builds them, come from.
    pub(super) fn install() -> Result<()> {
        install_packages(&[QEMU_PROGRAM, COMPILER])?;
        kernel::install_for_build()
    }

    /// Gets and builds what is missing.
    pub(super) fn ensure(workspace: &Workspace) -> Result<Self> {
        Self::install()?;
        tool::ensure_vhost_vsock(workspace)?;
        if let Built::ConfigurationOnly(_) = kernel::ensure(workspace, Architecture::X86_64)? {
            anyhow::bail!(
                "this machine has no compiler for x86_64 kernels, and the bed's machines are x86_64"
            );
        }
        Self::find(workspace)
    }

    fn with(kernel: PathBuf, qemu: PathBuf, vhost_vsock: PathBuf) -> Result<Self> {
        let firecracker = tool::brought(FIRECRACKER, "firecracker")?;
        let jailer = tool::brought(JAILER, "jailer")?;
        Ok(Self { kernel, qemu, vhost_vsock, firecracker, jailer })
    }

    /// What tests find them by.
    pub(super) fn variables(&self) -> Variables {
        let brought = [(FIRECRACKER, self.firecracker.as_ref()), (JAILER, self.jailer.as_ref())];
        let there = brought.into_iter().filter_map(|(name, path)| Some((name, path?)));
        self.of_qemu().into_iter().chain(there.map(variable)).collect()
    }

    /// The same as keys of `[firecracker]` in `agentkernel.toml`.
    pub(super) fn settings(&self) -> Variables {
        let all = [("kernel", &self.kernel), ("qemu", &self.qemu), ("vhost_device_vsock", &self.vhost_vsock)];
        let brought = [("firecracker", self.firecracker.as_ref()), ("jailer", self.jailer.as_ref())];
        let there = brought.into_iter().filter_map(|(name, path)| Some((name, path?)));
        all.into_iter().chain(there).map(variable).collect()
    }

    /// The same without what only people can bring.
    pub(super) fn of_qemu(&self) -> Variables {
        let all = [(KERNEL, &self.kernel), (QEMU, &self.qemu), (VHOST_VSOCK, &self.vhost_vsock)];
        all.map(variable).into()
    }
}

fn variable((name, path): (&str, &PathBuf)) -> (String, String) {
    (name.to_owned(), path.display().to_string())
}
