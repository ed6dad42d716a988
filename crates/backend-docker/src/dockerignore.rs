//! `.dockerignore`: which files of a folder are not sent to who builds. The rules are Docker's: the last pattern that fits
//! a file or a folder above it decides, `!` takes back, `**` stands for any number of folders.

/// The patterns of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    takes_back: bool,
    parts: Vec<Vec<u8>>,
}

impl Ignore {
    /// Reads the text of a `.dockerignore`.
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let pattern = |line: &str| {
            let (takes_back, rest) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let mut parts: Vec<Vec<u8>> = Vec::new();
            for part in rest.split('/').filter(|part| !part.is_empty() && *part != ".") {
                match part {
                    ".." => drop(parts.pop()),
                    part => parts.push(part.as_bytes().to_vec()),
                }
            }
            (!parts.is_empty()).then_some(Pattern { takes_back, parts })
        };
        Self { patterns: lines.filter_map(pattern).collect() }
    }

    /// Whether the file or folder `path`, relative to the context, is left out.
    pub(crate) fn ignores(&self, path: &[&[u8]]) -> bool {
        let fits =
            |pattern: &Pattern| (1..=path.len()).any(|length| matches(&pattern.parts, &path[..length]));
        let last = self.patterns.iter().rev().find(|pattern| fits(pattern));
        last.is_some_and(|pattern| !pattern.takes_back)
    }

    /// Whether anything below an ignored folder could be taken back.
    pub(crate) fn takes_back(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.takes_back)
    }
}

/// Whether a pattern fits a whole path.
fn matches(pattern: &[Vec<u8>], path: &[&[u8]]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == b"**" => {
            (0..=path.len()).any(|skipped| matches(rest, &path[skipped..]))
        }
        (Some((first, pattern)), Some((name, path))) => fits(first, name) && matches(pattern, path),
        _ => false,
    }
}

/// Whether a pattern fits one name: `*`, `?`, `[...]` and `\`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        (Some((b'?', rest)), Some((_, name))) => fits(rest, name),
        (Some((b'[', rest)), Some((letter, name))) => match class(rest, *letter) {
            Some((true, rest)) => fits(rest, name),
            _ => false,
        },
        (Some((b'\\', rest)), Some((letter, name))) => {
            rest.split_first().is_some_and(|(wanted, rest)| wanted == letter && fits(rest, name))
        }
        (Some((wanted, rest)), Some((letter, name))) => wanted == letter && fits(rest, name),
        _ => false,
    }
}

/// Whether `letter` is in the class that `pattern` begins with, and what follows it; `None` where it has no end.
fn class(pattern: &[u8], letter: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern.split_first() {
        Some((b'^' | b'!', rest)) => (true, rest),
        _ => (false, pattern),
    };
    let mut found = false;
    let mut first = true;
    loop {
        rest = match rest {
            [b']', rest @ ..] if !first => return Some((found != negated, rest)),
            [low, b'-', high, rest @ ..] if *high != b']' => {
                found |= (*low..=*high).contains(&letter);
                rest
            }
            [one, rest @ ..] => {
                found |= *one == letter;
                rest
            }
            [] => return None,
        };
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ignores(text: &str, path: &str) -> bool {
        let parts: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
        Ignore::parse(text).ignores(&parts)
    }

    #[test]
    fn patterns_are_dockers() {
        for (text, path, expected) in [
            ("node_modules", "node_modules", true),
            ("node_modules", "node_modules/x/y", true),
            ("node_modules", "sub/node_modules", false),
            ("**/node_modules", "sub/deep/node_modules/x", true),
            ("**/node_modules", "node_modules", true),
            ("*.log", "a.log", true),
            ("*.log", "sub/a.log", false),
            ("*/*.log", "sub/a.log", true),
            ("/a", "a", true),
            ("./a/", "a/b", true),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("# comment\n\na", "a", true),
            ("*\n!keep", "keep", false),
            ("*\n!keep", "keep/below", false),
            ("*\n!keep\nkeep/secret", "keep/secret", true),
            ("**", "a/b/c", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("x/../a", "a", true),
            ("", "a", false),
        ] {
            assert_eq!(ignores(text, path), expected, "{text:?} {path}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_breaks_it(text in "[a*?!/\\[\\]\\\\.^-]{0,24}", path in "[ab./]{1,16}") {
            ignores(&text, &path);
        }
    }
}
