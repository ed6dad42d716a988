//! Reads every file of the project and tells what is against the style.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::rules::{self, GOOD_LINES};
use super::source::{Source, test_modules};
use super::specification;
use crate::workspace::Workspace;

/// Prints each finding; whether there was none.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let texts = texts(workspace)?;
    let rust = || texts.iter().filter(|(path, _)| path.ends_with(".rs"));
    let test_modules: BTreeSet<String> = rust().flat_map(|(path, text)| test_modules(path, text)).collect();
    let (mut long, mut wrong) = (0, 0);
    for (path, text) in &texts {
        let mut findings = rules::of_text(path, text);
        if path.ends_with(".rs") {
            let source = Source::new(path, text, &test_modules);
            findings.extend(rules::of_rust(&source));
            long += usize::from(source.lines.len() > GOOD_LINES);
        }
        if path == specification::PAGE {
            findings.extend(specification::findings(text, &texts));
        }
        for finding in &findings {
            println!("tidy: {path}:{}: {}", finding.line, finding.what);
        }
        wrong += findings.len();
    }
    println!("tidy: {} files, {long} longer than {GOOD_LINES} lines, {wrong} findings", texts.len());
    Ok(wrong == 0)
}

/// All files that are text, by path. What isn't (a picture, a tar archive for tests) has no style.
fn texts(workspace: &Workspace) -> Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for path in workspace.files()? {
        let full = workspace.root.join(&path);
        let bytes = std::fs::read(&full).with_context(|| format!("read {}", full.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            texts.push((path.to_string_lossy().into_owned(), text));
        }
    }
    Ok(texts)
}
