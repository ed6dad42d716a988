//! A result file of the benchmark of microVMs, `bench/results/*-microvm.json`: raw, so that any figure can be computed
//! again.

use serde::{Deserialize, Serialize};

use super::super::result::{Machine, Skipped};

/// One run of the benchmark.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MicrovmReport {
    pub(crate) taken_at: String,
    pub(crate) commit: String,
    pub(crate) machine: Machine,
    /// What kind of machine this was: real hardware, or which emulation.
    pub(crate) bed: String,
    /// `firecracker` or `qemu`.
    pub(crate) vmm: String,
    /// Runs that booted a kernel.
    pub(crate) cold: Vec<Run>,
    /// Runs that went on from a template; none where the VMM can't.
    pub(crate) restored: Vec<Run>,
    /// The same command in native boxes, whole.
    pub(crate) native: Vec<f64>,
    /// One more command in a machine that runs, whole.
    pub(crate) exec_ms: Vec<f64>,
    pub(crate) at_once: Option<AtOnce>,
    pub(crate) memory: Option<IdleMachines>,
    pub(crate) skipped: Vec<Skipped>,
}

/// One run of `echo hello`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// From the spawn of `agentkernel` to its end.
    pub(crate) end_ms: f64,
    /// What it said of its own steps, in their order.
    pub(crate) steps: Vec<HostStep>,
}

/// A step of the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostStep {
    pub(crate) step: String,
    pub(crate) microseconds: f64,
}

/// Machines that were started at once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AtOnce {
    pub(crate) machines: usize,
    pub(crate) seconds: f64,
    pub(crate) failed: usize,
    /// The first few failures, in words.
    pub(crate) failures: Vec<String>,
}

/// Machines that do nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IdleMachines {
    pub(crate) machines: usize,
    /// Pages that only one process has, written ones: per machine, all its processes.
    pub(crate) private_dirty_kib: f64,
    /// The proportional set size, per machine.
    pub(crate) pss_kib: f64,
}
