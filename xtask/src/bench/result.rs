//! A result file of bench/results/: everything measured, raw, so that any figure can be computed again from it.

use serde::{Deserialize, Serialize};

/// One run of the benchmark.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// UTC, RFC 3339.
    pub(crate) taken_at: String,
    /// The commit, with `-dirty` where the work tree differed from it.
    pub(crate) commit: String,
    pub(crate) machine: Machine,
    pub(crate) groups: Vec<Group>,
    pub(crate) concurrency: Vec<Concurrency>,
    pub(crate) memory: Vec<Memory>,
    /// The steps of making a box.
    pub(crate) steps: Vec<Step>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Where it was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) system: String,
    pub(crate) virtualised: String,
    pub(crate) cgroups: String,
    /// Load averages when the run began.
    pub(crate) load: String,
    /// Name and version of each contender's program.
    pub(crate) programs: Vec<String>,
}

/// Contenders that were measured interleaved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

/// One contender's samples, in milliseconds since its process was spawned.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) label: String,
    /// What isolation it gives, for the comparison to be fair.
    pub(crate) does: String,
    pub(crate) first_output_ms: Vec<f64>,
    pub(crate) exit_ms: Vec<f64>,
}

/// Many runs at once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Concurrency {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) runs: usize,
    pub(crate) at_once: usize,
    pub(crate) seconds: f64,
    pub(crate) failed: usize,
    /// `Some`: the limits were read back in each run; how many had one missing or wrong.
    pub(crate) wrong_limits: Option<usize>,
    /// The first few failures, in words.
    pub(crate) failures: Vec<String>,
}

/// What idle sandboxes cost.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) sandboxes: usize,
    /// Proportional set size of all processes that came with them, per sandbox.
    pub(crate) process_pss_kib: f64,
    /// What the memory controller charges them, kernel memory included, per sandbox; `None` where it has none.
    pub(crate) charged_kib: Option<f64>,
    /// Processes per sandbox.
    pub(crate) processes: f64,
}

/// One step of making a box, over all rounds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) microseconds: Vec<f64>,
}

/// One run of the benchmark of images, `bench/results/*-images.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ImageReport {
    pub(crate) taken_at: String,
    pub(crate) commit: String,
    pub(crate) machine: Machine,
    /// What a pull transfers.
    pub(crate) compressed_bytes: u64,
    /// What it becomes.
    pub(crate) unpacked_bytes: u64,
    pub(crate) rows: Vec<ImageRow>,
    /// `None` where it could not be measured.
    pub(crate) second_run: Option<SecondRun>,
    pub(crate) skipped: Vec<Skipped>,
}

/// One contender's pulls, each from an empty store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ImageRow {
    pub(crate) id: String,
    pub(crate) label: String,
    /// What state the image is in afterwards.
    pub(crate) does: String,
    pub(crate) milliseconds: Vec<f64>,
}

/// Runs on an image that was pulled before.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SecondRun {
    pub(crate) milliseconds: Vec<f64>,
    /// What the registry was asked during all of them.
    pub(crate) requests: usize,
}

/// Something that could not be measured here.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) what: String,
    pub(crate) why: String,
}
