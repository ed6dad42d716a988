//! docs/benchmarks.md, written from the newest file of bench/results/ and from nothing else.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::images_table;
use super::microvm::result::MicrovmReport;
use super::microvm::table as microvm_table;
use super::result::{Group, ImageReport, Report, Row};
use super::serve::result::ServeReport;
use super::serve::table as serve_table;
use super::statistics::{median, quantile};
use crate::workspace::Workspace;

/// Writes the page; an error where there is no result yet.
pub(crate) fn write(workspace: &Workspace) -> Result<bool> {
    let Some(page) = newest(workspace)? else {
        bail!("bench/results/ is empty: run `cargo xtask bench run`")
    };
    std::fs::create_dir_all(workspace.root.join("docs"))?;
    std::fs::write(workspace.root.join("docs/benchmarks.md"), page).context("write docs/benchmarks.md")?;
    println!("bench: docs/benchmarks.md");
    Ok(true)
}

/// How the files of the benchmarks end that are not `bench run`.
const OF_IMAGES: &str = "-images.json";
const OF_SERVER: &str = "-serve.json";
const OF_MICROVMS: &str = "-microvm.json";

/// Writes a result of the image benchmark, and the page.
pub(crate) fn write_images(workspace: &Workspace, report: &ImageReport) -> Result<()> {
    write_result(workspace, &report.taken_at, OF_IMAGES, report)
}

/// Writes a result of the server's benchmark, and the page.
pub(crate) fn write_serve(workspace: &Workspace, report: &ServeReport) -> Result<()> {
    write_result(workspace, &report.taken_at, OF_SERVER, report)
}

/// Writes a result of the benchmark of microVMs, and the page.
pub(crate) fn write_microvm(workspace: &Workspace, report: &MicrovmReport) -> Result<()> {
    write_result(workspace, &report.taken_at, OF_MICROVMS, report)
}

fn write_result(workspace: &Workspace, taken_at: &str, ending: &str, report: &impl Serialize) -> Result<()> {
    let folder = workspace.root.join("bench/results");
    std::fs::create_dir_all(&folder)?;
    let name = format!("{}{ending}", taken_at.replace(':', "-"));
    let mut json = serde_json::to_string(report)?;
    json.push('\n');
    std::fs::write(folder.join(&name), json).with_context(|| format!("write bench/results/{name}"))?;
    println!("bench: bench/results/{name}");
    write(workspace).map(drop)
}

/// The page for the newest results; `None` where there is none.
pub(crate) fn newest(workspace: &Workspace) -> Result<Option<String>> {
    let Some((name, report)) = newest_of::<Report>(workspace, None)? else { return Ok(None) };
    let others = Others {
        images: newest_of(workspace, Some(OF_IMAGES))?,
        serve: newest_of(workspace, Some(OF_SERVER))?,
        microvms: newest_of_each_bed(workspace)?,
    };
    page(&report, &name, &others).map(Some).context("write the page")
}

/// The newest results of the benchmarks that are not `bench run`, with their files' names.
#[derive(Default)]
struct Others {
    images: Option<(String, ImageReport)>,
    serve: Option<(String, ServeReport)>,
    /// One for each bed.
    microvms: Vec<(String, MicrovmReport)>,
}

/// The newest result of each kind of machine that microVMs were measured on.
fn newest_of_each_bed(workspace: &Workspace) -> Result<Vec<(String, MicrovmReport)>> {
    let mut newest: Vec<(String, MicrovmReport)> = Vec::new();
    for name in names_of(workspace, Some(OF_MICROVMS)) {
        let report: MicrovmReport = read_result(workspace, &name)?;
        newest.retain(|(_, other)| (&other.bed, &other.vmm) != (&report.bed, &report.vmm));
        newest.push((name, report));
    }
    Ok(newest)
}

/// The newest result whose name ends so, with its file's name; `None` is `bench run`.
fn newest_of<T: DeserializeOwned>(
    workspace: &Workspace,
    ending: Option<&str>,
) -> Result<Option<(String, T)>> {
    match names_of(workspace, ending).pop() {
        Some(name) => read_result(workspace, &name).map(|report| Some((name, report))),
        None => Ok(None),
    }
}

