//! Results of cargo-nextest, from the JUnit file that it writes. Only what nextest writes is understood: no CDATA, no
//! nested elements of one name.

use anyhow::{Context, Result};

use super::tally::{Case, Verdict, skip_reason};

/// All test cases of a report.
pub(crate) fn cases(xml: &str) -> Result<Vec<Case>> {
    let bodies = bodies(xml)?;
    Ok(bodies.into_iter().map(|(name, body)| Case { name, verdict: verdict(body) }).collect())
}

/// The name of each test case and what is in its element.
fn bodies(xml: &str) -> Result<Vec<(String, &str)>> {
    let mut bodies = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find("<testcase ") {
        rest = &rest[at..];
        let head_end = rest.find('>').context("a <testcase> without an end")?;
        let head = &rest[..head_end];
        let body_end = if head.ends_with('/') {
            head_end
        } else {
            rest.find("</testcase>").context("a <testcase> that is not closed")?
        };
        let body = &rest[head_end..body_end];
        let attribute =
            |name: &str| attribute(head, name).with_context(|| format!("a <testcase> without {name}"));
        let name = format!("{}::{}", attribute("classname")?, attribute("name")?);
        bodies.push((name, body));
        rest = &rest[body_end..];
    }
    Ok(bodies)
}

/// What stands behind `mark` in each line of a test's standard output that has it, with the test's name.
pub(crate) fn marked_lines(xml: &str, mark: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (name, body) in bodies(xml)? {
        let output = element(body, "system-out").unwrap_or_default();
        // Where tests run one at a time, their first line stands behind `test NAME ... `.
        let lines = output.lines().filter_map(|line| line.split_once(mark));
        found.extend(lines.map(|(_, rest)| (name.clone(), rest.to_owned())));
    }
    Ok(found)
}

fn verdict(body: &str) -> Verdict {
    // A test that passed in a second try is not counted as passed: there are no tries here.
    if ["<failure", "<error", "<flakyFailure"].iter().any(|element| body.contains(element)) {
        return Verdict::Failed;
    }
    let output: Vec<String> =
        ["system-out", "system-err"].iter().filter_map(|name| element(body, name)).collect();
    match skip_reason(&output.join("\n")) {
        Some(why) => Verdict::Skipped(why),
        None => Verdict::Passed,
    }
}

fn attribute(head: &str, name: &str) -> Option<String> {
    let begin = head.find(&format!(" {name}=\""))? + name.len() + 3;
    let end = begin + head[begin..].find('"')?;
    Some(unescape(&head[begin..end]))
}

fn element(body: &str, name: &str) -> Option<String> {
    let begin = body.find(&format!("<{name}>"))? + name.len() + 2;
    let end = begin + body[begin..].find(&format!("</{name}>"))?;
    Some(unescape(&body[begin..end]))
}

fn unescape(text: &str) -> String {
    let pairs =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#10;", "\n"), ("&amp;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<?xml version="1.0"?>
<testsuites><testsuite name="agentkernel-store" tests="3">
<testcase name="a::ok" classname="agentkernel-store" time="0.1"><system-out>running 1 test
SKIPPED: no &lt;nft&gt;
</system-out></testcase>
<testcase name="b" classname="agentkernel-store" time="0.1"/>
<testcase name="c" classname="agentkernel-store" time="0.1"><failure message="x">x</failure></testcase>
</testsuite></testsuites>"#;

    #[test]
    fn each_case_has_its_verdict() {
        let found: Vec<(String, Verdict)> =
            cases(REPORT).unwrap().into_iter().map(|case| (case.name, case.verdict)).collect();
        assert_eq!(
            found,
            [
                ("agentkernel-store::a::ok".to_owned(), Verdict::Skipped("no <nft>".to_owned())),
                ("agentkernel-store::b".to_owned(), Verdict::Passed),
                ("agentkernel-store::c".to_owned(), Verdict::Failed),
            ]
        );
    }

    #[test]
    fn marked_lines_are_found_with_their_tests() {
        let found = marked_lines(REPORT, "SKIPPED: ").unwrap();
        assert_eq!(found, [("agentkernel-store::a::ok".to_owned(), "no <nft>".to_owned())]);
    }

    #[test]
    fn a_broken_report_is_an_error() {
        assert!(cases("<testcase name=\"a\" classname=\"b\">").is_err());
    }
}
