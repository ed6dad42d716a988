//! What passed, what failed, what was skipped and why.

/// The end of one test or gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    /// With the reason.
    Skipped(String),
}

/// One test or gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
}

/// What a test prints, at the beginning of a line, when something it needs is missing.
const SKIP_MARK: &str = "SKIPPED: ";

/// The reason in a test's output, where it says that it was skipped.
pub(crate) fn skip_reason(output: &str) -> Option<String> {
    let reasons: Vec<&str> =
        output.lines().filter_map(|line| line.trim_start().strip_prefix(SKIP_MARK)).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// All cases so far, in groups: `gates`, `as root`, ...
#[derive(Default)]
pub(crate) struct Tally {
    groups: Vec<(String, Vec<Case>)>,
}

impl Tally {
    /// Adds cases to a group, which is made where it is new.
    pub(crate) fn add(&mut self, group: &str, cases: impl IntoIterator<Item = Case>) {
        match self.groups.iter_mut().find(|(name, _)| name == group) {
            Some((_, there)) => there.extend(cases),
            None => self.groups.push((group.to_owned(), cases.into_iter().collect())),
        }
    }

    /// Adds one case.
    pub(crate) fn add_one(&mut self, group: &str, name: &str, verdict: Verdict) {
        self.add(group, [Case { name: name.to_owned(), verdict }]);
    }

    /// The whole report; its last line is the count that CI reads.
    pub(crate) fn report(&self) -> String {
        let mut lines = Vec::new();
        let all =
            || self.groups.iter().flat_map(|(group, cases)| cases.iter().map(move |case| (group, case)));
        let mut section = |title: &str, found: Vec<String>| {
            if !found.is_empty() {
                lines.push(format!("{title}:"));
                lines.extend(found);
            }
        };
        let skipped = all().filter_map(|(group, case)| match &case.verdict {
            Verdict::Skipped(why) => Some(format!("  [{group}] {}: {why}", case.name)),
            _ => None,
        });
        section("Skipped", skipped.collect());
        let failed = all().filter(|(_, case)| case.verdict == Verdict::Failed);
        section("Failed", failed.map(|(group, case)| format!("  [{group}] {}", case.name)).collect());
        section(
            "Counts",
            self.groups.iter().map(|(group, cases)| format!("  {group}: {}", count(cases))).collect(),
        );
        lines.push(count(all().map(|(_, case)| case)));
        lines.join("\n")
    }

    /// Whether something ran and nothing failed.
    pub(crate) fn succeeded(&self) -> bool {
        let mut verdicts = self.groups.iter().flat_map(|(_, cases)| cases).map(|case| &case.verdict);
        let mut passed = false;
        verdicts.all(|verdict| {
            passed |= *verdict == Verdict::Passed;
            *verdict != Verdict::Failed
        }) && passed
    }
}

fn count<'a>(cases: impl IntoIterator<Item = &'a Case>) -> String {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in cases {
        match case.verdict {
            Verdict::Passed => passed += 1,
            Verdict::Failed => failed += 1,
            Verdict::Skipped(_) => skipped += 1,
        }
    }
    format!("{passed} passed, {failed} failed, {skipped} skipped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_ends_with_the_count_alone() {
        let mut tally = Tally::default();
        tally.add_one("gates", "fmt", Verdict::Passed);
        tally.add_one("as root", "escape::ptrace", Verdict::Failed);
        tally.add_one("as root", "network::pasta", Verdict::Skipped("no pasta".to_owned()));
        let report = tally.report();
        assert_eq!(report.lines().next_back(), Some("1 passed, 1 failed, 1 skipped"));
        assert!(report.contains("  [as root] network::pasta: no pasta"), "{report}");
        assert!(report.contains("  [as root] escape::ptrace\n"), "{report}");
        assert!(!tally.succeeded());
    }

    #[test]
    fn nothing_run_is_no_success() {
        assert!(!Tally::default().succeeded());
        let mut tally = Tally::default();
        tally.add_one("gates", "deny", Verdict::Skipped("not installed".to_owned()));
        assert!(!tally.succeeded());
        tally.add_one("gates", "fmt", Verdict::Passed);
        assert!(tally.succeeded());
    }

    #[test]
    fn reasons_are_found_in_output() {
        assert_eq!(skip_reason("a\n  SKIPPED: no nft\nb"), Some("no nft".to_owned()));
        assert_eq!(skip_reason("it was SKIPPED: in a sentence"), None);
    }
}
