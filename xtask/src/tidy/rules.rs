//! The rules themselves, as data where one pattern says it all.

use super::source::Source;

/// The most lines of a Rust file.
pub(crate) const MOST_LINES: usize = 500;
/// The length that files aim at.
pub(crate) const GOOD_LINES: usize = 250;
/// The most lines of a `main.rs`.
const MOST_LINES_OF_MAIN: usize = 45;

/// Something against the style.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// A word that only some places may use.
struct Forbidden {
    pattern: &'static str,
    why: &'static str,
    /// Paths that begin so may use it.
    except: &'static [&'static str],
    /// Whether tests may use it.
    tests_may: bool,
    /// A comment with this beginning, on the line or just above it, allows it.
    marker: Option<&'static str>,
}

const ENVIRONMENT: &str = "only crates/config reads the environment";
const PRINTS: &str = "only crates/cli prints";
const SLEEP: &str =
    "wait on a condition with a deadline; a pause between two looks at it says so: `// sleep: why`";
const UNFINISHED: &str = "unfinished work belongs into an issue";
const READS_ENVIRONMENT: &[&str] = &["crates/config/", "xtask/"];
const MAY_PRINT: &[&str] = &["crates/cli/", "xtask/"];
/// The last makes the raw calls that the escape suite attempts from inside.
const MAY_BE_UNSAFE: &[&str] =
    &["crates/sys/", "guest/agent/src/raw.rs", "crates/backend-native/tests/escape/inside/raw.rs"];

const fn plain(pattern: &'static str, why: &'static str) -> Forbidden {
    Forbidden { pattern, why, except: &[], tests_may: false, marker: None }
}

const fn outside_tests(
    pattern: &'static str,
    why: &'static str,
    except: &'static [&'static str],
) -> Forbidden {
    Forbidden { pattern, why, except, tests_may: true, marker: None }
}

const fn sleep(pattern: &'static str) -> Forbidden {
    Forbidden { pattern, why: SLEEP, except: &[], tests_may: true, marker: Some("// sleep: ") }
}

const FORBIDDEN: &[Forbidden] = &[
    Forbidden {
        pattern: "unsafe",
        why: "unsafe code lives in crates/sys and guest/agent/src/raw.rs",
        except: MAY_BE_UNSAFE,
        tests_may: false,
        marker: None,
    },
    outside_tests("env::var", ENVIRONMENT, READS_ENVIRONMENT),
    outside_tests("env::var_os", ENVIRONMENT, READS_ENVIRONMENT),
    outside_tests("env::vars", ENVIRONMENT, READS_ENVIRONMENT),
    outside_tests("env::vars_os", ENVIRONMENT, READS_ENVIRONMENT),
    outside_tests("println!", PRINTS, MAY_PRINT),
    outside_tests("eprintln!", PRINTS, MAY_PRINT),
    outside_tests("print!", PRINTS, MAY_PRINT),
    outside_tests("eprint!", PRINTS, MAY_PRINT),
    sleep("thread::sleep"),
    sleep("time::sleep"),
    plain("#[allow(", "use #[expect(lint, reason = \"...\")]"),
    plain("#![allow(", "use #![expect(lint, reason = \"...\")]"),
    plain("let _ =", "handle the result, or say why not"),
    plain("todo!", UNFINISHED),
    plain("unimplemented!", UNFINISHED),
    plain("dbg!", UNFINISHED),
];

/// Names that say nothing of what is in the file.
const EMPTY_NAMES: [&str; 8] = ["utils", "util", "helpers", "helper", "common", "manager", "misc", "stuff"];

/// Everything that is wrong with one Rust file.
pub(crate) fn of_rust(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = forbidden_words(source);
    findings.extend(shape(source));
    findings
}

fn forbidden_words(source: &Source<'_>) -> Vec<Finding> {
    let build_script = source.path.ends_with("/build.rs");
    let mut findings = Vec::new();
    for rule in FORBIDDEN {
        let excepted = rule.except.iter().any(|prefix| source.path.starts_with(prefix));
        // Build scripts talk to cargo by the environment and standard output.
        if excepted || build_script && [ENVIRONMENT, PRINTS].contains(&rule.why) {
            continue;
        }
        let hits = if rule.tests_may {
            source.lines_with_outside_tests(rule.pattern)
        } else {
            source.lines_with(rule.pattern)
        };
        let unmarked =
            hits.into_iter().filter(|line| !rule.marker.is_some_and(|marker| marked(source, *line, marker)));
        findings
            .extend(unmarked.map(|line| Finding { line, what: format!("`{}`: {}", rule.pattern, rule.why) }));
    }
    findings
}

/// Whether the line, or the comment right above it, holds `marker`.
fn marked(source: &Source<'_>, line: usize, marker: &str) -> bool {
    let above = source.lines[..line - 1].iter().rev().take_while(|text| text.trim_start().starts_with("//"));
    above.chain([&source.lines[line - 1]]).any(|text| text.contains(marker))
}

