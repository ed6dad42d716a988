//! The side inside the box.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use crate::attempt::Verdict;
use crate::table;

pub(crate) mod accomplice;
pub(crate) mod agent;
pub(crate) mod descriptors;
pub(crate) mod devices;
pub(crate) mod files;
pub(crate) mod host_secrets;
pub(crate) mod image_entries;
pub(crate) mod kernel_calls;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod privileges;
pub(crate) mod processes;
pub(crate) mod raw;
pub(crate) mod resources;
pub(crate) mod settings;
pub(crate) mod sockets;
mod verdict;

pub(crate) use verdict::{each, held_by, open_refused, refused};

/// The first argument of this program as an attacker.
pub(crate) const MARK: &str = "--inside";

/// What the outside tells an attempt: where to look, never what is there.
pub(crate) struct Clues(BTreeMap<String, String>);

impl Clues {
    fn from_environment() -> Self {
        let known = std::env::vars()
            .filter_map(|(name, value)| Some((name.strip_prefix("ESCAPE_")?.to_owned(), value)));
        Self(known.collect())
    }

    /// A clue, empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The host's secret, which was told backwards so as not to be found here.
    pub(crate) fn secret(&self) -> String {
        self.get("TERCES").chars().rev().collect()
    }

    pub(crate) fn is_restrictive(&self) -> bool {
        self.get("PROFILE") == "restrictive"
    }
}

/// Makes the attempt that the arguments name and says how it went; `None` where this is the outside.
pub(crate) fn main() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != MARK {
        return None;
    }
    let name = arguments.next()?;
    let clues = Clues::from_environment();
    let attempts = table::attempts();
    let verdict: Verdict =
        match attempts.iter().find(|attempt| attempt.name == name).and_then(|found| found.inside) {
            Some(attempt) => attempt(&clues),
            None => accomplice::run(&name, &clues),
        };
    let (line, code) = match verdict {
        Ok(by) => (format!("HELD: {by}"), ExitCode::SUCCESS),
        Err(how) => (format!("THROUGH: {how}"), ExitCode::FAILURE),
    };
    // Where nobody listens there is nothing to say.
    drop(writeln!(std::io::stdout(), "{}", line.replace('\n', " ")));
    Some(code)
}
