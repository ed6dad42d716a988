//! The bed of machines in a run of the tests: what it lacks is counted as skipped, and the ordinary user gets copies of
//! what lies in root's cache.

use std::path::Path;

use anyhow::Result;

use super::person::Person;
use super::tally::{Tally, Verdict};
use super::tools::is_open_to_all;
use crate::microvm_bed::ForTests;
use crate::test_bed::Variables;

const GROUP: &str = "test bed";
const NAME: &str = "machines";

/// Waits for it and counts how that went; its variables, none where there is no bed.
pub(super) fn wait(bed: ForTests, tally: &mut Tally) -> Variables {
    println!("== bed of machines");
    match bed.variables() {
        Ok(variables) => {
            tally.add_one(GROUP, NAME, Verdict::Passed);
            variables
        }
        Err(error) => {
            println!("bed of machines: {error:#}");
            tally.add_one(GROUP, NAME, Verdict::Skipped(format!("{error:#}")));
            Variables::new()
        }
    }
}

/// The same where `person`, who may not enter our cache, can use it.
pub(super) fn given_to(person: &Person, variables: &Variables) -> Result<Variables> {
    let give = |(name, path): &(String, String)| {
        let path = Path::new(path);
        let theirs = if is_open_to_all(path) { path.to_owned() } else { person.give(path)? };
        Ok((name.clone(), theirs.display().to_string()))
    };
    variables.iter().map(give).collect()
}
