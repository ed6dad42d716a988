//! The part of docs/benchmarks.md about microVMs.

use std::fmt::Write as _;

use super::super::statistics::{median, quantile};
use super::result::{MicrovmReport, Run};

/// The steps of the host until it calls the agent of a machine that was restored.
const UNTIL_CALLED: [&str; 4] = ["plan", "place", "vmm", "load"];

/// What waits for the guest: its kernel takes the call, its agent says that it waits, and does what it is told.
const OF_GUEST: [&str; 3] = ["connect", "agent", "set-up"];

/// What the host does when the machine has ended.
const AFTERWARDS: [&str; 1] = ["clean"];

/// The section: one table for each bed.
pub(crate) fn section(out: &mut String, reports: &[(String, MicrovmReport)]) -> std::fmt::Result {
    if reports.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## MicroVMs\n")?;
    writeln!(
        out,
        "By `cargo xtask bench microvm`. Whole runs of `echo hello` on a busybox image, without a network. Guests are slow \
         on all these beds, since none has a processor that runs guest kernels itself: figures of whole runs say nothing \
         of real hardware. The host's own work is told by the program itself.\n"
    )?;
    writeln!(out, "| bed | what | median, ms | p95, ms |\n|---|---|--:|--:|")?;
    for (_, report) in reports {
        rows(out, report)?;
    }
    writeln!(out)?;
    for (file, report) in reports {
        facts(out, file, report)?;
    }
    Ok(())
}

fn rows(out: &mut String, report: &MicrovmReport) -> std::fmt::Result {
    let bed = format!("{}, {}", report.vmm, report.bed);
    let mut row = |what: &str, samples: &[f64]| match samples.is_empty() {
        true => Ok(()),
        false => {
            let (middle, high) = (median(samples), quantile(samples, 0.95));
            writeln!(out, "| {bed} | {what} | {middle:.2} | {high:.2} |")
        }
    };
    let whole = |runs: &[Run]| runs.iter().map(|run| run.end_ms).collect::<Vec<_>>();
    row("run, kernel booted", &whole(&report.cold))?;
    row("run, restored", &whole(&report.restored))?;
    row("the same: host's work until the agent is called", &sums(&report.restored, &UNTIL_CALLED))?;
    for step in UNTIL_CALLED {
        row(&format!("of that: {step}"), &sums(&report.restored, &[step]))?;
    }
    row("the same: waiting for the guest's kernel and agent", &sums(&report.restored, &OF_GUEST))?;
    row("the same: host's work after the end", &sums(&report.restored, &AFTERWARDS))?;
    row("exec in a machine that runs", &report.exec_ms)?;
    row("run, native, on the same bed", &report.native)
}

fn facts(out: &mut String, file: &str, report: &MicrovmReport) -> std::fmt::Result {
    write!(
        out,
        "- {}, {}: measured at {} on commit {}, {}, {} cores, load averages {}; {} samples in \
         [bench/results/{file}](../bench/results/{file}).",
        report.vmm,
        report.bed,
        report.taken_at,
        report.commit,
        report.machine.kernel,
        report.machine.cores,
        report.machine.load,
        report.cold.len()
    )?;
    if let Some(many) = &report.at_once {
        write!(
            out,
            " {} restored at once: all ended after {:.1} s, {} failed.",
            many.machines, many.seconds, many.failed
        )?;
    }
    if let Some(idle) = &report.memory {
        write!(
            out,
            " {} idle machines: {:.1} MiB of private written memory and {:.1} MiB in all (PSS) each, with what the guest \
             wrote.",
            idle.machines,
            idle.private_dirty_kib / 1024.0,
            idle.pss_kib / 1024.0
        )?;
    }
    writeln!(out)
}

/// For each run the sum of its steps of these names, in milliseconds; nothing where a run has none of them.
fn sums(runs: &[Run], names: &[&str]) -> Vec<f64> {
    let of = |run: &Run| {
        let found = run.steps.iter().filter(|step| names.contains(&step.step.as_str()));
        let sum: Vec<f64> = found.map(|step| step.microseconds).collect();
        (!sum.is_empty()).then(|| sum.iter().sum::<f64>() / 1000.0)
    };
    runs.iter().filter_map(of).collect()
}

/// A goal's row: its text, what was measured, the unit, and what is enough.
type Goal<'a> = dyn FnMut(&str, Option<f64>, &str, &dyn Fn(f64) -> bool) -> std::fmt::Result + 'a;

/// The goals that were set before the first measurement, for each bed that can tell.
pub(crate) fn goals(reports: &[(String, MicrovmReport)], goal: &mut Goal<'_>) -> std::fmt::Result {
    for (_, report) in reports.iter().filter(|(_, report)| !report.restored.is_empty()) {
        let bed = &report.bed;
        let middle = |samples: Vec<f64>| (!samples.is_empty()).then(|| median(&samples));
        let sum = |names: &[&str]| middle(sums(&report.restored, names));
        let whole = |runs: &[Run]| middle(runs.iter().map(|run| run.end_ms).collect());
        let host = || Some(sum(&UNTIL_CALLED)? + sum(&AFTERWARDS)?);
        goal(&format!("host's work of a restored run at most 15 ms ({bed})"), host(), " ms", &|x| x <= 15.0)?;
        let loads = || Some(sum(&["load", "connect"])? / sum(&["load"])?);
        goal(&format!("restore and reconnect at most 2x the bare restore ({bed})"), loads(), "x", &|x| {
            x <= 2.0
        })?;
        let times = || Some(whole(&report.cold)? / whole(&report.restored)?);
        goal(&format!("a restored run at least 30x faster than a boot ({bed})"), times(), "x", &|x| {
            x >= 30.0
        })?;
        let failed = report.at_once.as_ref().map(|many| many.failed as f64);
        goal(&format!("20 restored at once, none failing ({bed})"), failed, " failed", &|x| x == 0.0)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::result::HostStep;
    use super::*;

    #[test]
    fn the_hosts_part_is_the_sum_of_its_steps() {
        let step = |step: &str, microseconds| HostStep { step: step.to_owned(), microseconds };
        let runs = [
            Run {
                end_ms: 300.0,
                steps: vec![step("load", 4000.0), step("connect", 1000.0), step("clean", 500.0)],
            },
            Run { end_ms: 300.0, steps: Vec::new() },
        ];
        assert_eq!(sums(&runs, &UNTIL_CALLED), [4.0]);
        assert_eq!(sums(&runs, &OF_GUEST), [1.0]);
        assert_eq!(sums(&runs, &AFTERWARDS), [0.5]);
    }
}
