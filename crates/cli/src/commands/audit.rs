//! `audit`.

use agentkernel_audit::{Verified, VerifyOptions, tail, verify};
use serde::Serialize;
use serde_json::Value;

use super::Json;
use crate::application::Application;
use crate::output::{CliError, Style, Table, print_json, print_text, warn_line};
use crate::serving::audit_folder;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  agentkernel audit --last 50
  agentkernel audit --sandbox work --json
  agentkernel audit verify

What servers and the daemon of this state directory did for whom: sandboxes, commands, files, and
requests that were refused. Secrets in arguments are masked as far as they can be recognised."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Only entries of this sandbox
    #[arg(short, long, value_name = "NAME")]
    sandbox: Option<String>,
    /// How many entries, the newest
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Below it.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Check that no entry was changed, removed or put in
    Verify(VerifyArgs),
}

/// The arguments of `audit verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel audit verify
  agentkernel audit verify --contains 9f2c...

Exit code 1 where the chain is broken; the first broken line is named. That the newest entries were
cut off shows only by a hash that was noted before, which --contains looks for.")]
pub(crate) struct VerifyArgs {
    /// A hash that an earlier `audit verify` printed
    #[arg(long, value_name = "HASH")]
    contains: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        match &self.verb {
            Some(Verb::Verify(arguments)) => arguments.json,
            None => self.json,
        }
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let folder = audit_folder(&application.state_dir()?);
    if let Some(Verb::Verify(arguments)) = arguments.verb {
        let options = VerifyOptions { contains: arguments.contains };
        let found = verify(&folder, &options)?;
        if arguments.json {
            print_json(&Report::from(&found))?;
        } else {
            print_text(&told(&found))?;
        }
        return Ok(u8::from(!found.is_whole()));
    }
    let entries = tail(&folder, arguments.sandbox.as_deref(), arguments.last)?;
    if arguments.json {
        print_json(&entries)?;
    } else if entries.is_empty() {
        warn_line("No entries. Servers, the daemon, and `agentkernel key` write them.");
    } else {
        print_text(&table(&entries).render(Style::of(&application.environment)))?;
    }
    Ok(0)
}

fn table(entries: &[Value]) -> Table {
    let mut table = Table::new(["TIME", "USER", "FROM", "TYPE", "OUTCOME", "SANDBOX", "DETAIL"]);
    let text =
        |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    for entry in entries {
        table.row([
            (text(entry, "timestamp"), None),
            (text(entry, "user"), None),
            (text(entry, "from"), None),
            (text(entry, "type"), None),
            (text(entry, "outcome"), None),
            (text(entry, "sandbox"), None),
            (detail(entry), None),
        ]);
    }
    table
}

/// The most telling of the other fields.
fn detail(entry: &Value) -> String {
    let command = entry.get("command").and_then(Value::as_array).map(|words| {
        words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ").chars().take(120).collect()
    });
    let named = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    let code = entry.get("exit_code").and_then(Value::as_u64).map(|code| format!("exit code {code}"));
    command.or_else(|| named("why")).or_else(|| named("path")).or(code).unwrap_or_default()
}

/// What `audit verify --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    whole: bool,
    files: usize,
    entries: u64,
    first: Option<u64>,
    last: Option<u64>,
    head: Option<&'a str>,
    contains: Option<bool>,
    torn: Vec<Place<'a>>,
    broken: Option<Place<'a>>,
}

/// A line of a file.
#[derive(Serialize)]
struct Place<'a> {
    path: &'a std::path::Path,
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
}

impl<'a> From<&'a Verified> for Report<'a> {
    fn from(found: &'a Verified) -> Self {
        let torn = found.torn.iter().map(|torn| Place { path: &torn.path, line: torn.line, why: None });
        let broken = found.broken.as_ref();
        Self {
            whole: found.is_whole(),
            files: found.files,
            entries: found.entries,
            first: found.first,
            last: found.last,
            head: found.head.as_deref(),
            contains: found.contains,
            torn: torn.collect(),
            broken: broken.map(|broken| Place {
                path: &broken.path,
                line: broken.line,
                why: Some(broken.why),
            }),
        }
    }
}

fn told(found: &Verified) -> String {
    let mut text = String::new();
    if let Some(broken) = &found.broken {
        text.push_str(&format!("BROKEN at {}:{}: {}\n", broken.path.display(), broken.line, broken.why));
        text.push_str(&format!("{} entries before it are whole\n", found.entries));
    } else {
        let range = found.first.zip(found.last).map(|(first, last)| format!(", numbers {first} to {last}"));
        let range = range.unwrap_or_default();
        text.push_str(&format!("{} entries in {} files are whole{range}\n", found.entries, found.files));
    }
    for torn in &found.torn {
        text.push_str(&format!(
            "{}:{} was not finished: its process died or the power failed\n",
            torn.path.display(),
            torn.line
        ));
    }
    if found.first.is_some_and(|first| first > 1) {
        text.push_str("what was before the first number has been removed: by rotation, or by somebody\n");
    }
    match found.contains {
        Some(true) => text.push_str("the hash that was asked for is that of an entry\n"),
        Some(false) => text.push_str("MISSING: no entry has the hash that was asked for\n"),
        None => {}
    }
    if let Some(head) = &found.head {
        text.push_str(&format!("hash of the last entry: {head}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use agentkernel_audit::{AuditLog, AuditSettings, Entry};

    use super::*;

    #[test]
    fn a_whole_and_a_broken_log_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path(), AuditSettings::default()).unwrap();
        log.record(&Entry::new("sandbox_created").sandbox("x")).unwrap();
        let found = verify(dir.path(), &VerifyOptions::default()).unwrap();
        assert!(
            told(&found).starts_with("2 entries in 1 files are whole, numbers 1 to 2\n"),
            "{}",
            told(&found)
        );
        let path = dir.path().join("audit.jsonl");
        let text = std::fs::read_to_string(&path).unwrap().replace("\"x\"", "\"y\"");
        std::fs::write(&path, text).unwrap();
        let found = verify(dir.path(), &VerifyOptions::default()).unwrap();
        assert!(told(&found).starts_with(&format!("BROKEN at {}:2: its hash is wrong", path.display())));
        assert!(!Report::from(&found).whole);
    }

    #[test]
    fn the_most_telling_field_is_shown() {
        let entry = serde_json::json!({ "command": ["echo", "hi"], "exit_code": 0 });
        assert_eq!(detail(&entry), "echo hi");
        assert_eq!(detail(&serde_json::json!({ "exit_code": 3 })), "exit code 3");
        assert_eq!(detail(&serde_json::json!({})), "");
    }
}
