//! The catalogue against the caller's home, variables and PATH.

use std::path::{Component, Path, PathBuf};

use agentkernel_config::Environment;
use agentkernel_model::{Access, BoxPath, ByteString, EnvVar, Mount};

use super::catalogue::{LOCAL_PROGRAMS, POINTERS, TOOLS, Tool};
use super::pattern::matches;

/// Most entries of `~/.local/bin` that are looked at.
const LOCAL_BIN_LIMIT_ENTRIES: usize = 2_000;

/// Folders of the machine that image `host` shows; a PATH folder in them (`/usr/local/go/bin`) is kept.
const SYSTEM: [&str; 2] = ["/usr", "/opt"];

/// What every sandbox has in its PATH anyway.
const STANDARD_PATH: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// What a sandbox is given of the caller's tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toolchains {
    /// Read-only, in the order they are mounted.
    pub mounts: Vec<Mount>,
    /// Folders to put before the sandbox's own PATH, in the caller's order: those of tools, and those of the system
    /// that aren't in every PATH.
    pub path: Vec<PathBuf>,
    /// Variables by which tools find themselves.
    pub env: Vec<EnvVar>,
    /// The names of the tools that were found, each once.
    pub found: Vec<&'static str>,
    /// What was not shown and why, one line each, for people.
    pub left_out: Vec<String>,
}

/// Finds the tools below the caller's home. Looks at names and symlinks; reads no file and runs nothing.
pub fn find_toolchains(environment: &Environment) -> Toolchains {
    let Some(home) = &environment.home else { return Toolchains::default() };
    let mut search = Search { environment, home, tools: Toolchains::default(), links: Vec::new() };
    for tool in TOOLS {
        search.show(tool);
    }
    search.show_links();
    search.show_local_programs();
    search.collect_variables();
    search.collect_path();
    search.tools
}

struct Search<'a> {
    environment: &'a Environment,
    home: &'a Path,
    tools: Toolchains,
    /// Matches that lead elsewhere: the path, what it resolves to, and the tool.
    links: Vec<(PathBuf, PathBuf, &'static str)>,
}

