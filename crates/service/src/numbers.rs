//! Statistics for people and for Prometheus (exposition formats, text format 0.0.4).

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use agentkernel_api as api;

use crate::service::Inner;
use crate::{Caller, Scope, Service, ServiceError, view};

/// What Prometheus asks for.
const PREFIX: &str = "agentkernel";

impl Service {
    /// What the server does and has done.
    pub async fn stats(&self, caller: &Caller) -> Result<api::Stats, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "stats")?;
        self.numbers().await
    }

    /// The same as metrics, with the content type `text/plain; version=0.0.4`.
    pub async fn metrics(&self, caller: &Caller) -> Result<String, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "metrics")?;
        let stats = self.numbers().await?;
        let mut text = String::new();
        // Writing into a String can't fail.
        self.inner.write_metrics(&mut text, &stats).ok();
        Ok(text)
    }

    /// Counts a request that was answered, whatever the answer.
    pub fn request_answered(&self) {
        self.inner.statistics.requests.add(1);
    }

    /// Counts a request that was refused and is not written down: [`Self::denied`] counts those that are.
    pub fn request_denied(&self) {
        self.inner.statistics.denied.add(1);
    }

    async fn numbers(&self) -> Result<api::Stats, ServiceError> {
        let store = self.inner.engine.store().clone();
        let looked =
            self.inner.blocking(move || (resident_bytes(), open_files(), store.names().map(|all| all.len())));
        let (resident_bytes, open_files, sandboxes) = looked.await?;
        let sandboxes = sandboxes.map_err(agentkernel_engine::EngineError::from)? as u64;
        let statistics = &self.inner.statistics;
        let (run_p50_ms, run_p99_ms) = statistics.percentiles_ms();
        let pool = self.inner.pool_status();
        Ok(api::Stats {
            uptime_ms: view::millis(self.inner.since.elapsed()),
            resident_bytes,
            open_files,
            requests: statistics.requests.get(),
            denied: statistics.denied.get(),
            running: statistics.running.load(Ordering::Relaxed),
            queued: self.inner.admission.queued(),
            commands: statistics.commands.get(),
            warm: statistics.warm.get(),
            run_p50_ms,
            run_p99_ms,
            sandboxes,
            pooled: pool.templates.iter().map(|template| u64::from(template.ready)).sum(),
        })
    }
}

impl Inner {
    fn write_metrics(&self, text: &mut String, stats: &api::Stats) -> std::fmt::Result {
        let statistics = &self.statistics;
        let gauges = [
            ("uptime_seconds", "Since the server's start.", stats.uptime_ms as f64 / 1000.0),
            ("resident_bytes", "Resident memory of the server.", stats.resident_bytes as f64),
            ("open_files", "Open descriptors of the server.", stats.open_files as f64),
            ("running_commands", "Commands that run now.", stats.running as f64),
            ("queued_requests", "Requests that wait for room.", stats.queued as f64),
            ("terminals", "Terminals that are open.", self.terminals.count() as f64),
            ("sandboxes", "Sandboxes with a record.", stats.sandboxes as f64),
            ("pooled_boxes", "Boxes that wait in the pool.", stats.pooled as f64),
        ];
        for (name, help, value) in gauges {
            writeln!(
                text,
                "# HELP {PREFIX}_{name} {help}\n# TYPE {PREFIX}_{name} gauge\n{PREFIX}_{name} {value}"
            )?;
        }
        let counters = [
            ("requests_total", "Requests that were answered.", stats.requests),
            ("denied_total", "Requests that were refused: key, scope, origin, quota.", stats.denied),
            ("commands_total", "Commands that have ended.", stats.commands),
            ("warm_runs_total", "Runs that got a box that had been started earlier.", stats.warm),
            ("failed_starts_total", "Commands that could not be started.", statistics.failed_starts.get()),
            ("output_bytes_total", "Bytes that commands have written.", statistics.output_bytes.get()),
        ];
        for (name, help, value) in counters {
            writeln!(
                text,
                "# HELP {PREFIX}_{name} {help}\n# TYPE {PREFIX}_{name} counter\n{PREFIX}_{name} {value}"
            )?;
        }
        let run = "From a run's arrival to its command's end.";
        statistics.run_seconds.write(text, "agentkernel_run_seconds", run)?;
        let start = "From a run's arrival to its command's start.";
        statistics.start_seconds.write(text, "agentkernel_start_seconds", start)
    }
}

/// The second field of statm, in pages (proc_pid_statm(5)); 0 where it can't be read.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// The entries of proc_pid_fd(5), without the one that counts them.
fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}
