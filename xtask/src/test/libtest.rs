//! Results of a test executable that was run directly with `--show-output`, where cargo-nextest is missing.

use std::collections::BTreeMap;

use super::tally::{Case, Verdict, skip_reason};

/// All test cases of one executable's output. An executable that broke off has a failed case of its own.
pub(crate) fn cases(executable: &str, output: &str, succeeded: bool) -> Vec<Case> {
    let texts = outputs(output);
    let mut cases: Vec<Case> = output.lines().filter_map(|line| case(executable, line, &texts)).collect();
    if !succeeded && cases.iter().all(|case| case.verdict != Verdict::Failed) {
        cases.push(Case { name: format!("{executable} (ended early)"), verdict: Verdict::Failed });
    }
    cases
}

fn case(executable: &str, line: &str, texts: &BTreeMap<&str, String>) -> Option<Case> {
    let (test, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    // `should_panic` tests carry a remark behind their name.
    let test = test.strip_suffix(" - should panic").unwrap_or(test);
    let verdict = match result.split_once(", ").map_or(result, |(word, _)| word) {
        "ok" => match texts.get(test).and_then(|text| skip_reason(text)) {
            Some(why) => Verdict::Skipped(why),
            None => Verdict::Passed,
        },
        "ignored" => Verdict::Skipped(result.to_owned()),
        _ => Verdict::Failed,
    };
    Some(Case { name: format!("{executable}::{test}"), verdict })
}

/// The captured output of each test that has one.
fn outputs(output: &str) -> BTreeMap<&str, String> {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    let mut current = None;
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            current = Some(name);
        } else if line == "successes:" || line == "failures:" {
            current = None;
        } else if let Some(name) = current {
            let text = texts.entry(name).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_its_verdict() {
        let output = "running 4 tests\ntest a ... ok\ntest b::c ... ok\ntest d ... FAILED\ntest e ... ignored, slow\n\
            \nsuccesses:\n\n---- b::c stdout ----\nSKIPPED: no pasta\n\n\nsuccesses:\n    a\n    b::c\n";
        let found: Vec<Verdict> = cases("x", output, false).into_iter().map(|case| case.verdict).collect();
        assert_eq!(
            found,
            [
                Verdict::Passed,
                Verdict::Skipped("no pasta".to_owned()),
                Verdict::Failed,
                Verdict::Skipped("ignored, slow".to_owned())
            ]
        );
    }

    #[test]
    fn an_executable_that_dies_is_a_failure() {
        let found = cases("x", "running 1 test\n", false);
        assert_eq!(found, [Case { name: "x (ended early)".to_owned(), verdict: Verdict::Failed }]);
    }
}