fn shape(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut wrong = |line, what: &str| findings.push(Finding { line, what: what.to_owned() });
    let name = source.path.rsplit('/').next().unwrap_or(source.path);
    let parts = source.path.trim_end_matches(".rs").split('/');
    if parts.into_iter().any(|part| EMPTY_NAMES.contains(&part)) {
        wrong(1, "the name says nothing of what is in it: one idea, one file, a noun's name");
    }
    if source.lines.len() > MOST_LINES {
        wrong(MOST_LINES, &format!("{} lines: split files past {MOST_LINES}", source.lines.len()));
    }
    if source.path.ends_with("src/main.rs") && source.lines.len() > MOST_LINES_OF_MAIN {
        wrong(MOST_LINES_OF_MAIN, &format!("a main.rs has at most {MOST_LINES_OF_MAIN} lines"));
    }
    let first = source.lines.iter().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    if !first.is_some_and(|line| line.starts_with("//!")) {
        wrong(1, "no `//!` line: what the module owns, and what it must not do");
    }
    if matches!(name, "lib.rs" | "mod.rs") && !source.path.starts_with("fuzz/") {
        let code = source.code.iter().take(source.tests_from).enumerate();
        for (index, line) in code {
            let starts = |word: &str| line.trim_start().trim_start_matches("pub ").starts_with(word);
            if ["fn ", "async fn ", "struct ", "enum ", "impl ", "trait "].into_iter().any(starts) {
                wrong(index + 1, "lib.rs and mod.rs hold only docs, `mod` and `pub use`");
            }
        }
    }
    findings
}

/// Host names of package registries, put together here so that this file doesn't name them itself.
const REGISTRY_HOSTS: [&str; 8] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("repo1.maven", ".org"),
    concat!("deb.debian", ".org"),
    concat!("static.rust-lang", ".org"),
];

/// What is wrong with a text file of any kind. What programs write isn't looked at: lock files, manual pages and the pages
/// that say so in their first line.
pub(crate) fn of_text(path: &str, text: &str) -> Vec<Finding> {
    let generated =
        path.ends_with(".lock") || path.starts_with("docs/man/") || text.starts_with("<!-- Generated");
    if generated {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let prose = path.ends_with(".md") || path.ends_with(".rs") || path.ends_with(".toml");
    for (index, line) in text.lines().enumerate() {
        let mut wrong = |what: String| findings.push(Finding { line: index + 1, what });
        if line.ends_with([' ', '\t']) {
            wrong("space at the end of the line".to_owned());
        }
        if REGISTRY_HOSTS.iter().any(|host| line.contains(host)) {
            wrong("names the host of a package registry".to_owned());
        }
        if prose && [concat!("TO", "DO"), concat!("FIX", "ME")].iter().any(|word| line.contains(word)) {
            wrong(UNFINISHED.to_owned());
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding { line: text.lines().count(), what: "no line break at the end".to_owned() });
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        of_rust(&Source::new(path, text, &BTreeSet::new()))
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.what))
            .collect()
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        let text = "//! One idea.\n\n/// Says unsafe, todo! and println! in words only.\nfn a() -> &'static str {\n    \"let _ = dbg!\"\n}\n";
        assert_eq!(found("crates/engine/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn each_forbidden_word_is_found_where_it_is_forbidden() {
        for rule in FORBIDDEN {
            let text = format!("//! Docs.\nfn a() {{ {} }}\n", rule.pattern);
            assert_eq!(found("crates/engine/src/a.rs", &text).len(), 1, "{}", rule.pattern);
        }
        assert!(found("crates/sys/src/a.rs", "//! Docs.\nunsafe {}\n").is_empty());
        assert!(found("crates/cli/src/a.rs", "//! Docs.\nprintln!()\n").is_empty());
        assert!(found("crates/engine/tests/a.rs", "//! Docs.\nprintln!()\n").is_empty());
    }

    #[test]
    fn a_pause_with_its_reason_is_fine() {
        let text =
            "//! Docs.\n// sleep: between two looks at the lock,\n// which has no event\nthread::sleep(x);\n";
        assert!(found("crates/store/src/a.rs", text).is_empty());
    }

    #[test]
    fn shapes_are_held() {
        assert_eq!(found("crates/x/src/utils.rs", "//! Docs.\n").len(), 1);
        assert_eq!(found("crates/x/src/a.rs", "fn a() {}\n").len(), 1);
        assert_eq!(found("crates/x/src/lib.rs", "//! Docs.\npub fn a() {}\n").len(), 1);
        assert_eq!(found("crates/x/src/a.rs", &format!("//! Docs.\n{}", "\n".repeat(500))).len(), 1);
        assert_eq!(found("crates/x/src/main.rs", &format!("//! Docs.\n{}", "\n".repeat(50))).len(), 1);
    }

    #[test]
    fn texts_are_clean() {
        assert_eq!(of_text("a.md", "x \n").len(), 1);
        assert_eq!(of_text("a.md", "x").len(), 1);
        assert_eq!(of_text("a.md", REGISTRY_HOSTS[0]).len(), 2, "host and line break");
        assert!(of_text("Cargo.lock", "x ").is_empty());
        assert!(of_text("a.md", "x\n").is_empty());
    }
}
