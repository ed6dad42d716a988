//! The order of gates and tests.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use super::bed_for_tests::BedForTests;
use super::choice::Choice;
use super::person::Person;
use super::prepare::{CargoTool, FOR_TESTS, install_packages};
use super::suite::Suite;
use super::tally::{Case, Tally, Verdict};
use super::tools::Tools;
use super::{leftovers, machines_for_tests};
use crate::bench::Program;
use crate::microvm_bed::ForTests;
use crate::test_bed::Variables;
use crate::workspace::Workspace;
use crate::{command, conformance, console_blocks, generated, layers, soak, tidy};

const GATES: &str = "gates";

/// A run in progress.
struct Run<'a> {
    workspace: &'a Workspace,
    tally: Tally,
}

/// Runs all that `choice` names and prints the report; whether all was well.
pub(crate) fn run(workspace: &Workspace, choice: &Choice) -> Result<bool> {
    let mut run = Run { workspace, tally: Tally::default() };
    install_packages(FOR_TESTS)?;
    let machines = ForTests::begin(workspace, choice.quick);
    let before = leftovers::present(workspace);
    run.static_gates()?;
    run.tests(choice, machines)?;
    if !choice.quick {
        run.slow_gates()?;
    }
    run.gate("nothing left behind", |workspace| leftovers::check(workspace, &before))?;
    println!("\n{}", run.tally.report());
    Ok(run.tally.succeeded())
}

impl Run<'_> {
    fn gate(&mut self, name: &str, body: impl FnOnce(&Workspace) -> Result<Verdict>) -> Result<()> {
        println!("== {name}");
        let begun = Instant::now();
        let verdict = body(self.workspace).unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            Verdict::Failed
        });
        let word = match &verdict {
            Verdict::Passed => "passed".to_owned(),
            Verdict::Failed => "FAILED".to_owned(),
            Verdict::Skipped(why) => format!("skipped: {why}"),
        };
        println!("-- {name}: {word} ({:.1} s)", begun.elapsed().as_secs_f64());
        self.tally.add_one(GATES, name, verdict);
        Ok(())
    }

    fn command_gate(&mut self, name: &str, command: impl FnOnce(&Workspace) -> Command) -> Result<()> {
        self.gate(name, |workspace| Ok(verdict(command::succeeds(&mut command(workspace))?)))
    }

    fn static_gates(&mut self) -> Result<()> {
        self.command_gate("rustfmt", |workspace| workspace.cargo(&["fmt", "--all", "--check"]))?;
        self.gate("layers", |workspace| Ok(verdict(layers::run(workspace)?)))?;
        self.gate("tidy", |workspace| Ok(verdict(tidy::run(workspace)?)))?;
        self.command_gate("clippy", |workspace| {
            workspace.cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ])
        })
    }

    fn tests(&mut self, choice: &Choice, machines: ForTests) -> Result<()> {
        println!("== build of the tests");
        let Some(suite) = Suite::build(self.workspace)? else {
            self.tally.add_one(GATES, "build of the tests", Verdict::Failed);
            return Ok(());
        };
        let bed = BedForTests::start(choice, &mut self.tally);
        // Before root's tests: some of them try what a user with subordinate ids could, and this may be the only one.
        let person = if command::is_root() && !choice.quick { Some(Person::ensure()?) } else { None };
        let tools = Tools::ensure(choice.quick)?;
        let machines = machines_for_tests::wait(machines, &mut self.tally);
        let with = |tools: &Tools, machines: &Variables| {
            [&bed.variables()[..], &tools.variables(), machines].concat()
        };
        if choice.as_root {
            self.suite("as root", command::is_root(), "this is not root", |workspace| {
                suite.run(workspace, None, &with(&tools, &machines))
            })?;
        }
        if choice.as_user && !choice.quick {
            let (tools, machines) = match &person {
                Some(person) => (tools.given_to(person)?, machines_for_tests::given_to(person, &machines)?),
                None => (tools, machines),
            };
            self.suite("as an ordinary user", true, "", |workspace| {
                suite.run(workspace, person.as_ref(), &with(&tools, &machines))
            })?;
        }
        bed.end(&mut self.tally);
        self.gate("conformance as recorded", |workspace| Ok(verdict(conformance::compare(workspace)?)))
    }

    fn suite(
        &mut self,
        group: &str,
        possible: bool,
        why_not: &str,
        body: impl FnOnce(&Workspace) -> Result<Vec<Case>>,
    ) -> Result<()> {
        println!("== tests {group}");
        if !possible {
            self.tally.add_one(group, "all tests", Verdict::Skipped(why_not.to_owned()));
            return Ok(());
        }
        match body(self.workspace) {
            Ok(cases) if cases.is_empty() => self.tally.add_one(group, "no test was found", Verdict::Failed),
            Ok(cases) => self.tally.add(group, cases),
            Err(error) => {
                println!("tests {group}: {error:#}");
                self.tally.add_one(group, "the run of the tests", Verdict::Failed);
            }
        }
        Ok(())
    }

    fn slow_gates(&mut self) -> Result<()> {
        self.gate("generated pages", |workspace| Ok(verdict(generated::check(workspace)?)))?;
        self.gate("cargo-deny", deny)?;
        self.command_gate("doc tests", |workspace| {
            workspace.cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"])
        })?;
        self.command_gate("documentation", |workspace| {
            let mut doc = workspace.cargo(&["doc", "--workspace", "--locked", "--no-deps", "--quiet"]);
            doc.env("RUSTDOCFLAGS", "-D warnings");
            doc
        })?;
        self.command_gate("style of fuzz/", |workspace| fuzz(workspace, &["fmt"], &["--check"]))?;
        self.command_gate("lints of fuzz/", |workspace| {
            fuzz(workspace, &["clippy", "--all-targets", "--locked", "--quiet"], &["--", "-D", "warnings"])
        })?;
        self.command_gate("fuzz smoke", |workspace| fuzz(workspace, &["test", "--locked", "--quiet"], &[]))?;
        self.gate("soak", short_soak)?;
        self.gate("console blocks of the documents", |workspace| Ok(verdict(console_blocks::run(workspace)?)))
    }
}

/// The server under load for a moment, and nothing left behind.
fn short_soak(workspace: &Workspace) -> Result<Verdict> {
    let program = Program::install(&workspace.binaries("debug").join("agentkernel"))?;
    Ok(verdict(soak::on_program(&program, &soak::Settings::short())?))
}

/// Cargo on the fuzz targets, which are no member of the workspace.
fn fuzz(workspace: &Workspace, before: &[&str], behind: &[&str]) -> Command {
    let mut cargo = workspace.cargo(before);
    cargo
        .args(["--manifest-path", "fuzz/Cargo.toml"])
        .args(behind)
        .env("CARGO_TARGET_DIR", &workspace.target);
    cargo
}

/// Licences, bans and sources. Advisories need a download that a machine without a connection can't make.
fn deny(workspace: &Workspace) -> Result<Verdict> {
    let Some(tool) = CargoTool::ensure(workspace, "cargo-deny")? else {
        return Ok(Verdict::Skipped("cargo-deny could not be installed".to_owned()));
    };
    println!(
        "cargo-deny: licences, bans and sources; advisories are not checked here (their database is a download)"
    );
    let mut check = tool.command(workspace);
    check.args([
        "--offline",
        "--log-level",
        "error",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]);
    Ok(verdict(command::succeeds(&mut check)?))
}

fn verdict(succeeded: bool) -> Verdict {
    if succeeded { Verdict::Passed } else { Verdict::Failed }
}
