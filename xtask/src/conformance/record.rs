//! The record: one verdict a case and suite.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::bench::{commit, machine_of_tests, now};
use crate::workspace::Workspace;

/// What the line with a verdict begins with (`agentkernel_testkit::conformance::record`).
pub(crate) const MARK: &str = "CONFORMANCE: ";

/// A run of the suites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// UTC, RFC 3339.
    pub(super) taken_at: String,
    pub(super) commit: String,
    /// One line: system, kernel, control groups.
    pub(super) machine: String,
    pub(super) suites: Vec<Suite>,
}

/// The suite on one backend, as one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Suite {
    /// The test executable and, where it runs the suite several times, on what: `backend-native image`.
    pub(super) subject: String,
    /// `root` or `user`.
    pub(super) run_as: String,
    /// Where it was run by hand and not by `cargo xtask test`: when, and on what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by_hand: Option<String>,
    pub(super) cases: Vec<Entry>,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(super) case: String,
    pub(super) promise: String,
    pub(super) verdict: Word,
    /// Features, in words.
    pub(super) needs: Vec<String>,
    pub(super) lacks: Vec<String>,
}

/// How a case went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    Holds,
    Refused,
    Skipped,
}

/// Keeps the verdicts of a run of the tests until they are recorded; `lines` are tests' names and what they printed
/// behind [`MARK`].
pub(crate) fn keep(workspace: &Workspace, run_as: &str, lines: &[(String, String)]) -> Result<()> {
    let suites = suites(run_as, lines)?;
    let file = kept(workspace, run_as)?;
    std::fs::write(&file, serde_json::to_string(&suites)?)
        .with_context(|| format!("write {}", file.display()))
}

/// What the last run of the tests kept, of both users.
pub(super) fn last_run(workspace: &Workspace) -> Result<Vec<Suite>> {
    let mut all = Vec::new();
    for run_as in ["root", "user"] {
        let file = kept(workspace, run_as)?;
        match std::fs::read(&file) {
            Ok(bytes) => {
                let suites: Vec<Suite> =
                    serde_json::from_slice(&bytes).with_context(|| format!("parse {}", file.display()))?;
                all.extend(suites);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
        }
    }
    Ok(all)
}

/// Writes docs/conformance.json. What was run by hand stays in it.
pub(crate) fn record(workspace: &Workspace) -> Result<bool> {
    let mut suites = last_run(workspace)?;
    if suites.is_empty() {
        bail!("no run of the suites is kept: run `cargo xtask test` first");
    }
    let before = read(workspace)?.map(|record| record.suites).unwrap_or_default();
    suites.extend(before.into_iter().filter(|suite| suite.by_hand.is_some()));
    let commit = commit(&workspace.root);
    write(workspace, &Record { taken_at: now(), commit, machine: machine_of_tests(), suites })
}

/// Puts what a suite printed on another machine, as root, into docs/conformance.json. A case that was run again counts as it
/// went last.
pub(crate) fn take_in(workspace: &Workspace, subject: &str, file: &str) -> Result<bool> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let mut suite = by_hand(subject, &text)?;
    suite.by_hand = Some(format!("{} on commit {}", now(), commit(&workspace.root)));
    let mut record = read(workspace)?.context("nothing is recorded: run `cargo xtask conformance` first")?;
    record.suites.retain(|other| other.subject != suite.subject);
    record.suites.push(suite);
    write(workspace, &record)
}

fn by_hand(subject: &str, printed: &str) -> Result<Suite> {
    let mut cases: Vec<Entry> = Vec::new();
    for line in printed.lines().filter_map(|line| line.split_once(MARK)) {
        let entry: Entry = serde_json::from_str(line.1).with_context(|| format!("parse {}", line.1))?;
        cases.retain(|other| other.case != entry.case);
        cases.push(entry);
    }
    if cases.is_empty() {
        bail!("no line has a verdict: run the suite with --nocapture");
    }
    cases.sort_by(|one, other| one.case.cmp(&other.case));
    Ok(Suite { subject: subject.to_owned(), run_as: "root".to_owned(), by_hand: None, cases })
}

fn write(workspace: &Workspace, record: &Record) -> Result<bool> {
    let mut json = serde_json::to_string_pretty(record)?;
    json.push('\n');
    std::fs::write(path(&workspace.root), json).context("write docs/conformance.json")?;
    println!("conformance: docs/conformance.json; `cargo xtask gen` makes the page from it");
    Ok(true)
}

