//! `cargo xtask microvm-bed`: what tests of microVMs need and the machine lacks. For `qemu`: QEMU, the vsock daemon and
//! our kernel, none of which runs until a test starts a machine. For `firecracker-svm`: a machine with a faithful KVM.

mod arguments;
mod check;
mod for_tests;
mod initramfs;
mod machine;
mod parts;
mod svm;
mod tool;

pub(crate) use arguments::run;
pub(crate) use for_tests::ForTests;

/// Where the parts of machines are, as keys of `[firecracker]` in `agentkernel.toml`.
pub(crate) fn settings(
    workspace: &crate::workspace::Workspace,
) -> anyhow::Result<crate::test_bed::Variables> {
    Ok(parts::Parts::find(workspace)?.settings())
}
