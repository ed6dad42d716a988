//! The whole command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::tip::advise;
use crate::commands::{self, Command};

const ABOUT: &str = "Run AI coding agents, and anything they execute, in secure isolated sandboxes.";

const AFTER_HELP: &str = "\
Examples:
  agentkernel run python3 -c 'print(1 + 1)'
  agentkernel run --profile restrictive --mount-cwd=ro -- ./untrusted.sh
  agentkernel create work --dir . && agentkernel start work
  agentkernel exec work -- make test

Exit codes: the command's own; 124 its --timeout passed; 125 agentkernel itself failed, wrong
arguments included; 126 it can't be executed; 127 it was not found; 128+n it died of signal n.";

/// A parsed command line.
pub(crate) struct CommandLine {
    /// `--state-dir`.
    pub(crate) state_dir: Option<PathBuf>,
    /// `--verbose`.
    pub(crate) verbose: bool,
    /// The verb.
    pub(crate) command: Command,
}

impl CommandLine {
    /// Parses; an error may be the help that was asked for.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let line: Vec<OsString> = arguments.collect();
        // Nearly always the verb comes first, and then no other needs to be known. What is wrong with a line is told with
        // all of them in sight.
        let verb = line.get(1).and_then(|word| word.to_str());
        if let Some(mut tree) = verb.and_then(|verb| commands::with_one(root(), verb))
            && let Ok(mut matches) = tree.try_get_matches_from_mut(&line)
            && let Ok(parsed) = Self::from_matches(&mut matches)
        {
            return Ok(parsed);
        }
        let mut tree = commands::augment(root(), true);
        let mut matches = tree.try_get_matches_from_mut(&line).map_err(|error| advise(error, &line))?;
        Self::from_matches(&mut matches).map_err(|error| error.format(&mut tree))
    }

    fn from_matches(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        // Global arguments are in the matches of every level; the innermost is the whole truth.
        let (name, mut inner) = matches.remove_subcommand().ok_or_else(missing_verb)?;
        let (name, mut inner) = match name.as_str() {
            commands::GROUP => inner.remove_subcommand().ok_or_else(missing_verb)?,
            _ => (name, std::mem::take(&mut inner)),
        };
        let innermost = innermost(&inner);
        Ok(Self {
            state_dir: innermost.get_one::<PathBuf>("state_dir").cloned(),
            verbose: innermost.get_flag("verbose"),
            command: Command::from_matches(&name, &mut inner)?,
        })
    }
}

/// Below the verb, where that is a group of its own (`image pull`).
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, below)| innermost(below))
}

fn missing_verb() -> clap::Error {
    clap::Error::raw(clap::error::ErrorKind::MissingSubcommand, "a command is needed\n")
}

/// What people are shown: help pages, completions, manuals. Everything in it is made.
pub(crate) fn shown_tree() -> clap::Command {
    let mut tree = commands::augment(root(), false);
    tree.build();
    tree
}

fn root() -> clap::Command {
    clap::Command::new("agentkernel")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_HELP)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .arg(
            Arg::new("state_dir")
                .long("state-dir")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .global(true)
                .help("Where sandboxes are kept [env: AGENTKERNEL_STATE_DIR]"),
        )
        .arg(
            Arg::new("verbose")
                .long("verbose")
                .action(ArgAction::SetTrue)
                .global(true)
                .help("Say on standard error what was chosen, and why (-v is --volume)"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::parse(line.iter().map(OsString::from))
    }

    #[test]
    fn the_tree_is_sound() {
        let mut tree = commands::augment(root(), true);
        tree.build();
        tree.debug_assert();
        shown_tree().debug_assert();
    }

    #[test]
    fn verbs_work_flat_and_grouped_with_global_flags_anywhere() {
        for line in [
            &["agentkernel", "list", "--state-dir", "/s"][..],
            &["agentkernel", "--state-dir", "/s", "ls"],
            &["agentkernel", "sandbox", "--state-dir=/s", "list"],
            &["agentkernel", "sb", "ls", "--state-dir=/s"],
        ] {
            let parsed = parse(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert!(matches!(parsed.command, Command::List(_)), "{line:?}");
            assert_eq!(parsed.state_dir.as_deref(), Some(std::path::Path::new("/s")), "{line:?}");
        }
        for line in [
            &["agentkernel", "image", "list", "--state-dir", "/s"][..],
            &["agentkernel", "image", "--state-dir", "/s", "ls"],
            &["agentkernel", "--state-dir", "/s", "image", "list"],
        ] {
            let parsed = parse(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert!(matches!(parsed.command, Command::Image(_)), "{line:?}");
            assert_eq!(parsed.state_dir.as_deref(), Some(std::path::Path::new("/s")), "{line:?}");
        }
    }

    #[test]
    fn a_command_keeps_its_own_flags_and_a_typing_error_before_it_is_refused() {
        for line in [
            &["agentkernel", "run", "--cpus", "2", "python3", "-c", "print(1)", "--memory"][..],
            &["agentkernel", "run", "--cpus", "2", "--", "python3", "-c", "print(1)", "--memory"],
        ] {
            let Command::Run(arguments) = parse(line).unwrap().command else { panic!("{line:?}") };
            assert_eq!(arguments.command, ["python3", "-c", "print(1)", "--memory"].map(OsString::from));
        }
        for line in [&["agentkernel", "run", "--memry", "1g", "true"][..], &["agentkernel", "nope"]] {
            assert!(parse(line).is_err(), "{line:?}");
        }
        let Command::Exec(arguments) =
            parse(&["agentkernel", "exec", "-w", "/tmp", "b", "ls", "-la"]).unwrap().command
        else {
            panic!()
        };
        assert_eq!(arguments.command, ["ls", "-la"].map(OsString::from));
    }

    #[test]
    fn arguments_need_not_be_utf8() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(vec![0xff, b'x']);
        let line = ["agentkernel", "run", "echo"].map(OsString::from).into_iter().chain([odd.clone()]);
        let Command::Run(arguments) = CommandLine::parse(line).unwrap().command else { panic!() };
        assert_eq!(arguments.command[1], odd);
    }
}
