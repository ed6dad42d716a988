//! A run of the tests held against the record: what a backend kept on such a machine it must keep again.

use anyhow::Result;

use super::record::{Suite, Word, last_run, read};
use crate::bench::machine_of_tests;
use crate::workspace::Workspace;

/// Prints each case that held when it was recorded and is refused now; whether there is none. On another kind of machine
/// a backend may lack what it had on this one.
pub(crate) fn compare(workspace: &Workspace) -> Result<bool> {
    let Some(record) = read(workspace)? else {
        println!("conformance: nothing is recorded: run `cargo xtask conformance`");
        return Ok(true);
    };
    let run = last_run(workspace)?;
    let lost = lost(&record.suites, &run);
    for what in &lost {
        println!("conformance: {what}");
    }
    let same_machine = record.machine == machine_of_tests();
    if !lost.is_empty() && !same_machine {
        println!("conformance: recorded on {}, this is {}", record.machine, machine_of_tests());
    }
    Ok(lost.is_empty() || !same_machine)
}

/// Cases that held and are refused.
fn lost(recorded: &[Suite], run: &[Suite]) -> Vec<String> {
    let mut lost = Vec::new();
    for before in recorded {
        let same = |suite: &&Suite| suite.subject == before.subject && suite.run_as == before.run_as;
        let Some(now) = run.iter().find(same) else { continue };
        for entry in before.cases.iter().filter(|entry| entry.verdict == Word::Holds) {
            let found = now.cases.iter().find(|found| found.case == entry.case);
            if let Some(found) = found.filter(|found| found.verdict == Word::Refused) {
                let (subject, run_as) = (&before.subject, &before.run_as);
                let lacks = found.lacks.join(", ");
                lost.push(format!("{subject} as {run_as}: {} held and is refused now: {lacks}", entry.case));
            }
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn only_what_held_and_is_refused_is_lost() {
        let before = record().suites;
        assert!(lost(&before, &before).is_empty());
        assert!(lost(&before, &[]).is_empty());
        let mut now = before.clone();
        now[1].cases[1].verdict = Word::Refused;
        now[1].cases[1].lacks = vec!["x".to_owned()];
        assert_eq!(lost(&before, &now), ["backend-native image as root: b::two held and is refused now: x"]);
    }
}