/// The results whose names end so, the oldest first: names begin with the time they were taken at.
fn names_of(workspace: &Workspace, ending: Option<&str>) -> Vec<String> {
    let entries = std::fs::read_dir(workspace.root.join("bench/results")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let others = [OF_IMAGES, OF_SERVER, OF_MICROVMS];
    let mut names: Vec<String> = names
        .filter(|name| match ending {
            Some(ending) => name.ends_with(ending),
            None => name.ends_with(".json") && !others.iter().any(|other| name.ends_with(other)),
        })
        .collect();
    names.sort();
    names
}

fn read_result<T: DeserializeOwned>(workspace: &Workspace, name: &str) -> Result<T> {
    let file = workspace.root.join("bench/results").join(name);
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("parse {}", file.display()))
}

fn page(report: &Report, file: &str, others: &Others) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let machine = &report.machine;
    writeln!(out, "# Benchmarks\n")?;
    writeln!(out, "<!-- Generated by `cargo xtask bench`; edit xtask/src/bench/table.rs instead. -->\n")?;
    writeln!(
        out,
        "Measured at {} on commit {} by `cargo xtask bench run`. Every sample is in \
         [bench/results/{file}](../bench/results/{file}). Milliseconds count from the spawn of the command in the first \
         column to its first byte of output and to its end. All rows of a table ran in turn, again and again, in one \
         run: what disturbed the machine disturbed all of them, so trust the ratios more than the times.\n",
        report.taken_at, report.commit
    )?;
    writeln!(out, "| machine | |\n|---|---|")?;
    writeln!(out, "| processor | {} cores of {} |", machine.cores, machine.processor)?;
    writeln!(out, "| memory | {} MiB |", machine.memory_mib)?;
    writeln!(
        out,
        "| system | {}, {}, virtualised by: {} |",
        machine.system, machine.kernel, machine.virtualised
    )?;
    writeln!(out, "| control groups | {} |", machine.cgroups)?;
    writeln!(out, "| load averages at the start | {} |", machine.load)?;
    writeln!(out, "| programs | {} |", machine.programs.join("; "))?;
    let load: Option<f64> = machine.load.split(' ').next().and_then(|load| load.parse().ok());
    if load.is_some_and(|load| load > machine.cores as f64) {
        writeln!(
            out,
            "\n**The machine was busy with other work: not even the ratios are to be relied on.**"
        )?;
    }
    for group in &report.groups {
        group_table(&mut out, group)?;
    }
    if let Some((file, images)) = &others.images {
        images_table::section(&mut out, file, images)?;
    }
    if let Some((file, serve)) = &others.serve {
        serve_table::section(&mut out, file, serve)?;
    }
    microvm_table::section(&mut out, &others.microvms)?;
    concurrency(&mut out, report)?;
    memory(&mut out, report)?;
    steps(&mut out, report)?;
    goals(&mut out, report, others)?;
    let skipped: Vec<_> = report
        .skipped
        .iter()
        .chain(others.images.iter().flat_map(|(_, images)| &images.skipped))
        .chain(others.serve.iter().flat_map(|(_, serve)| &serve.skipped))
        .chain(others.microvms.iter().flat_map(|(_, microvm)| &microvm.skipped))
        .collect();
    if !skipped.is_empty() {
        writeln!(out, "\n## Not measured\n")?;
        for skipped in skipped {
            writeln!(out, "- {}: {}", skipped.what, skipped.why.lines().next().unwrap_or_default())?;
        }
    }
    Ok(out)
}

fn group_table(out: &mut String, group: &Group) -> std::fmt::Result {
    writeln!(out, "\n## {}\n", group.title)?;
    writeln!(
        out,
        "| command | isolation | output: median | p95 | end: median | p95 | times the bare command |"
    )?;
    writeln!(out, "|---|---|--:|--:|--:|--:|--:|")?;
    let bare = group.rows.iter().find(|row| row.id == "bare").map_or(f64::NAN, |row| median(&row.exit_ms));
    for row in &group.rows {
        writeln!(
            out,
            "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} |",
            row.label,
            row.does,
            median(&row.first_output_ms),
            quantile(&row.first_output_ms, 0.95),
            median(&row.exit_ms),
            quantile(&row.exit_ms, 0.95),
            median(&row.exit_ms) / bare
        )?;
    }
    let samples = group.rows.first().map_or(0, |row| row.exit_ms.len());
    writeln!(out, "\n{samples} samples a row.")
}

