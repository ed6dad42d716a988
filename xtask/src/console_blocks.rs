//! The documents' console blocks, run as a reader would type them and compared with what they show.
//!
//! A fenced block of language `console` is a dialogue: a line that begins with `$ ` is given to bash, the lines up to the
//! next one are what it prints, standard output and standard error together. A line of `...` alone stands for any lines,
//! `...` within a line for any text in it. The blocks of one document share a folder and a state of their own. Commands
//! that begin with `cargo ` run in the project's root. A block of language `console if VARIABLE` is run only where that
//! environment variable is set: a test bed is there.

mod background;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use self::background::Background;
use crate::command;
use crate::workspace::Workspace;

/// How long one command may take, in seconds: the first one of the README builds the program.
const DEADLINE: &str = "1800";

/// One command of a document and what it should print.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
    /// The variable without which it is not run.
    needs: Option<String>,
}

/// Runs the blocks of README.md and docs/*.md; whether each printed what it should.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    if !command::succeeds(&mut workspace.cargo(&["build", "--release", "--locked", "--quiet"]))? {
        bail!("`cargo build --release` failed");
    }
    let (mut steps, mut wrong) = (0, 0);
    for document in documents(workspace)? {
        let text = std::fs::read_to_string(workspace.root.join(&document))?;
        let dialogue = parse(&text);
        if dialogue.is_empty() {
            continue;
        }
        let mut place = Place::new(workspace)?;
        for step in &dialogue {
            if let Some(variable) = step.needs.as_ref().filter(|variable| is_unset(variable)) {
                println!(
                    "SKIPPED: console blocks: {}:{}: {variable} is not set",
                    document.display(),
                    step.line
                );
                continue;
            }
            steps += 1;
            if let Some(difference) = place.difference(workspace, step)? {
                wrong += 1;
                println!(
                    "console blocks: {}:{}: `{}` {difference}",
                    document.display(),
                    step.line,
                    step.command
                );
            }
        }
        place.end(workspace)?;
    }
    println!("console blocks: {steps} commands, {wrong} wrong");
    Ok(wrong == 0)
}

fn is_unset(variable: &str) -> bool {
    std::env::var_os(variable).is_none_or(|value| value.is_empty())
}

fn documents(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let markdown = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let here = |path: &PathBuf| path == Path::new("README.md") || path.starts_with("docs");
    Ok(workspace.files()?.into_iter().filter(|path| markdown(path) && here(path)).collect())
}

/// Where one document's commands run: an empty project folder, and a state folder, both removed afterwards.
struct Place {
    folder: PathBuf,
    background: Vec<Background>,
}

impl Place {
    fn new(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.scratch("console")?;
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        for name in ["project", "state"] {
            std::fs::create_dir_all(folder.join(name))?;
        }
        Ok(Self { folder, background: Vec::new() })
    }

    /// What is wrong with the command's output, if anything is.
    fn difference(&mut self, workspace: &Workspace, step: &Step) -> Result<Option<String>> {
        let expected: Vec<&str> = step.expected.iter().map(String::as_str).collect();
        // A document shows no empty lines at the end.
        let as_expected = |printed: &str| matches(&expected, &printed.trim_end().lines().collect::<Vec<_>>());
        if let Some(command) = step.command.strip_suffix(" &") {
            let log = self.folder.join(format!("background-{}", self.background.len()));
            let mut started = Background::start(self.bash(workspace, &format!("exec {command}"))?, &log)?;
            let difference = started.wait_until(as_expected)?;
            self.background.push(started);
            return Ok(difference);
        }
        let mut bash = self.bash(workspace, &format!("{{ {}\n}} 2>&1", step.command))?;
        let done = bash.stdin(Stdio::null()).output().context("start bash")?;
        let printed = String::from_utf8_lossy(&done.stdout);
        Ok((!as_expected(&printed)).then(|| format!("printed ({}):\n{printed}", done.status)))
    }

