//! The part of docs/benchmarks.md about the server.

use std::fmt::Write as _;

use super::super::statistics::{median, quantile};
use super::result::{Load, ServeReport};

/// The section.
pub(in super::super) fn section(out: &mut String, file: &str, report: &ServeReport) -> std::fmt::Result {
    writeln!(out, "\n## The server\n")?;
    writeln!(
        out,
        "Measured at {} on commit {} by `cargo xtask bench serve` on {}, {} cores, load averages {}; samples in \
         [bench/results/{file}](../bench/results/{file}). Backend native, image `host`, profile moderate; client and \
         server share the machine. All rows ran in turn, each when the pools were full and quiet; *warm* says how many \
         of the samples got a sandbox that had been started before it was asked for.\n",
        report.taken_at, report.commit, report.machine.kernel, report.machine.cores, report.machine.load
    )?;
    writeln!(out, "| what | how | median, ms | p95, ms | times the bare command | warm |")?;
    writeln!(out, "|---|---|--:|--:|--:|--:|")?;
    let bare = of(report, "bare").unwrap_or(f64::NAN);
    for row in &report.rows {
        let samples = &row.milliseconds;
        writeln!(
            out,
            "| {} | {} | {:.2} | {:.2} | {:.1} | {} of {} |",
            row.label,
            row.does,
            median(samples),
            quantile(samples, 0.95),
            median(samples) / bare,
            row.warm,
            samples.len()
        )?;
    }
    if let Some(load) = &report.load {
        many_at_once(out, load)?;
    }
    if let Some(throughput) = &report.throughput {
        let rate = |seconds: &[f64]| throughput.bytes as f64 / median(seconds) / 1e9;
        writeln!(
            out,
            "\n{} MiB of a command's output: {:.2} GB/s through a pipe between two processes, {:.2} GB/s out of a sandbox \
             and through the server as frames (medians of {}).",
            throughput.bytes >> 20,
            rate(&throughput.pipe_seconds),
            rate(&throughput.frames_seconds),
            throughput.pipe_seconds.len()
        )?;
    }
    if let Some(idle) = &report.idle {
        writeln!(
            out,
            "\nIdle sandboxes: the server has {} KiB of memory with {} and {} KiB with {}, which took {:.1} s to make; \
             `GET /sandboxes` takes {:.2} ms and {:.2} ms (medians of {}).",
            idle.few_kib,
            idle.few,
            idle.many_kib,
            idle.many,
            idle.create_seconds,
            median(&idle.few_list_ms),
            median(&idle.many_list_ms),
            idle.few_list_ms.len()
        )?;
    }
    Ok(())
}

fn many_at_once(out: &mut String, load: &Load) -> std::fmt::Result {
    writeln!(
        out,
        "\n{} runs of `echo hello` over {} connections at once: {:.0} a second, median {:.1} ms, p99 {:.1} ms, {} failed, \
         {} of them warm.",
        load.runs,
        load.at_once,
        rate(load),
        median(&load.milliseconds),
        quantile(&load.milliseconds, 0.99),
        load.failed,
        load.warm
    )?;
    for failure in &load.failures {
        writeln!(out, "- {}", failure.replace('\n', " "))?;
    }
    Ok(())
}

fn rate(load: &Load) -> f64 {
    (load.runs - load.failed) as f64 / load.seconds
}

fn of(report: &ServeReport, id: &str) -> Option<f64> {
    Some(median(&report.rows.iter().find(|row| row.id == id)?.milliseconds))
}

/// The median of a row whose samples were warm; where they weren't it measured something else.
fn of_warm(report: &ServeReport, id: &str) -> Option<f64> {
    let row = report.rows.iter().find(|row| row.id == id)?;
    // A pool may be late once in a while.
    (row.warm * 10 >= row.milliseconds.len() * 9).then(|| median(&row.milliseconds))
}

/// A goal's row: its text, what was measured, the unit, and what is enough.
type Goal<'a> = dyn FnMut(&str, Option<f64>, &str, &dyn Fn(f64) -> bool) -> std::fmt::Result + 'a;