fn concurrency(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "\n## Many at once\n")?;
    writeln!(out, "| runs | at once | of | per second | failed | limits missing or wrong |")?;
    writeln!(out, "|--:|--:|---|--:|--:|--:|")?;
    for row in &report.concurrency {
        let wrong = row.wrong_limits.map_or_else(|| "not read".to_owned(), |wrong| wrong.to_string());
        let rate = row.runs as f64 / row.seconds;
        writeln!(
            out,
            "| {} | {} | {} | {rate:.0} | {} | {wrong} |",
            row.runs, row.at_once, row.label, row.failed
        )?;
        for failure in &row.failures {
            writeln!(out, "| | | {} | | | |", failure.replace(['\n', '|'], " "))?;
        }
    }
    writeln!(
        out,
        "\nThe limits are those of profile moderate (512 MiB, one processor, 1024 processes, 8192 open files): read from \
         the control group of the box's own process and with `ulimit` inside."
    )
}

fn memory(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "\n## Memory of idle sandboxes\n")?;
    writeln!(
        out,
        "| what | sandboxes | processes each | their memory (PSS), KiB each | charged by the kernel, KiB each |"
    )?;
    writeln!(out, "|---|--:|--:|--:|--:|")?;
    for row in &report.memory {
        let charged = row.charged_kib.map_or_else(|| "not known".to_owned(), |kib| format!("{kib:.0}"));
        writeln!(
            out,
            "| {} | {} | {:.1} | {:.0} | {charged} |",
            row.label, row.sandboxes, row.processes, row.process_pss_kib
        )?;
    }
    writeln!(
        out,
        "\nThe two columns overlap (pages of a process are charged to its control group) and must not be added: PSS \
         counts user memory with shared pages split among their users, the charge counts the kernel's structures too."
    )
}

fn steps(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.steps.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Where the time goes\n")?;
    writeln!(out, "| step of making a box | median, µs | p95, µs |\n|---|--:|--:|")?;
    for step in &report.steps {
        let samples = &step.microseconds;
        writeln!(out, "| {} | {:.0} | {:.0} |", step.name, median(samples), quantile(samples, 0.95))?;
    }
    Ok(())
}

/// The goals that were set before the first measurement, and what became of them.
fn goals(out: &mut String, report: &Report, others: &Others) -> std::fmt::Result {
    writeln!(out, "\n## Goals\n\n| goal | measured | reached |\n|---|--:|---|")?;
    let mut goal = |text: &str, value: Option<f64>, unit: &str, reached: &dyn Fn(f64) -> bool| match value {
        Some(value) => {
            let word = if reached(value) { "yes" } else { "**no**" };
            writeln!(out, "| {text} | {value:.2}{unit} | {word} |")
        }
        None => writeln!(out, "| {text} | not measured | unknown |"),
    };
    let ratio =
        |group: &str, slow: &str, fast: &str| Some(end(report, group, slow)? / end(report, group, fast)?);
    goal(
        "`run -- echo hello`, all layers and limits, no slower than plain `bwrap`",
        ratio("run", "agentkernel-no-network", "bwrap"),
        "x its time",
        &|x| x <= 1.0,
    )?;
    goal(
        "the same with the network of the default profile",
        ratio("run", "agentkernel", "bwrap"),
        "x its time",
        &|x| x <= 1.0,
    )?;
    goal(
        "at least 40x faster than `docker run --network none`",
        ratio("run", "docker-none", "agentkernel-no-network"),
        "x",
        &|x| x >= 40.0,
    )?;
    goal(
        "at least 50x faster than default `docker run`",
        ratio("run", "docker", "agentkernel"),
        "x",
        &|x| x >= 50.0,
    )?;
    goal(
        "exec at least 20x faster than `docker exec`",
        ratio("exec", "docker-exec", "agentkernel-exec"),
        "x",
        &|x| x >= 20.0,
    )?;
    let of = |id: &str| report.concurrency.iter().find(|row| row.id == id);
    let clean = |row: &&super::result::Concurrency| row.failed == 0 && row.wrong_limits.unwrap_or(0) == 0;
    goal(
        "at least 100 runs a second at concurrency 10, none failing",
        of("plain").filter(clean).map(|row| row.runs as f64 / row.seconds),
        "/s",
        &|x| x >= 100.0,
    )?;
    goal(
        "every limit in force in each of them",
        of("limits").map(|row| (row.failed + row.wrong_limits.unwrap_or(row.runs)) as f64),
        " wrong",
        &|x| x == 0.0,
    )?;
    let idle = report.memory.iter().find(|row| row.id == "agentkernel");
    goal(
        "at most 1 MiB per idle sandbox (the larger of the two figures)",
        idle.map(|row| row.process_pss_kib.max(row.charged_kib.unwrap_or(0.0)) / 1024.0),
        " MiB",
        &|x| x <= 1.0,
    )?;
    goal(
        "`run` on Docker no slower than `docker run --rm` with the same options",
        ratio("run-docker", "agentkernel-docker", "docker-same"),
        "x its time",
        &|x| x <= 1.0,
    )?;
    goal(
        "`run` on Podman no slower than `podman run --rm` with the same options",
        ratio("run-podman", "agentkernel-podman", "podman-same"),
        "x its time",
        &|x| x <= 1.0,
    )?;
    goal(
        "exec in a Docker sandbox at least 10x faster than `docker exec`",
        ratio("exec", "docker-exec", "agentkernel-exec-docker"),
        "x",
        &|x| x >= 10.0,
    )?;
    goal(
        "native run on a cached image within 1.2x of native run on `host`",
        ratio("run-image", "agentkernel-debian", "agentkernel-host"),
        "x its time",
        &|x| x <= 1.2,
    )?;
    images_table::goals(others.images.as_ref().map(|(_, images)| images), &mut goal)?;
    if let Some((_, serve)) = &others.serve {
        serve_table::goals(serve, &mut goal)?;
    }
    microvm_table::goals(&others.microvms, &mut goal)?;
    write!(out, "{WHY_NOT_FASTER}")
}

