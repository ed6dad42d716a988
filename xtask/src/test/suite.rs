//! All tests of the workspace: built once, run as root and as an ordinary user, by cargo-nextest or without it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::person::Person;
use super::prepare::CargoTool;
use super::tally::Case;
use super::{junit, libtest};
use crate::test_bed::{self, Variables};
use crate::workspace::Workspace;
use crate::{command, conformance};

/// How long one test executable may take without cargo-nextest, which has a deadline for each test, in seconds.
const EXECUTABLE_DEADLINE: &str = "1200";

/// The built tests and what runs them.
pub(crate) enum Suite {
    Nextest { tool: CargoTool, binaries: PathBuf, metadata: PathBuf },
    Direct(Vec<Executable>),
}

/// A test executable and the folder it starts in.
pub(crate) struct Executable {
    name: String,
    file: PathBuf,
    folder: PathBuf,
}

impl Suite {
    /// Builds the tests; `None` where they don't compile.
    pub(crate) fn build(workspace: &Workspace) -> Result<Option<Self>> {
        if !command::succeeds(&mut workspace.cargo(&[
            "test",
            "--workspace",
            "--locked",
            "--no-run",
            "--quiet",
        ]))? {
            return Ok(None);
        }
        let suite = match CargoTool::ensure(workspace, "cargo-nextest")? {
            Some(tool) => Self::nextest(workspace, tool)?,
            None => {
                println!("prepare: without cargo-nextest the test executables are run directly");
                Self::Direct(executables(workspace)?)
            }
        };
        Ok(Some(suite))
    }

    fn nextest(workspace: &Workspace, tool: CargoTool) -> Result<Self> {
        let folder = workspace.scratch("nextest")?;
        let (binaries, metadata) = (folder.join("binaries.json"), folder.join("metadata.json"));
        let mut list = tool.command(workspace);
        list.args([
            "list",
            "--workspace",
            "--locked",
            "--list-type",
            "binaries-only",
            "--message-format",
            "json",
        ]);
        write(&binaries, &command::output(&mut list)?)?;
        let mut cargo = workspace.cargo(&["metadata", "--format-version", "1", "--locked"]);
        write(&metadata, &command::output(&mut cargo)?)?;
        Ok(Self::Nextest { tool, binaries, metadata })
    }

    /// Runs all tests, as `person` or else as oneself, with what `bed` says of the test bed.
    pub(crate) fn run(
        &self,
        workspace: &Workspace,
        person: Option<&Person>,
        bed: &Variables,
    ) -> Result<Vec<Case>> {
        match self {
            Self::Nextest { tool, binaries, metadata } => {
                run_nextest(workspace, tool, &[binaries, metadata], person, bed)
            }
            Self::Direct(executables) => {
                let mut cases = Vec::new();
                for executable in executables {
                    cases.extend(executable.run(workspace, person, bed)?);
                }
                Ok(cases)
            }
        }
    }
}

fn run_nextest(
    workspace: &Workspace,
    tool: &CargoTool,
    inputs: &[&PathBuf; 2],
    person: Option<&Person>,
    bed: &Variables,
) -> Result<Vec<Case>> {
    let results = match person {
        Some(person) => person.folder("results"),
        None => workspace.scratch("results")?,
    };
    let report = results.join("default").join("junit.xml");
    if report.exists() {
        std::fs::remove_file(&report).with_context(|| format!("remove {}", report.display()))?;
    }
    let mut config = std::fs::read_to_string(workspace.root.join(".config/nextest.toml"))?;
    config.push_str(&format!("\n[store]\ndir = {results:?}\n"));
    let config_file = workspace.scratch("nextest")?.join("config.toml");
    write(&config_file, &config)?;

    let mut run = match person {
        Some(person) => {
            let mut command = person.command(workspace, &person.give(tool.binary())?, bed);
            command.arg("nextest");
            command
        }
        None => {
            let mut command = tool.command(workspace);
            command.envs(test_bed::for_root(bed));
            command
        }
    };
    run.args(["run", "--show-progress", "none", "--status-level", "fail", "--final-status-level", "fail"]);
    run.arg("--config-file").arg(&config_file);
    run.arg("--binaries-metadata").arg(inputs[0]).arg("--cargo-metadata").arg(inputs[1]);
    let succeeded = command::succeeds(&mut run)?;
    let xml = std::fs::read_to_string(&report)
        .with_context(|| format!("cargo-nextest left no report at {}", report.display()))?;
    let cases = junit::cases(&xml)?;
    let who = if person.is_some() || !command::is_root() { "user" } else { "root" };
    conformance::keep(workspace, who, &junit::marked_lines(&xml, conformance::MARK)?)?;
    if !succeeded && cases.iter().all(|case| case.verdict != super::tally::Verdict::Failed) {
        bail!("cargo-nextest failed although no test did");
    }
    Ok(cases)
}

impl Executable {
    fn run(&self, workspace: &Workspace, person: Option<&Person>, bed: &Variables) -> Result<Vec<Case>> {
        let timeout = command::find("timeout").context("timeout(1) is missing")?;
        let mut command = match person {
            Some(person) => person.command(workspace, &timeout, bed),
            None => Command::new(timeout),
        };
        if person.is_none() {
            command.envs(test_bed::for_root(bed));
        }
        command.args(["--kill-after", "10", EXECUTABLE_DEADLINE]).arg(&self.file).arg("--show-output");
        let done =
            command.current_dir(&self.folder).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        let output = String::from_utf8_lossy(&done.stdout);
        if !done.status.success() {
            println!("{output}");
        }
        Ok(libtest::cases(&self.name, &output, done.status.success()))
    }
}

/// One line of `cargo build --message-format json`.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

fn executables(workspace: &Workspace) -> Result<Vec<Executable>> {
    let arguments = ["test", "--workspace", "--locked", "--no-run", "--quiet", "--message-format", "json"];
    let output = command::output(&mut workspace.cargo(&arguments))?;
    let mut executables = Vec::new();
    for line in output.lines() {
        let message: Message = serde_json::from_str(line).context("read cargo's messages")?;
        let is_test = message.profile.is_some_and(|profile| profile.test);
        if let (true, Some(file), Some(manifest), Some(target)) =
            (is_test, message.executable, message.manifest_path, message.target)
        {
            let folder = manifest.parent().context("a manifest without a folder")?.to_path_buf();
            executables.push(Executable { name: target.name, file, folder });
        }
    }
    Ok(executables)
}

fn write(file: &Path, content: &str) -> Result<()> {
    std::fs::write(file, content).with_context(|| format!("write {}", file.display()))
}
