//! The part of docs/benchmarks.md about images.

use std::fmt::Write as _;

use super::result::ImageReport;
use super::statistics::{median, quantile};

/// The section.
pub(super) fn section(out: &mut String, file: &str, report: &ImageReport) -> std::fmt::Result {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(out, "\n## An image from a registry\n")?;
    writeln!(
        out,
        "Measured at {} on commit {} by `cargo xtask bench image` on {}, {}; samples in \
         [bench/results/{file}](../bench/results/{file}). A Debian image with Python in three layers, {:.0} MiB \
         compressed and {:.0} MiB unpacked, from a registry on the same machine; each pull begins with an empty store.\n",
        report.taken_at,
        report.commit,
        report.machine.system,
        report.machine.kernel,
        mebibytes(report.compressed_bytes),
        mebibytes(report.unpacked_bytes)
    )?;
    writeln!(out, "| command | ends with | median, s | p95, s |\n|---|---|--:|--:|")?;
    for row in &report.rows {
        writeln!(
            out,
            "| {} | {} | {:.2} | {:.2} |",
            row.label,
            row.does,
            median(&row.milliseconds) / 1000.0,
            quantile(&row.milliseconds, 0.95) / 1000.0
        )?;
    }
    let samples = report.rows.first().map_or(0, |row| row.milliseconds.len());
    writeln!(out, "\n{samples} samples a row.")?;
    if let Some(run) = &report.second_run {
        writeln!(
            out,
            "\n`agentkernel run --image IMAGE -- /bin/true` afterwards: median {:.2} ms; {} requests reached the \
             registry in {} runs.",
            median(&run.milliseconds),
            run.requests,
            run.milliseconds.len()
        )?;
    }
    Ok(())
}

/// A goal's row: its text, what was measured, the unit, and what is enough.
type Goal<'a> = dyn FnMut(&str, Option<f64>, &str, &dyn Fn(f64) -> bool) -> std::fmt::Result + 'a;

/// The goals that were set before the first measurement.
pub(super) fn goals(report: Option<&ImageReport>, goal: &mut Goal<'_>) -> std::fmt::Result {
    let of = |id: &str| {
        let row = report?.rows.iter().find(|row| row.id == id)?;
        Some(median(&row.milliseconds))
    };
    let against = |other: &str| Some(of("agentkernel")? / of(other)?);
    goal(
        "first pull and unpack no slower than `docker pull` from the same registry",
        against("docker"),
        "x its time",
        &|x| x <= 1.0,
    )?;
    goal("faster than `skopeo copy` and `umoci unpack`", against("skopeo-umoci"), "x its time", &|x| {
        x < 1.0
    })?;
    let requests = report.and_then(|report| Some(report.second_run.as_ref()?.requests as f64));
    goal("a second run asks the registry nothing", requests, " requests", &|x| x == 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::result::{ImageRow, Machine, SecondRun};
    use super::*;

    #[test]
    fn the_slower_one_misses_the_goal() {
        let row = |id: &str, milliseconds: f64| ImageRow {
            id: id.to_owned(),
            label: id.to_owned(),
            does: "d".to_owned(),
            milliseconds: vec![milliseconds; 3],
        };
        let machine = r#"{"processor":"p","cores":2,"memory_mib":1,"kernel":"k","system":"s","virtualised":"v",
            "cgroups":"v1","load":"0","programs":[]}"#;
        let machine: Machine = serde_json::from_str(machine).unwrap();
        let report = ImageReport {
            taken_at: "t".to_owned(),
            commit: "c".to_owned(),
            machine,
            compressed_bytes: 50 << 20,
            unpacked_bytes: 150 << 20,
            rows: vec![row("agentkernel", 2000.0), row("docker", 1000.0), row("skopeo-umoci", 4000.0)],
            second_run: Some(SecondRun { milliseconds: vec![7.0], requests: 0 }),
            skipped: Vec::new(),
        };
        let mut out = String::new();
        section(&mut out, "f", &report).unwrap();
        assert!(out.contains("| agentkernel | d | 2.00 | 2.00 |"), "{out}");
        let mut reached = Vec::new();
        goals(Some(&report), &mut |_, value, _, enough| {
            reached.push(value.map(enough));
            Ok(())
        })
        .unwrap();
        assert_eq!(reached, [Some(false), Some(true), Some(true)]);
    }
}
