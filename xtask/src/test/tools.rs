//! Programs of other ecosystems that tests speak to the server with: Python packages in a virtual environment, npm
//! packages in a folder; both in the tasks' cache, once for all checkouts. A test whose tool is missing says so and is
//! skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::person::Person;
use super::prepare::{Needed, cache_folder, install_packages};
use crate::command;
use crate::test_bed::Variables;

/// The interpreter that has [`PYTHON_PACKAGES`].
const PYTHON: &str = "AGENTKERNEL_TEST_PYTHON";
/// The folder whose `node_modules/.bin` has the programs of [`NPM_PACKAGES`].
const NPM: &str = "AGENTKERNEL_TEST_NPM";

/// The official MCP client, and a tester that reads the OpenAPI document.
const PYTHON_PACKAGES: &[&str] = &["mcp==1.*", "schemathesis==4.*"];
/// The official MCP inspector.
const NPM_PACKAGES: &[&str] = &["@modelcontextprotocol/inspector@0"];

/// What `python3 -m venv` needs beside the interpreter, on Debian.
const FOR_VENV: Needed = Needed { program: "python3-venv", package: "python3-venv" };

/// The tools that are there.
#[derive(Default)]
pub(crate) struct Tools {
    python: Option<PathBuf>,
    npm: Option<PathBuf>,
}

impl Tools {
    /// Finds them; installs what is missing unless this run must be `quick`.
    pub(crate) fn ensure(quick: bool) -> Result<Self> {
        let cache = cache_folder()?;
        let python = Installation { folder: cache.join("python"), packages: PYTHON_PACKAGES };
        let npm = Installation { folder: cache.join("npm"), packages: NPM_PACKAGES };
        Ok(Self { python: python.ensure(quick, install_python)?, npm: npm.ensure(quick, install_npm)? })
    }

    /// What tests find them by.
    pub(crate) fn variables(&self) -> Variables {
        let python = self.python.iter().map(|folder| (PYTHON, folder.join("bin/python")));
        let npm = self.npm.iter().map(|folder| (NPM, folder.clone()));
        python.chain(npm).map(|(name, path)| (name.to_owned(), path.display().to_string())).collect()
    }

    /// The same where `person`, who may not enter our cache, can use them.
    pub(crate) fn given_to(&self, person: &Person) -> Result<Self> {
        let give =
            |folder: &Option<PathBuf>| folder.as_deref().map(|folder| person.give_folder(folder)).transpose();
        // The environment only points to an interpreter, which may be in a home that nobody else may enter.
        let python = self.python.as_ref().filter(|folder| is_open_to_all(&folder.join("bin/python")));
        Ok(Self { python: give(&python.cloned())?, npm: give(&self.npm)? })
    }
}

/// Whether every folder on the way to what `path` leads to may be entered by anybody.
pub(super) fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(real) = path.canonicalize() else { return false };
    real.ancestors().all(|part| part.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0))
}

/// Packages in a folder, with a list of them that is written last.
struct Installation {
    folder: PathBuf,
    packages: &'static [&'static str],
}

impl Installation {
    fn ensure(&self, quick: bool, install: fn(&Path, &[&str]) -> Result<bool>) -> Result<Option<PathBuf>> {
        let list = self.folder.join("packages.txt");
        let wanted = self.packages.join("\n");
        if std::fs::read_to_string(&list).is_ok_and(|there| there == wanted) {
            return Ok(Some(self.folder.clone()));
        }
        if quick {
            println!("prepare: --quick installs nothing: without {}", self.packages.join(", "));
            return Ok(None);
        }
        println!("prepare: {} (once, into {})", self.packages.join(", "), self.folder.display());
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)
                .with_context(|| format!("remove {}", self.folder.display()))?;
        }
        std::fs::create_dir_all(&self.folder).with_context(|| format!("create {}", self.folder.display()))?;
        if !install(&self.folder, self.packages)? {
            println!("prepare: that failed; what needs them will be skipped");
            return Ok(None);
        }
        std::fs::write(&list, wanted).with_context(|| format!("write {}", list.display()))?;
        Ok(Some(self.folder.clone()))
    }
}

fn install_python(folder: &Path, packages: &[&str]) -> Result<bool> {
    let Some(python) = command::find("python3") else { return Ok(false) };
    let venv = || {
        let mut venv = Command::new(&python);
        venv.args(["-m", "venv", "--clear"]).arg(folder);
        venv
    };
    // Debian has the module in a package of its own.
    if command::output(&mut venv()).is_err() {
        install_packages(&[FOR_VENV])?;
        if !command::succeeds(&mut venv())? {
            return Ok(false);
        }
    }
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]).args(packages);
    command::succeeds(&mut pip)
}

fn install_npm(folder: &Path, packages: &[&str]) -> Result<bool> {
    let Some(npm) = command::find("npm") else {
        println!("prepare: npm is not installed");
        return Ok(false);
    };
    let mut install = Command::new(npm);
    install.args(["install", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix"]).arg(folder);
    command::succeeds(install.args(packages).current_dir(folder))
}
