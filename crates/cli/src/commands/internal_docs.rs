//! `internal-docs`: the reference pages, written from what the program really accepts. `cargo xtask gen` calls it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{Json, man};
use crate::application::Application;
use crate::arguments::shown_tree;
use crate::output::CliError;

const INTRODUCTION: &str = "\
<!-- Generated from crates/cli by `cargo xtask gen`: change the arguments there. -->
# Command line

The verbs on sandboxes can also be grouped: `agentkernel sandbox create` (or `sb create`) is `agentkernel create`.
Every command prints its help with `--help`; `agentkernel man VERB | man -l -` shows it as a manual page.
";

/// The arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder to write to
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
}

impl Json for Args {}

/// Runs it.
pub(crate) async fn run(arguments: Args, _: &Application) -> Result<u8, CliError> {
    let tree = shown_tree();
    let folder = &arguments.output;
    write(&folder.join("cli.md"), reference(&tree).as_bytes())?;
    write(&folder.join("configuration.md"), agentkernel_config::reference_markdown().as_bytes())?;
    let schema = serde_json::to_string_pretty(&agentkernel_config::json_schema())
        .map_err(|error| CliError::io("write the configuration's schema", std::io::Error::other(error)))?;
    write(&folder.join("config.schema.json"), format!("{schema}\n").as_bytes())?;
    write(&folder.join("openapi.json"), agentkernel_server::openapi_json().as_bytes())?;
    write(&folder.join("man/agentkernel.1"), &man::page(&tree)?)?;
    for command in shown(&tree) {
        let name = command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-");
        write(&folder.join(format!("man/{name}.1")), &man::page(command)?)?;
    }
    Ok(0)
}

/// Each verb, and behind a group of verbs those of the group. What is only another way to say a verb is left out.
fn shown(tree: &clap::Command) -> Vec<&clap::Command> {
    let verbs = tree.get_subcommands().filter(|command| command.get_name() != super::GROUP);
    verbs.flat_map(|verb| std::iter::once(verb).chain(verb.get_subcommands())).collect()
}

fn reference(tree: &clap::Command) -> String {
    let mut text = INTRODUCTION.to_owned();
    for command in std::iter::once(tree).chain(shown(tree)) {
        let help = command.clone().color(clap::ColorChoice::Never).render_long_help();
        let name = command.get_bin_name().unwrap_or(command.get_name());
        // Writing into a String can't fail.
        if write!(text, "\n## {name}\n\n```text\n{}\n```\n", help.to_string().trim_end()).is_err() {
            tracing::debug!(name, "a section is missing");
        }
    }
    text
}

fn write(path: &Path, content: &[u8]) -> Result<(), CliError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, content))
        .map_err(|source| CliError::io(format!("write {}", path.display()), source))
}
