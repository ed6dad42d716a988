//! `cargo xtask test-bed VERB [--folder FOLDER]`.

use std::path::Path;

use anyhow::{Result, bail};

use super::place::{Place, Variables};
use super::{bed, guard, removal};

const USAGE: &str = "cargo xtask test-bed start|stop|env [--folder F]";

/// Does what the words say.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let (verb, place) = match words {
        [verb] => (*verb, Place::by_hand()),
        [verb, "--folder", folder] if Path::new(folder).is_absolute() => {
            (*verb, Place { folder: (*folder).into() })
        }
        _ => bail!("unknown words: {USAGE}, where F is an absolute path"),
    };
    match verb {
        "start" => {
            let started = bed::start(&place)?;
            print!("{}", exports(&started.variables));
            for (what, why) in &started.missing {
                eprintln!("test bed: missing: {what}: {why}");
            }
            Ok(true)
        }
        "stop" => removal::remove(&place).map(|()| true),
        "env" => match bed::running(&place)? {
            Some(variables) => {
                print!("{}", exports(&variables));
                Ok(true)
            }
            None => {
                bail!("no test bed is up in {}: run `cargo xtask test-bed start`", place.folder.display())
            }
        },
        "guard" => guard::keep(&place),
        other => bail!("unknown verb {other:?}: {USAGE}"),
    }
}

/// For `source <(cargo xtask test-bed env)`. Values are paths and addresses of the bed's own making.
fn exports(variables: &Variables) -> String {
    variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect()
}
