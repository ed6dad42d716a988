//! What a test asks the fake afterwards: what there is, and what was done wrong.

use super::backend::FakeBackend;
use super::violation::Violation;

impl FakeBackend {
    /// What exists now: `box ID`, `orphan ID`, `sandbox ID`, `running ID`.
    pub fn objects(&self) -> Vec<String> {
        self.machine.with(|contents| {
            let boxes = contents.ephemeral.iter().map(|(id, entry)| {
                let kind = if entry.orphaned { "orphan" } else { "box" };
                format!("{kind} {id}")
            });
            let kept = contents.kept.iter().map(|(id, kept)| {
                let kind = if kept.running.is_some() { "running" } else { "sandbox" };
                format!("{kind} {id}")
            });
            boxes.chain(kept).collect()
        })
    }

    /// Every misuse so far; ephemeral boxes that still live or wait for recovery are misuse too.
    pub fn violations(&self) -> Vec<Violation> {
        let mut violations = self.machine.violations.all();
        self.machine.with(|contents| {
            for (id, entry) in &contents.ephemeral {
                violations.push(if entry.orphaned {
                    Violation::NotReclaimed { id: id.clone() }
                } else {
                    Violation::LeftAlive { id: id.clone() }
                });
            }
        });
        violations
    }

    /// Asserts that there was no misuse.
    ///
    /// # Panics
    /// Where there was.
    pub fn assert_clean(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "the fake backend was misused: {violations:#?}");
    }
}
