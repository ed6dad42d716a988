//! A result file of the server's benchmark, `bench/results/*-serve.json`: raw, so that any figure can be computed again.

use serde::{Deserialize, Serialize};

use super::super::result::{Machine, Skipped};

/// One run of the benchmark.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServeReport {
    pub(crate) taken_at: String,
    pub(crate) commit: String,
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<ServeRow>,
    pub(crate) load: Option<Load>,
    pub(crate) throughput: Option<Throughput>,
    pub(crate) idle: Option<Idle>,
    pub(crate) skipped: Vec<Skipped>,
}

/// One contender's samples.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServeRow {
    pub(crate) id: String,
    pub(crate) label: String,
    /// What the time is from and to.
    pub(crate) does: String,
    pub(crate) milliseconds: Vec<f64>,
    /// How many of them got a sandbox that had been started before.
    pub(crate) warm: usize,
}

/// Many runs at once over connections that are kept open.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) runs: usize,
    pub(crate) at_once: usize,
    pub(crate) seconds: f64,
    pub(crate) failed: usize,
    pub(crate) warm: usize,
    pub(crate) milliseconds: Vec<f64>,
    /// The first few failures, in words.
    pub(crate) failures: Vec<String>,
}

/// The same bytes through a pipe and through the server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Throughput {
    pub(crate) bytes: u64,
    pub(crate) pipe_seconds: Vec<f64>,
    pub(crate) frames_seconds: Vec<f64>,
}

/// Sandboxes that nobody uses.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Idle {
    pub(crate) few: usize,
    pub(crate) many: usize,
    /// The server's memory with so many.
    pub(crate) few_kib: u64,
    pub(crate) many_kib: u64,
    /// How long `GET /sandboxes` takes with so many.
    pub(crate) few_list_ms: Vec<f64>,
    pub(crate) many_list_ms: Vec<f64>,
    /// How long making the many took.
    pub(crate) create_seconds: f64,
}
