//! Reference pages that the program writes itself, so that they can't lie: written into docs/, or compared with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{bench, command, conformance};

/// Writes the pages into docs/.
pub(crate) fn write(workspace: &Workspace) -> Result<bool> {
    let docs = workspace.root.join("docs");
    let pages = pages(workspace)?;
    for (name, content) in &pages {
        let path = docs.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
    }
    for path in superfluous(workspace, &pages)? {
        std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        println!("gen: removed {}", path.display());
    }
    println!("gen: {} pages written", pages.len());
    Ok(true)
}

/// Prints each page of docs/ that isn't what the program would write; whether there is none.
pub(crate) fn check(workspace: &Workspace) -> Result<bool> {
    let mut stale = Vec::new();
    let pages = pages(workspace)?;
    for (name, content) in &pages {
        let there = std::fs::read(workspace.root.join("docs").join(name)).ok();
        if there.as_ref() != Some(content) {
            stale.push(name);
        }
    }
    for name in &stale {
        println!("gen: docs/{} is out of date: run `cargo xtask gen`", name.display());
    }
    let superfluous = superfluous(workspace, &pages)?;
    for path in &superfluous {
        println!("gen: {} is generated no more: run `cargo xtask gen`", path.display());
    }
    println!("gen: {} pages, {} out of date", pages.len(), stale.len() + superfluous.len());
    Ok(stale.is_empty() && superfluous.is_empty())
}

/// Manual pages of verbs that are gone: that folder holds nothing else.
fn superfluous(workspace: &Workspace, pages: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Vec<PathBuf>> {
    let docs = workspace.root.join("docs");
    let mut there = BTreeMap::new();
    if docs.join("man").is_dir() {
        collect(&docs, &docs.join("man"), &mut there)?;
    }
    Ok(there.into_keys().filter(|name| !pages.contains_key(name)).map(|name| docs.join(name)).collect())
}

/// All generated pages by their path in docs/.
fn pages(workspace: &Workspace) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let build = ["build", "--quiet", "--locked", "--package", "agentkernel-cli"];
    if !command::succeeds(&mut workspace.cargo(&build))? {
        bail!("`cargo build` failed");
    }
    let folder = workspace.scratch("generated")?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let program = workspace.binaries("debug").join("agentkernel");
    let mut write = workspace.command(&program.to_string_lossy());
    write.args(["internal-docs", "--output"]).arg(&folder);
    command::output(&mut write)?;

    let mut pages = BTreeMap::new();
    collect(&folder, &folder, &mut pages)?;
    if let Some(table) = bench::table(workspace)? {
        pages.insert(PathBuf::from("benchmarks.md"), table.into_bytes());
    }
    if let Some(table) = conformance::table(workspace)? {
        pages.insert(PathBuf::from("capabilities.md"), table.into_bytes());
    }
    Ok(pages)
}

fn collect(root: &Path, folder: &Path, pages: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, pages)?;
        } else {
            let content = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            pages.insert(path.strip_prefix(root)?.to_path_buf(), content);
        }
    }
    Ok(())
}
