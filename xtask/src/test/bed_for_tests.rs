//! The test bed in a run of the tests: what it lacks is counted as skipped, what tests leave in it as failed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::choice::Choice;
use super::tally::{Tally, Verdict};
use crate::command;
use crate::test_bed::{Guard, Variables, is_quick_to_start};

const GROUP: &str = "test bed";
/// How long engines get to finish what they were told.
const DEADLINE: Duration = Duration::from_secs(20);

/// A bed, or none where it can't be had here.
pub(super) struct BedForTests {
    guard: Option<Guard>,
    before: BTreeSet<String>,
    none: Variables,
}

impl BedForTests {
    /// Brings it up and counts how that went.
    pub(super) fn start(choice: &Choice, tally: &mut Tally) -> Self {
        println!("== test bed");
        let mut bed = Self { guard: None, before: BTreeSet::new(), none: Variables::new() };
        let why_not = if !command::is_root() {
            Some("engines and registries are brought up by root only")
        } else if choice.quick && !is_quick_to_start() {
            Some("--quick brings it up only when its packages and images are there already")
        } else {
            None
        };
        if let Some(why) = why_not {
            tally.add_one(GROUP, "all of it", Verdict::Skipped(why.to_owned()));
            return bed;
        }
        let begun = Instant::now();
        match Guard::start() {
            Ok(guard) => {
                println!("-- test bed: up after {:.1} s", begun.elapsed().as_secs_f64());
                tally.add_one(GROUP, "start", Verdict::Passed);
                for (what, why) in &guard.missing {
                    println!("test bed: without {what}: {why}");
                    tally.add_one(GROUP, what, Verdict::Skipped(why.clone()));
                }
                bed.before = guard.remains();
                bed.guard = Some(guard);
            }
            Err(error) => {
                println!("test bed: {error:#}");
                tally.add_one(GROUP, "all of it", Verdict::Skipped(format!("{error:#}")));
            }
        }
        bed
    }

    /// What its tests find it by; nothing where there is none.
    pub(super) fn variables(&self) -> &Variables {
        self.guard.as_ref().map_or(&self.none, |guard| &guard.variables)
    }

    /// Looks what the tests left in its engines, and takes it down.
    pub(super) fn end(self, tally: &mut Tally) {
        let Some(guard) = self.guard else { return };
        let begun = Instant::now();
        let left = loop {
            let now = guard.remains();
            let left: Vec<String> = now.difference(&self.before).cloned().collect();
            if left.is_empty() || begun.elapsed() > DEADLINE {
                break left;
            }
            // sleep: between two looks at what an engine still removes, until the deadline
            std::thread::sleep(Duration::from_millis(200));
        };
        for object in &left {
            println!("left behind: {object}");
        }
        let clean = if left.is_empty() { Verdict::Passed } else { Verdict::Failed };
        tally.add_one(GROUP, "nothing left in the engines", clean);
        let ended = match guard.stop() {
            Ok(()) => Verdict::Passed,
            Err(error) => {
                println!("test bed: {error:#}");
                Verdict::Failed
            }
        };
        tally.add_one(GROUP, "end", ended);
    }
}
