//! The `firecracker-svm` bed: a QEMU machine that emulates an AMD processor with virtualisation, in which a stock kernel
//! has a faithful KVM. It shows this machine's files, copy-on-write in its memory, and runs commands over them: real
//! Firecracker and its jailer work there without real hardware. Slow, and nothing to measure speed in.

mod bed;
mod host_kernel;
mod line;

pub(super) use bed::{check, run_command, start, stop};