/// The record of the repository; `None` where there is none yet.
pub(super) fn read(workspace: &Workspace) -> Result<Option<Record>> {
    match std::fs::read(path(&workspace.root)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).context("parse docs/conformance.json"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("read docs/conformance.json"),
    }
}

fn path(root: &Path) -> PathBuf {
    root.join("docs/conformance.json")
}

fn kept(workspace: &Workspace, run_as: &str) -> Result<PathBuf> {
    Ok(workspace.scratch("conformance")?.join(format!("{run_as}.json")))
}

fn suites(run_as: &str, lines: &[(String, String)]) -> Result<Vec<Suite>> {
    let mut suites: Vec<Suite> = Vec::new();
    for (test, line) in lines {
        let entry: Entry =
            serde_json::from_str(line).with_context(|| format!("parse what {test} printed"))?;
        let subject = subject(test, &entry.case);
        match suites.iter_mut().find(|suite| suite.subject == subject) {
            Some(suite) => suite.cases.push(entry),
            None => {
                let run_as = run_as.to_owned();
                suites.push(Suite { subject, run_as, by_hand: None, cases: vec![entry] });
            }
        }
    }
    // The order of tests in a report is that of their ends.
    suites.sort_by(|one, other| one.subject.cmp(&other.subject));
    suites.iter_mut().for_each(|suite| suite.cases.sort_by(|one, other| one.case.cmp(&other.case)));
    Ok(suites)
}

/// `agentkernel-backend-native::conformance_image::exec::exit_codes` is on `backend-native image`,
/// `agentkernel-backend-docker::engines::conformance::podman::exec::exit_codes` on `backend-docker podman`.
fn subject(test: &str, case: &str) -> String {
    let name = test.strip_suffix(case).unwrap_or(test).trim_end_matches("::");
    let words = name.strip_prefix("agentkernel-").unwrap_or(name).split("::");
    let words = words.map(|word| word.strip_prefix("conformance").unwrap_or(word).trim_start_matches('_'));
    words.filter(|word| !word.is_empty() && *word != "engines").collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn line(case: &str, verdict: &str, lacks: &str) -> String {
        format!(
            r#"{{"case":{case:?},"promise":"p of {case}","verdict":{verdict:?},"needs":["OCI images"],"lacks":[{lacks}]}}"#
        )
    }

    pub(in super::super) fn record() -> Record {
        let lines = [
            ("agentkernel-backend-native::conformance_image::b::two", line("b::two", "holds", "")),
            (
                "agentkernel-backend-native::conformance_image::b::one",
                line("b::one", "refused", "\"OCI images\""),
            ),
            (
                "agentkernel-backend-docker::engines::conformance::podman::b::one",
                line("b::one", "skipped", ""),
            ),
        ];
        let lines = lines.map(|(test, line)| (test.to_owned(), line));
        Record {
            taken_at: "2026-01-01T00:00:00Z".to_owned(),
            commit: "abc".to_owned(),
            machine: "m".to_owned(),
            suites: suites("root", &lines).unwrap(),
        }
    }

    #[test]
    fn what_was_printed_by_hand_counts_as_it_went_last() {
        let printed = [
            format!("test qemu::b::two ... {MARK}{}", line("b::two", "skipped", "")),
            "SKIPPED: b::two: no".to_owned(),
            format!("{MARK}{}", line("b::one", "holds", "")),
            format!("{MARK}{}", line("b::two", "holds", "")),
        ];
        let suite = by_hand("backend-x bed", &printed.join("\n")).unwrap();
        let seen: Vec<_> = suite.cases.iter().map(|entry| (entry.case.as_str(), entry.verdict)).collect();
        assert_eq!(seen, [("b::one", Word::Holds), ("b::two", Word::Holds)]);
        assert!(by_hand("backend-x bed", "test a ... ok").is_err());
    }

    #[test]
    fn verdicts_are_sorted_into_suites() {
        let record = record();
        let seen: Vec<(&str, Vec<&str>)> = record
            .suites
            .iter()
            .map(|suite| {
                (suite.subject.as_str(), suite.cases.iter().map(|entry| entry.case.as_str()).collect())
            })
            .collect();
        assert_eq!(
            seen,
            [("backend-docker podman", vec!["b::one"]), ("backend-native image", vec!["b::one", "b::two"])]
        );
    }
}