    /// Bash for a script, where a reader would be.
    fn bash(&self, workspace: &Workspace, script: &str) -> Result<Command> {
        let binaries = workspace.binaries("release");
        let path = std::env::var("PATH").context("PATH is not set")?;
        let mut bash = Command::new("timeout");
        // In the foreground: what a block has started is not killed with the command, and gets signals from here.
        bash.args(["--foreground", DEADLINE, "bash", "-c", script]);
        bash.env("PATH", format!("{}:{path}", binaries.display()));
        bash.env("AGENTKERNEL_STATE_DIR", self.folder.join("state"));
        // Cargo's own messages would differ from machine to machine.
        bash.env("CARGO_TERM_QUIET", "true").env_remove("CARGO_TERM_VERBOSE");
        let in_root = script.trim_start_matches("{ ").starts_with("cargo ");
        bash.current_dir(if in_root { workspace.root.clone() } else { self.folder.join("project") });
        Ok(bash)
    }

    /// Ends what the document has started and not ended itself.
    fn end(self, workspace: &Workspace) -> Result<()> {
        if self.folder.join("state/daemon").exists() {
            command::output(&mut self.bash(workspace, "agentkernel daemon stop")?)?;
        }
        self.background.into_iter().try_for_each(Background::end)
    }
}

/// The steps of all console blocks.
fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    let mut first = true;
    let mut needs = None;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            let kind = line.strip_prefix("```console").filter(|_| !inside);
            needs = kind.and_then(|kind| kind.strip_prefix(" if ")).map(str::to_owned);
            inside = kind.is_some_and(|kind| kind.is_empty() || needs.is_some());
            first = true;
        } else if !inside {
            continue;
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: index + 1,
                command: command.to_owned(),
                expected: Vec::new(),
                needs: needs.clone(),
            });
            first = false;
        } else if let (false, Some(step)) = (first, steps.last_mut()) {
            step.expected.push(line.to_owned());
        }
    }
    for step in &mut steps {
        while step.expected.last().is_some_and(String::is_empty) {
            step.expected.pop();
        }
    }
    steps
}

fn matches(expected: &[&str], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((&"...", rest)) => (0..=printed.len()).any(|skip| matches(rest, &printed[skip..])),
        Some((line, rest)) => printed
            .split_first()
            .is_some_and(|(first, others)| line_matches(line, first) && matches(rest, others)),
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    match expected.split_once("...") {
        None => expected == printed.trim_end(),
        Some((start, rest)) => printed.strip_prefix(start).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| at)
                .chain([tail.len()])
                .any(|at| line_matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_console_blocks_are_dialogues() {
        let text = "```sh\n$ no\n```\n```console\n$ echo a\na\n\n$ true\n```\n$ no\n";
        let steps = parse(text);
        assert_eq!(steps.len(), 2);
        let first =
            Step { line: 5, command: "echo a".to_owned(), expected: vec!["a".to_owned()], needs: None };
        assert_eq!(steps[0], first);
        assert!(steps[1].expected.is_empty());
    }

    #[test]
    fn a_block_may_need_a_variable() {
        let text = "```console if BED\n$ echo a\na\n```\n```console\n$ b\n```\n```consoles\n$ no\n```\n";
        let steps = parse(text);
        let needs: Vec<_> = steps.iter().map(|step| step.needs.as_deref()).collect();
        assert_eq!(needs, [Some("BED"), None]);
    }

    #[test]
    fn dots_stand_for_what_changes() {
        assert!(matches(&["a ... c"], &["a b c"]));
        assert!(matches(&["a", "...", "z"], &["a", "b", "c", "z"]));
        assert!(matches(&["..."], &[]));
        assert!(!matches(&["a"], &["a", "b"]));
        assert!(!matches(&["a"], &["b"]));
        assert!(!matches(&["a...c"], &["a b"]));
    }
}
