//! MicroVMs: how long a machine takes to boot and to be restored, how much of that is the host's own work, and what idle
//! machines cost. The host's part is told by the program itself (its debug lines of `agentkernel_backend_firecracker`), so
//! that a machine whose guests are slow, as every emulated one, still gives true figures of it.

mod memory;
pub(super) mod result;
mod settings;
mod steps;
pub(super) mod table;

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::program::Program;
use super::result::Skipped;
use super::{machine, table as page};
use crate::command;
use crate::workspace::Workspace;
use result::{MicrovmReport, Run};
use settings::Settings;

/// The image's name in the archive of the tests.
const IMAGE: &str = "agentkernel-test/busybox:1";

/// Of a template, in its folder.
const NOTE: &str = "template.json";

/// Runs between a boot that is measured and a restored one.
const MOST_UNMEASURED: usize = 20;

/// Machines at once in the measurements of many.
const MANY: usize = 20;

/// Measures and writes the result and the page, or prints the result where it is taken in a machine whose files don't last.
pub(crate) fn run(workspace: &Workspace, flags: &[&str]) -> Result<bool> {
    let settings = Settings::parse(workspace, flags)?;
    let program = match &settings.program {
        Some(file) => Program::install(file)?,
        None => Program::build(workspace)?,
    };
    let report = Bench::prepare(&settings, &program)?.measure(workspace)?;
    let failed = report.at_once.as_ref().is_some_and(|many| many.failed > 0);
    match settings.print {
        true => println!("{}", serde_json::to_string(&report)?),
        false => page::write_microvm(workspace, &report)?,
    }
    Ok(!failed)
}

/// Takes a result in that was printed elsewhere.
pub(crate) fn take_in(workspace: &Workspace, file: &str) -> Result<bool> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let printed =
        text.lines().rfind(|line| line.starts_with('{')).with_context(|| format!("no result in {file}"))?;
    page::write_microvm(workspace, &serde_json::from_str(printed).with_context(|| format!("read {file}"))?)?;
    Ok(true)
}

struct Bench<'a> {
    settings: &'a Settings,
    program: &'a Program,
    skipped: Vec<Skipped>,
}

impl<'a> Bench<'a> {
    fn prepare(settings: &'a Settings, program: &'a Program) -> Result<Self> {
        std::fs::write(program.folder("agentkernel.toml"), &settings.configuration)
            .context("write settings")?;
        let bench = Self { settings, program, skipped: Vec::new() };
        let archive = settings.archive.to_string_lossy();
        command::output(&mut bench.command(&["image", "import", &archive])).context("import the image")?;
        Ok(bench)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.program.command(words);
        command.env("AGENTKERNEL_CONFIG", self.program.folder("agentkernel.toml"));
        command.env("AGENTKERNEL_BACKEND", "firecracker");
        command
    }

