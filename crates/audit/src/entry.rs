//! One entry, and how it is written.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::chain::Hash;
use crate::redact::redact_arguments;
use crate::settings::Arguments;

/// The longest text of one field; what is longer is cut, and says so.
const LONGEST_TEXT_BYTES: usize = 4096;
/// The most entries of a list that are written.
const LONGEST_LIST: usize = 128;
/// The longest entry without its hash. One that is longer loses its fields, and says so.
pub(crate) const LONGEST_BODY_BYTES: usize = 64 << 10;

/// Names that the log writes itself; a field by such a name gets an underscore behind it.
const OWN_NAMES: [&str; 13] = [
    "seq",
    "timestamp",
    "pid",
    "user",
    "from",
    "type",
    "outcome",
    "sandbox",
    "command",
    "arguments",
    "env",
    "previous",
    "hash",
];

/// How it came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, or begun.
    #[default]
    Allowed,
    /// It was tried and failed.
    Failed,
    /// It was refused: key, scope, origin, limit.
    Denied,
}

impl Outcome {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Failed => "failed",
            Self::Denied => "denied",
        }
    }
}

/// The value of a further field. Texts are cut at 4 KiB and lists at 128 entries, so that no caller can fill the log with
/// one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Texts.
    List(Vec<String>),
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for FieldValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for FieldValue {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for FieldValue {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u8> for FieldValue {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for FieldValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Vec<String>> for FieldValue {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}

/// One entry, borrowed from the request that it tells of: it is made, recorded and dropped.
#[derive(Debug, Clone, Default)]
pub struct Entry<'a> {
    kind: &'a str,
    outcome: Outcome,
    user: &'a str,
    from: &'a str,
    sandbox: Option<&'a str>,
    command: Option<&'a [String]>,
    env: Option<Vec<&'a str>>,
    previous: Option<Hash>,
    fields: Vec<(&'static str, FieldValue)>,
}

impl<'a> Entry<'a> {
    /// Of a kind (`type` in the log): `sandbox_created`, `sandbox_started`, `sandbox_stopped`, `sandbox_removed`,
    /// `command_executed`, `file_written`, `file_read`, `session_attached`, `policy_violation`, ...
    pub fn new(kind: &'a str) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Who asked: the name of a key, or who else it is.
    pub fn user(mut self, user: &'a str) -> Self {
        self.user = user;
        self
    }

    /// From where: an address, or `unix:uid=0`.
    pub fn from(mut self, from: &'a str) -> Self {
        self.from = from;
        self
    }

    /// How it came out; [`Outcome::Allowed`] where it isn't said.
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// The sandbox that it is about.
    pub fn sandbox(mut self, sandbox: &'a str) -> Self {
        self.sandbox = Some(sandbox);
        self
    }

    /// The program and its arguments, as they are: the log masks what looks like a secret.
    pub fn command(mut self, command: &'a [String]) -> Self {
        self.command = Some(command);
        self
    }

    /// The names of variables that came with it. Values have no way into the log.
    pub fn env(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.env = Some(names.into_iter().collect());
        self
    }

    /// Something else worth to know. Never contents, never secrets.
    pub fn field(mut self, name: &'static str, value: impl Into<FieldValue>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// What a file's first entry follows.
    pub(crate) fn previous(mut self, hash: Hash) -> Self {
        self.previous = Some(hash);
        self
    }

    /// The entry as the text of a JSON object, without its hash, into `line`, which is cleared before.
    pub(crate) fn write_body(&self, sequence: u64, arguments: Arguments, line: &mut String) {
        self.write(sequence, arguments, true, line);
        if line.len() > LONGEST_BODY_BYTES {
            self.write(sequence, arguments, false, line);
        }
    }

    fn write(&self, sequence: u64, arguments: Arguments, whole: bool, line: &mut String) {
        line.clear();
        line.push('{');
        number(line, "seq", sequence);
        text(line, "timestamp", &humantime::format_rfc3339_micros(SystemTime::now()).to_string());
        number(line, "pid", std::process::id().into());
        text(line, "user", self.user);
        text(line, "from", self.from);
        text(line, "type", self.kind);
        text(line, "outcome", self.outcome.as_str());
        if let Some(sandbox) = self.sandbox {
            text(line, "sandbox", sandbox);
        }
        if let Some(previous) = self.previous {
            text(line, "previous", &previous.to_string());
        }
        if whole {
            self.write_command(arguments, line);
            for (name, value) in &self.fields {
                field(line, name, value);
            }
        } else {
            flag(line, "cut", true);
        }
        line.push('}');
    }

    fn write_command(&self, arguments: Arguments, line: &mut String) {
        match (self.command, arguments) {
            (Some(command), Arguments::Redacted) => {
                // Only what is written is looked at.
                let kept = &command[..command.len().min(LONGEST_LIST + 1)];
                list(line, "command", redact_arguments(kept).iter().map(String::as_str));
            }
            (Some(command), Arguments::Program) => {
                list(line, "command", command.first().map(String::as_str));
                number(line, "arguments", command.len().saturating_sub(1) as u64);
            }
            (None, _) => {}
        }
        if let Some(names) = &self.env {
            list(line, "env", names.iter().copied());
        }
    }
}

fn field(line: &mut String, name: &str, value: &FieldValue) {
    let name = if OWN_NAMES.contains(&name) { &format!("{name}_") } else { name };
    match value {
        FieldValue::Text(value) => text(line, name, value),
        FieldValue::Number(value) => number(line, name, *value),
        FieldValue::Flag(value) => flag(line, name, *value),
        FieldValue::List(values) => list(line, name, values.iter().map(String::as_str)),
    }
}

fn key(line: &mut String, name: &str) {
    if !line.ends_with('{') {
        line.push(',');
    }
    string(line, name);
    line.push(':');
}

fn text(line: &mut String, name: &str, value: &str) {
    key(line, name);
    string(line, value);
}

fn number(line: &mut String, name: &str, value: u64) {
    key(line, name);
    if write!(line, "{value}").is_err() {
        // Writing into a String can't fail; a missing value would not be JSON.
        line.push('0');
    }
}

fn flag(line: &mut String, name: &str, value: bool) {
    key(line, name);
    line.push_str(if value { "true" } else { "false" });
}

fn list<'t>(line: &mut String, name: &str, values: impl IntoIterator<Item = &'t str>) {
    key(line, name);
    line.push('[');
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        if index == LONGEST_LIST {
            string(line, "...");
            break;
        }
        string(line, value);
    }
    line.push(']');
}

/// A JSON string (RFC 8259, section 7), cut where it is too long.
fn string(line: &mut String, value: &str) {
    let kept = cut(value);
    line.push('"');
    for character in kept.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            '\r' => line.push_str("\\r"),
            // DEL and the C1 controls steer terminals as well.
            control if control.is_control() => {
                if write!(line, "\\u{:04x}", u32::from(control)).is_err() {
                    line.push('?');
                }
            }
            other => line.push(other),
        }
    }
    if kept.len() < value.len() && write!(line, "...(+{} bytes)", value.len() - kept.len()).is_err() {
        line.push_str("...");
    }
    line.push('"');
}

/// The beginning of a text, ended between two characters.
fn cut(value: &str) -> &str {
    let mut end = value.len().min(LONGEST_TEXT_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn body(entry: &Entry<'_>, arguments: Arguments) -> Value {
        let mut line = String::new();
        entry.write_body(7, arguments, &mut line);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    #[test]
    fn an_entry_says_who_what_and_how_it_came_out() {
        let command = ["env".to_owned(), "API_TOKEN=hunter2".to_owned(), "x\u{1b}[2J\u{9b}".to_owned()];
        let entry = Entry::new("command_executed")
            .user("ci")
            .from("127.0.0.1:5")
            .sandbox("box")
            .command(&command)
            .env(["HOME"])
            .field("exit_code", 3_u8)
            .field("hash", "clash");
        let value = body(&entry, Arguments::Redacted);
        assert_eq!(value["seq"], 7);
        assert_eq!(value["type"], "command_executed");
        assert_eq!(value["outcome"], "allowed");
        assert_eq!(value["command"][1], "API_TOKEN=***");
        assert_eq!(value["command"][2], "x\u{1b}[2J\u{9b}", "escaped on the way, whole for the reader");
        assert_eq!(value["env"][0], "HOME");
        assert_eq!(value["hash_"], "clash");
        let value = body(&entry, Arguments::Program);
        assert_eq!((value["command"].as_array().map(Vec::len), &value["arguments"]), (Some(1), &2.into()));
    }

    #[test]
    fn no_request_fills_the_log() {
        let command: Vec<String> = (0..100_000).map(|_| "é".repeat(5000)).collect();
        let mut line = String::new();
        Entry::new("command_executed").command(&command).write_body(1, Arguments::Redacted, &mut line);
        assert!(line.len() <= LONGEST_BODY_BYTES, "{}", line.len());
        assert!(line.contains("\"cut\":true"));
        let entry = Entry::new("x").field("path", "p".repeat(10_000));
        let value = body(&entry, Arguments::Redacted);
        assert!(value["path"].as_str().is_some_and(|path| path.ends_with("...(+5904 bytes)")));
    }

    #[test]
    fn no_control_character_is_written_as_it_is() {
        let mut line = String::new();
        Entry::new("a\u{0}b\u{7f}\u{85}\n").write_body(1, Arguments::Redacted, &mut line);
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
