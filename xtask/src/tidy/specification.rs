//! SPECIFICATION.md names tests: each must be there, and no group of the conformance suite and no attempt of the escape
//! suite may be missing from it.

use super::rules::Finding;

/// The page that is checked.
pub(crate) const PAGE: &str = "SPECIFICATION.md";

/// The table of the conformance suite.
const CONFORMANCE: &str = "crates/testkit/src/conformance/table.rs";

/// The table of the escape suite.
const ESCAPE: &str = "crates/backend-native/tests/escape/table.rs";

/// What is wrong with the page, given all files of the project by path.
pub(crate) fn findings(page: &str, files: &[(String, String)]) -> Vec<Finding> {
    let rust: Vec<&(String, String)> = files.iter().filter(|(path, _)| path.ends_with(".rs")).collect();
    let mut findings = Vec::new();
    for (index, line) in page.lines().enumerate() {
        for name in tests_named(line) {
            let function = format!("fn {}(", name.rsplit("::").next().unwrap_or(name));
            let known = match name.split_once("::") {
                Some((group, case)) => conformance(files).iter().any(|(g, c)| *g == group && *c == case),
                None if attempts(files).contains(&name) => true,
                None => rust.iter().any(|(_, text)| text.contains(&function)),
            };
            if !known {
                findings.push(Finding { line: index + 1, what: format!("there is no test `{name}`") });
            }
        }
    }
    for (group, _) in conformance(files) {
        let what = format!("group `{group}` of the conformance suite is not named");
        let named = page.contains(&format!("`{group}`")) || page.contains(&format!("`{group}::"));
        if !named && !findings.iter().any(|finding| finding.what == what) {
            findings.push(Finding { line: 1, what });
        }
    }
    let unnamed = attempts(files).into_iter().filter(|name| !page.contains(&format!("`{name}`")));
    findings.extend(unnamed.map(|name| Finding { line: 1, what: format!("escape `{name}` is not named") }));
    findings
}

/// The escape suite's attempts: the first text in each `Attempt::inside(` and `Attempt::outside(`.
fn attempts(files: &[(String, String)]) -> Vec<&str> {
    let Some((_, text)) = files.iter().find(|(path, _)| path == ESCAPE) else { return Vec::new() };
    let calls = text.split("Attempt::").skip(1);
    let starts =
        calls.filter_map(|call| call.strip_prefix("inside(").or_else(|| call.strip_prefix("outside(")));
    starts.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next()).collect()
}

/// The tests in the last column of a table's row: words in backticks with an underscore or a group.
fn tests_named(line: &str) -> Vec<&str> {
    let Some(column) =
        line.trim().strip_prefix('|').and_then(|row| row.trim_end_matches('|').rsplit_once('|'))
    else {
        return Vec::new();
    };
    let words = column.1.split('`').skip(1).step_by(2);
    let is_name = |word: &&str| {
        let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte));
        plain && (word.contains("::") || word.contains('_'))
    };
    words.filter(is_name).collect()
}

/// The suite's cases as (group, case).
fn conformance(files: &[(String, String)]) -> Vec<(&str, &str)> {
    let Some((_, text)) = files.iter().find(|(path, _)| path == CONFORMANCE) else { return Vec::new() };
    let (mut cases, mut group) = (Vec::new(), "");
    for line in text.lines().map(str::trim) {
        match line.split_once(' ') {
            Some((name, "{")) if is_word(name) => group = name,
            Some((name, rest)) if rest.starts_with('[') && is_word(name) && !group.is_empty() => {
                cases.push((group, name));
            }
            _ => {}
        }
        if line.starts_with('}') {
            group = "";
        }
    }
    cases
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<(String, String)> {
        vec![
            (
                CONFORMANCE.to_owned(),
                "exec {\n  exit_codes [] \"x\",\n}\nlinks {\n  end [Files] \"y\",\n}\n".to_owned(),
            ),
            (
                ESCAPE.to_owned(),
                "Attempt::inside(\"mount_bind\", X),\nAttempt::outside(\n  \"bomb_log\", Y)".to_owned(),
            ),
            ("crates/cli/tests/cli/run.rs".to_owned(), "fn a_test() {}".to_owned()),
        ]
    }

    #[test]
    fn tests_that_are_there_are_fine() {
        let page = "| promise of `no_test` | conformance `exec::exit_codes`, `links::end`; cli `a_test`, `mount_bind`, `bomb_log` |\n";
        assert_eq!(findings(page, &files()), []);
    }

    #[test]
    fn missing_tests_and_groups_are_found() {
        let found = findings("| promise | `exec::nope`; `no_test`, `mount_bind` |\n", &files());
        let texts: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(
            texts,
            [
                "there is no test `exec::nope`",
                "there is no test `no_test`",
                "group `links` of the conformance suite is not named",
                "escape `bomb_log` is not named"
            ]
        );
    }
}