    fn measure(mut self, workspace: &Workspace) -> Result<MicrovmReport> {
        let (taken_at, machine) = (machine::now(), machine::describe(&self.program.file()));
        let rounds = self.settings.rounds;
        // What the first run makes once for all: the image's file, the agent's, and the first template.
        self.hello().context("the first run")?;
        let (mut cold, mut restored) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            eprintln!("bench: microVMs: round {} of {rounds}", round + 1);
            self.forget_templates()?;
            cold.push(self.hello()?);
            if self.is_ready_to_restore()? {
                restored.push(self.hello()?);
            }
        }
        let native = self.kept("native boxes", |bench| (0..rounds).map(|_| bench.native_hello()).collect());
        let native = native.unwrap_or_default();
        let exec_ms = self.kept("exec", Self::exec).unwrap_or_default();
        let at_once = match restored.is_empty() {
            true => None,
            false => self.kept("many restored at once", Self::at_once),
        };
        let memory = self.kept("memory of idle machines", Self::memory);
        let commit = machine::commit(&workspace.root);
        let Settings { bed, vmm, .. } = self.settings;
        Ok(MicrovmReport {
            taken_at,
            commit,
            machine,
            bed: bed.clone(),
            vmm: vmm.clone(),
            cold,
            restored,
            native,
            exec_ms,
            at_once,
            memory,
            skipped: self.skipped,
        })
    }

    fn kept<T>(&mut self, what: &str, measure: impl FnOnce(&Self) -> Result<T>) -> Option<T> {
        measure(self)
            .map_err(|error| {
                eprintln!("bench: {what}: {error:#}");
                self.skipped.push(Skipped { what: format!("microVMs, {what}"), why: format!("{error:#}") });
            })
            .ok()
    }

    /// Where the backend keeps machines that have booted.
    fn templates(&self) -> std::path::PathBuf {
        self.program.state().join("firecracker/templates")
    }

    fn forget_templates(&self) -> Result<()> {
        match std::fs::remove_dir_all(self.templates()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("remove the templates")
            }
            _ => Ok(()),
        }
    }

    /// Whether the next run is restored, and from a template that nobody works on in the background any more.
    fn is_ready_to_restore(&self) -> Result<bool> {
        for _ in 0..MOST_UNMEASURED {
            let notes = std::fs::read_dir(self.templates()).into_iter().flatten().flatten();
            let notes = notes.filter_map(|entry| std::fs::read_to_string(entry.path().join(NOTE)).ok());
            let thin: Vec<bool> = notes.map(|note| note.contains(r#""is_thin":true"#)).collect();
            match thin.first() {
                None => return Ok(false),
                Some(true) => return Ok(true),
                Some(false) => drop(self.hello()?),
            }
        }
        bail!("after {MOST_UNMEASURED} runs the template still takes more of the disk than it needs")
    }

    /// One run of a machine, with what it says of its steps.
    fn hello(&self) -> Result<Run> {
        let mut command =
            self.command(&["run", "--no-network", "--image", IMAGE, "--", "/bin/echo", "hello"]);
        command.env("AGENTKERNEL_LOG", steps::FILTER);
        timed(command)
    }

    /// The same in a native box, for comparison.
    fn native_hello(&self) -> Result<f64> {
        let words =
            ["run", "--backend", "native", "--no-network", "--image", IMAGE, "--", "/bin/echo", "hello"];
        Ok(timed(self.command(&words))?.end_ms)
    }

    fn exec(&self) -> Result<Vec<f64>> {
        command::output(&mut self.command(&["create", "bench-exec", "--no-network", "--image", IMAGE]))?;
        command::output(&mut self.command(&["start", "bench-exec"]))?;
        let times = (0..self.settings.rounds)
            .map(|_| Ok(timed(self.command(&["exec", "bench-exec", "--", "/bin/echo", "hello"]))?.end_ms))
            .collect::<Result<Vec<_>>>();
        command::output(&mut self.command(&["remove", "--force", "bench-exec"]))?;
        times
    }

    /// That many machines from one template, started at once.
    fn at_once(&self) -> Result<result::AtOnce> {
        let begun = Instant::now();
        let children = (0..MANY).map(|_| {
            let mut command =
                self.command(&["run", "--no-network", "--image", IMAGE, "--", "/bin/echo", "hello"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
        });
        let children = children.collect::<std::io::Result<Vec<_>>>().context("start the runs")?;
        let mut failures = Vec::new();
        for child in children {
            let output = child.wait_with_output()?;
            if !output.status.success() || output.stdout != b"hello\n" {
                failures.push(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            }
        }
        let (seconds, failed) = (begun.elapsed().as_secs_f64(), failures.len());
        failures.truncate(3);
        Ok(result::AtOnce { machines: MANY, seconds, failed, failures })
    }

    fn memory(&self) -> Result<result::IdleMachines> {
        let names: Vec<String> =
            (0..self.settings.idle).map(|number| format!("bench-idle-{number}")).collect();
        for name in &names {
            command::output(&mut self.command(&["create", name, "--no-network", "--image", IMAGE]))?;
            command::output(&mut self.command(&["start", name]))?;
        }
        let measured = memory::of_machines(&self.program.state(), names.len());
        let mut words = vec!["remove", "--force"];
        words.extend(names.iter().map(String::as_str));
        command::output(&mut self.command(&words))?;
        measured
    }
}

/// Runs it; it must print `hello`.
fn timed(mut command: Command) -> Result<Run> {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().context("start agentkernel")?;
    let end_ms = begun.elapsed().as_secs_f64() * 1000.0;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || output.stdout != b"hello\n" {
        bail!("it ended with {} and said: {}", output.status, said.trim());
    }
    Ok(Run { end_ms, steps: steps::read(&said) })
}
