//! One Rust file as the rules see it: its lines, its code without comments and texts, and where its tests begin.

use std::collections::BTreeSet;

/// A Rust file under examination.
pub(crate) struct Source<'a> {
    /// Relative to the workspace, with slashes.
    pub(crate) path: &'a str,
    pub(crate) lines: Vec<&'a str>,
    /// The same lines with comments and the contents of literals blanked out.
    pub(crate) code: Vec<String>,
    /// The index of the line from which on all is tests: `#[cfg(test)]`, 0 for a file of tests.
    pub(crate) tests_from: usize,
}

impl<'a> Source<'a> {
    /// `test_modules`: the paths, without `.rs`, of modules that some other file has under `#[cfg(test)]`.
    pub(crate) fn new(path: &'a str, text: &'a str, test_modules: &BTreeSet<String>) -> Self {
        let code: Vec<String> = code_only(text).lines().map(str::to_owned).collect();
        let is_test_file = path.split('/').any(|part| part == "tests" || part == "testdata")
            || test_modules.iter().any(|module| in_module(path, module))
            || path.starts_with("crates/testkit/")
            || path.starts_with("fuzz/");
        let tests_from = if is_test_file { 0 } else { inline_tests(&code).unwrap_or(code.len()) };
        Self { path, lines: text.lines().collect(), code, tests_from }
    }

    /// The numbers (from 1) of lines whose code holds `pattern` as a word of its own, in tests or not.
    pub(crate) fn lines_with(&self, pattern: &str) -> Vec<usize> {
        let hits = self.code.iter().enumerate().filter(|(_, line)| has_word(line, pattern));
        hits.map(|(index, _)| index + 1).collect()
    }

    /// As [`Source::lines_with`], outside tests.
    pub(crate) fn lines_with_outside_tests(&self, pattern: &str) -> Vec<usize> {
        self.lines_with(pattern).into_iter().filter(|number| *number <= self.tests_from).collect()
    }
}

/// Whether the file is the module with this path, or one inside it.
fn in_module(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The line of `#[cfg(test)]` before a module with a body.
fn inline_tests(code: &[String]) -> Option<usize> {
    code.windows(2)
        .position(|pair| is_for_tests(&pair[0]) && pair[1].contains("mod ") && pair[1].contains('{'))
}

fn is_for_tests(line: &str) -> bool {
    line.trim_start().starts_with("#[cfg(test)]")
}

/// The modules in files of their own that `text` has under `#[cfg(test)]`, by their paths without `.rs`.
pub(crate) fn test_modules(path: &str, text: &str) -> Vec<String> {
    let code: Vec<String> = code_only(text).lines().map(str::to_owned).collect();
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = match file {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    let pairs = code.windows(2).filter(|pair| is_for_tests(&pair[0]));
    let names =
        pairs.filter_map(|pair| pair[1].trim().strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name));
    names.map(|name| format!("{folder}/{name}")).collect()
}

/// Whether `pattern` stands in `line` with no letter, digit or underscore right before or behind it, where the pattern
/// itself begins or ends with one.
fn has_word(line: &str, pattern: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(pattern).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_word);
        let behind = line[at + pattern.len()..].chars().next().is_some_and(is_word);
        !(before && pattern.starts_with(is_word) || behind && pattern.ends_with(is_word))
    })
}

/// `text` with every comment and the inside of every literal replaced by spaces; line breaks stay.
pub(crate) fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = skipped(rest, out.chars().next_back());
        if skip == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..skip].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skip..];
        }
    }
    out
}

/// How many bytes at the start of `rest` are a comment or a literal.
fn skipped(rest: &str, before: Option<char>) -> usize {
    let to_line_end = || rest.find('\n').unwrap_or(rest.len());
    if rest.starts_with("//") {
        to_line_end()
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if rest.starts_with('"') {
        quoted(rest)
    } else if rest.starts_with('r') && !before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_') {
        raw_string(rest)
    } else if rest.starts_with('\'') {
        character(rest)
    } else {
        0
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// A literal in double quotes, with its escapes.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// `r"..."`, `r#"..."#`; 0 for a raw identifier or a plain word.
fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    let open = 1 + hashes;
    if !rest[open..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    rest[open + 1..].find(&close).map_or(rest.len(), |at| open + 1 + at + close.len())
}

/// `'x'`, `'\n'`, `'\u{1F600}'`; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            // The escaped character itself may be a quote.
            chars.next();
            chars.find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1)
        }
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank() {
        let code = code_only("a(\"x // \\\" y\"); // b\nc /* d /* e */ f */ g r#\"h\"i\"# 'j' '\\'' &'k l");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a(", ");", "c", "g", "&'k", "l"]);
    }

    #[test]
    fn line_numbers_stay() {
        let text = "one\n/* two\nthree */ four\n\"five\nsix\" seven\n";
        let source = Source::new("crates/x/src/a.rs", text, &BTreeSet::new());
        assert_eq!(source.lines_with("four"), [3]);
        assert_eq!(source.lines_with("seven"), [5]);
        assert!(source.lines_with("five").is_empty());
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("unsafe { x }", "unsafe"));
        assert!(!has_word("unsafe_code", "unsafe"));
        assert!(!has_word("eprintln!(a)", "println!"));
        assert!(has_word("std::env::var(a)", "env::var"));
        assert!(!has_word("env::variable", "env::var"));
    }

    #[test]
    fn tests_are_told_apart() {
        let text = "fn a() { b(); }\n#[cfg(test)]\nmod tests { fn c() { b(); } }\n";
        let source = Source::new("crates/x/src/a.rs", text, &BTreeSet::new());
        assert_eq!(source.lines_with("b"), [1, 3]);
        assert_eq!(source.lines_with_outside_tests("b"), [1]);
        assert!(
            Source::new("crates/x/tests/a.rs", text, &BTreeSet::new())
                .lines_with_outside_tests("b")
                .is_empty()
        );
    }

    #[test]
    fn modules_for_tests_are_found() {
        let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\npub(crate) mod c;\nmod d;\n";
        assert_eq!(test_modules("crates/x/src/lib.rs", text), ["crates/x/src/b", "crates/x/src/c"]);
        assert_eq!(test_modules("crates/x/src/y.rs", text), ["crates/x/src/y/b", "crates/x/src/y/c"]);
        let known = BTreeSet::from(["crates/x/src/b".to_owned()]);
        for path in ["crates/x/src/b.rs", "crates/x/src/b/e.rs"] {
            assert!(Source::new(path, "fn f() { g(); }", &known).lines_with_outside_tests("g").is_empty());
        }
        assert_eq!(Source::new("crates/x/src/bb.rs", "g();", &known).lines_with_outside_tests("g"), [1]);
    }
}