/// The goals that were set before the first measurement.
pub(in super::super) fn goals(report: &ServeReport, goal: &mut Goal<'_>) -> std::fmt::Result {
    let bare = of(report, "bare");
    let against_bare = |value: Option<f64>| Some(value? / bare?);
    let row = |id: &str| of(report, id);
    goal(
        "create over HTTP until the first command has answered, warm, at most 3x fork and exec",
        against_bare(row("create-warm")),
        "x its time",
        &|x| x <= 3.0,
    )?;
    goal(
        "the same cold, at most 1.5x the command line's cold run",
        row("create-cold").and_then(|cold| Some(cold / row("cli-cold")?)),
        "x its time",
        &|x| x <= 1.5,
    )?;
    goal(
        "warm `run` over a kept-open HTTP connection at most 2x fork and exec",
        against_bare(of_warm(report, "run-tcp")),
        "x its time",
        &|x| x <= 2.0,
    )?;
    goal(
        "warm `run` through the command line at most 3x fork and exec",
        against_bare(of_warm(report, "cli-warm")),
        "x its time",
        &|x| x <= 3.0,
    )?;
    let load = report.load.as_ref();
    goal(
        "100 runs at once: at least 150 a second, none failing",
        load.filter(|load| load.failed == 0).map(rate),
        "/s",
        &|x| x >= 150.0,
    )?;
    goal(
        "p99 of these under 20x the median",
        load.map(|load| quantile(&load.milliseconds, 0.99) / median(&load.milliseconds)),
        "x",
        &|x| x < 20.0,
    )?;
    let throughput = report.throughput.as_ref();
    goal(
        "streamed output at least half as fast as a plain pipe",
        throughput.map(|found| median(&found.pipe_seconds) / median(&found.frames_seconds)),
        "x its rate",
        &|x| x >= 0.5,
    )?;
    let idle = report.idle.as_ref();
    goal(
        "1,000 idle sandboxes: at most 50 KiB of the server's memory each",
        idle.map(|idle| idle.many_kib.saturating_sub(idle.few_kib) as f64 / (idle.many - idle.few) as f64),
        " KiB",
        &|x| x <= 50.0,
    )?;
    goal(
        "a list of 1,000 sandboxes takes less than 20x one of 10",
        idle.map(|idle| median(&idle.many_list_ms) / median(&idle.few_list_ms)),
        "x its time",
        &|x| x < 20.0,
    )
}

#[cfg(test)]
mod tests {
    use super::super::result::{Idle, ServeRow, Throughput};
    use super::*;

    fn report() -> ServeReport {
        let row = |id: &str, milliseconds: f64, warm: usize| ServeRow {
            id: id.to_owned(),
            label: id.to_owned(),
            does: "d".to_owned(),
            milliseconds: vec![milliseconds; 10],
            warm,
        };
        let machine = r#"{"processor":"p","cores":2,"memory_mib":1,"kernel":"k","system":"s","virtualised":"v",
            "cgroups":"v1","load":"0","programs":[]}"#;
        ServeReport {
            taken_at: "t".to_owned(),
            commit: "c".to_owned(),
            machine: serde_json::from_str(machine).unwrap(),
            rows: vec![
                row("bare", 1.0, 0),
                row("run-tcp", 1.5, 10),
                row("cli-warm", 3.5, 10),
                row("cli-cold", 4.0, 0),
                row("create-warm", 8.0, 0),
                row("create-cold", 6.0, 0),
            ],
            load: Some(Load {
                runs: 100,
                at_once: 100,
                seconds: 0.5,
                failed: 0,
                warm: 90,
                milliseconds: vec![1.0, 1.0, 30.0],
                failures: Vec::new(),
            }),
            throughput: Some(Throughput {
                bytes: 1 << 30,
                pipe_seconds: vec![1.0],
                frames_seconds: vec![1.5],
            }),
            idle: Some(Idle {
                few: 10,
                many: 1000,
                few_kib: 10_000,
                many_kib: 109_000,
                few_list_ms: vec![1.0],
                many_list_ms: vec![15.0],
                create_seconds: 9.0,
            }),
            skipped: Vec::new(),
        }
    }

    fn reached(report: &ServeReport) -> Vec<Option<bool>> {
        let mut reached = Vec::new();
        goals(report, &mut |_, value, _, enough| {
            reached.push(value.map(enough));
            Ok(())
        })
        .unwrap();
        reached
    }

    #[test]
    fn goals_are_judged_one_by_one() {
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(reached(&report()), [no, yes, yes, no, yes, no, yes, no, yes]);
    }

    #[test]
    fn a_warm_goal_is_not_judged_by_cold_samples_nor_a_rate_by_failed_runs() {
        let mut report = report();
        report.rows[1].warm = 5;
        report.load.as_mut().unwrap().failed = 1;
        let judged = reached(&report);
        assert_eq!((judged[2], judged[4]), (None, None));
        let mut out = String::new();
        section(&mut out, "f", &report).unwrap();
        assert!(out.contains("| run-tcp | d | 1.50 | 1.50 | 1.5 | 5 of 10 |"), "{out}");
        assert!(out.contains("198 a second") && out.contains("1.07 GB/s"), "{out}");
    }
}