impl Search<'_> {
    /// The tool's folder: where its variable says, else below the home.
    fn root(&self, tool: &Tool) -> PathBuf {
        let moved = tool.variable.and_then(|name| self.environment.var(name)).map(PathBuf::from);
        moved.filter(|root| root.is_absolute()).unwrap_or_else(|| self.home.join(tool.home))
    }

    fn show(&mut self, tool: &Tool) {
        let root = self.root(tool);
        let Some(genuine_root) = self.genuine_root(tool, &root) else { return };
        let mut is_found = false;
        for path in tool.shown.iter().flat_map(|pattern| matches(&root, pattern)) {
            let Ok(resolved) = path.canonicalize() else { continue };
            let below = path.strip_prefix(&root).unwrap_or(&path);
            if resolved == genuine_root.join(below) {
                is_found |= self.mount(resolved, &path);
            } else {
                self.links.push((path, resolved, tool.name));
            }
        }
        if is_found {
            self.name(tool.name);
            if let (true, Some(variable)) = (tool.announce, tool.variable) {
                self.tools
                    .env
                    .push(EnvVar { name: variable.into(), value: ByteString::from(root.into_os_string()) });
            }
        }
    }

    /// The tool's folder without symlinks. A folder below the home that leads elsewhere is left out: only its user can
    /// say, with the tool's variable, that it is meant.
    fn genuine_root(&mut self, tool: &Tool, root: &Path) -> Option<PathBuf> {
        let resolved = root.canonicalize().ok()?;
        let by_variable = root != self.home.join(tool.home);
        let expected = self.home.canonicalize().ok()?.join(tool.home);
        if by_variable || resolved == expected {
            return Some(resolved);
        }
        let remedy = tool.variable.map_or(String::new(), |name| format!("; set {name} if it is meant"));
        let (from, to) = (root.display(), resolved.display());
        self.tools
            .left_out
            .push(format!("{}: {from} leads to {to}, outside of its place{remedy}", tool.name));
        None
    }

    /// Matches that are symlinks: shown where they lead to what is shown anyway (`current` of sdkman, `lib64`).
    fn show_links(&mut self) {
        for (path, resolved, tool) in std::mem::take(&mut self.links) {
            if self.is_shown(&resolved) {
                self.mount(resolved, &path);
            } else {
                let (from, to) = (path.display(), resolved.display());
                self.tools.left_out.push(format!("{tool}: {from} leads to {to}, which is no tool folder"));
            }
        }
    }

    /// Single programs of `~/.local/bin`: the known ones, and links to programs in what is shown.
    fn show_local_programs(&mut self) {
        let dir = self.home.join(".local/bin");
        let Ok(genuine) = self.home.canonicalize().map(|home| home.join(".local/bin")) else { return };
        if dir.canonicalize().ok().as_ref() != Some(&genuine) {
            return;
        }
        let entries = std::fs::read_dir(&dir).into_iter().flatten().take(LOCAL_BIN_LIMIT_ENTRIES);
        let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        names.sort();
        for name in names {
            let path = dir.join(&name);
            let Ok(resolved) = path.canonicalize() else { continue };
            let is_known = name.to_str().is_some_and(|name| LOCAL_PROGRAMS.contains(&name));
            let is_itself = is_known && resolved == genuine.join(&name);
            if resolved.is_file() && (is_itself || self.is_shown(&resolved)) && self.mount(resolved, &path) {
                self.name("~/.local/bin");
            }
        }
    }

    fn collect_variables(&mut self) {
        for name in POINTERS {
            let Some(value) = self.environment.var(name) else { continue };
            let leads_to_shown = |mount: &Mount| mount.target.as_path().starts_with(value);
            let is_set = self.tools.env.iter().any(|var| var.name.as_bytes() == name.as_bytes());
            if !value.is_empty() && !is_set && self.tools.mounts.iter().any(leads_to_shown) {
                let value = ByteString::from(value.to_owned());
                self.tools.env.push(EnvVar { name: (*name).into(), value });
            }
        }
    }

    /// The caller's PATH folders that the sandbox sees, or the folders they lead to where it sees those instead.
    fn collect_path(&mut self) {
        for dir in self.environment.path_dirs() {
            let is_target = |mount: &Mount| {
                let target = mount.target.as_path();
                dir.starts_with(target) || target.parent() == Some(&dir)
            };
            let is_shown = self.tools.mounts.iter().any(is_target) || is_of_the_system(&dir);
            let shown = if is_shown { Some(dir) } else { self.shown_elsewhere(&dir) };
            if let Some(dir) = shown.filter(|dir| !self.tools.path.contains(dir)) {
                self.tools.path.push(dir);
            }
        }
    }

    /// Where the sandbox sees what `dir` leads to.
    fn shown_elsewhere(&self, dir: &Path) -> Option<PathBuf> {
        let resolved = dir.canonicalize().ok()?;
        self.tools.mounts.iter().find_map(|mount| {
            let below = resolved.strip_prefix(&mount.source).ok()?;
            Some(mount.target.as_path().join(below).components().collect())
        })
    }

    /// Whether `path` (without symlinks) is in something that is mounted already.
    fn is_shown(&self, path: &Path) -> bool {
        self.tools.mounts.iter().any(|mount| path.starts_with(&mount.source))
    }

    /// Adds a mount, unless one is there already or the place can't be named in a sandbox.
    fn mount(&mut self, source: PathBuf, target: &Path) -> bool {
        let Ok(target) = BoxPath::new(target) else {
            self.tools.left_out.push(format!("{}: not a path that a sandbox can have", target.display()));
            return false;
        };
        if !self.tools.mounts.iter().any(|mount| mount.target == target) {
            self.tools.mounts.push(Mount { source, target, access: Access::ReadOnly });
        }
        true
    }

    fn name(&mut self, name: &'static str) {
        if !self.tools.found.contains(&name) {
            self.tools.found.push(name);
        }
    }
}

/// Whether image `host` shows `dir`, and it isn't in every PATH.
fn is_of_the_system(dir: &Path) -> bool {
    let climbs = dir.components().any(|part| part == Component::ParentDir);
    let is_system = SYSTEM.iter().any(|system| dir.starts_with(system) && dir != Path::new(system));
    is_system && !climbs && !STANDARD_PATH.iter().any(|standard| dir == Path::new(standard))
}