/// What stands between the measured figures and the goals, without numbers that no row above has.
const WHY_NOT_FASTER: &str = "
What stands between a run and the goals: the steps above are those of the box's first process alone. Around them are
the start of three programs where bubblewrap starts two (agentkernel, the guest agent, the command), the making of the
namespaces and of three control groups, two more processes (the agent and the command's supervisor) to hand things
over to, and the removal of it all, which is waited for. The guest agent is a program of its own so that a box's first
process holds nothing of the caller's memory; that is not traded for speed. Warm sandboxes, made before they are asked
for, come with the daemon.

Of the time of a pull more than three quarters is the kernel's (2.8 of 3.6 s when it was looked at), most of that ext4
searching for free inodes for the image's files. Rows that differ by less than their own spread (1.01x) are even,
although the column says no.
";

fn end(report: &Report, group: &str, id: &str) -> Option<f64> {
    let rows: &Vec<Row> = &report.groups.iter().find(|found| found.id == group)?.rows;
    Some(median(&rows.iter().find(|row| row.id == id)?.exit_ms))
}

#[cfg(test)]
mod tests {
    use super::super::result::{Concurrency, Machine};
    use super::*;

    fn report() -> Report {
        let row = |id: &str, milliseconds: f64| Row {
            id: id.to_owned(),
            label: format!("`{id}`"),
            does: "something".to_owned(),
            first_output_ms: vec![milliseconds; 3],
            exit_ms: vec![milliseconds; 3],
        };
        let rows = vec![row("bare", 1.0), row("bwrap", 5.0), row("agentkernel", 6.0), row("docker", 200.0)];
        Report {
            taken_at: "2026-01-01T00:00:00Z".to_owned(),
            commit: "abc".to_owned(),
            machine: Machine {
                processor: "p".to_owned(),
                cores: 2,
                memory_mib: 1,
                kernel: "k".to_owned(),
                system: "s".to_owned(),
                virtualised: "v".to_owned(),
                cgroups: "v1".to_owned(),
                load: "0".to_owned(),
                programs: vec![],
            },
            groups: vec![Group { id: "run".to_owned(), title: "Run".to_owned(), rows }],
            concurrency: vec![Concurrency {
                id: "plain".to_owned(),
                label: "l".to_owned(),
                runs: 100,
                at_once: 10,
                seconds: 0.5,
                failed: 0,
                wrong_limits: None,
                failures: vec![],
            }],
            memory: vec![],
            steps: vec![],
            skipped: vec![],
        }
    }

    #[test]
    fn goals_are_judged_by_the_medians() {
        let page = page(&report(), "x.json", &Others::default()).unwrap();
        assert!(
            page.contains("| the same with the network of the default profile | 1.20x its time | **no** |"),
            "{page}"
        );
        assert!(
            page.contains("| at least 50x faster than default `docker run` | 33.33x | **no** |"),
            "{page}"
        );
        assert!(page.contains("none failing | 200.00/s | yes |"), "{page}");
        assert!(page.contains("`docker exec` | not measured | unknown |"), "{page}");
    }
}
