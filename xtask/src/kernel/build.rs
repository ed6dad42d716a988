//! A kernel in the cache: found, or built by images/kernel/build.sh.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::arguments::Architecture;
use super::package::{Package, remove};
use super::source;
use crate::command;
use crate::test::{Needed, cache_folder, install_packages};
use crate::workspace::Workspace;

/// What the kernel's own build calls.
const FOR_BUILD: &[Needed] = &[
    Needed { program: "make", package: "make" },
    Needed { program: "gcc", package: "gcc" },
    Needed { program: "flex", package: "flex" },
    Needed { program: "bison", package: "bison" },
    Needed { program: "bc", package: "bc" },
    Needed { program: "xz", package: "xz-utils" },
];

/// A header for a tool that the build makes; no program tells whether it is there.
const LIBELF: &str = "/usr/include/libelf.h";
const FOR_LIBELF: Needed = Needed { program: "libelf.h", package: "libelf-dev" };

/// What there is for an architecture.
pub(crate) enum Built {
    /// The kernel.
    Kernel(PathBuf),
    /// No compiler for it is here: the configuration, which was checked against the source.
    ConfigurationOnly(PathBuf),
}

/// The kernel, where it was built before from the present configuration.
pub(crate) fn cached(workspace: &Workspace, architecture: Architecture) -> Result<Option<PathBuf>> {
    let Some(source) = source::cached()? else { return Ok(None) };
    let kernel = Recipe::read(workspace, architecture, &source)?.folder()?.join(architecture.image());
    Ok(kernel.is_file().then_some(kernel))
}

/// The same, built now where it is missing. About ten minutes of a processor, once.
pub(crate) fn ensure(workspace: &Workspace, architecture: Architecture) -> Result<Built> {
    if let Some(kernel) = cached(workspace, architecture)? {
        return Ok(Built::Kernel(kernel));
    }
    let all = cache_folder()?.join("kernel");
    std::fs::create_dir_all(&all).with_context(|| format!("create {}", all.display()))?;
    let lock = File::create(all.join("lock")).context("create the lock of the kernels' cache")?;
    lock.lock().context("wait for another build of a kernel")?;
    // The one that we waited for may have been ours.
    if let Some(kernel) = cached(workspace, architecture)? {
        return Ok(Built::Kernel(kernel));
    }
    install_for_build()?;
    let source = source::ensure()?;
    let recipe = Recipe::read(workspace, architecture, &source)?;
    let scratch = all.join("building");
    // What a build that was killed left.
    remove(&scratch)?;
    std::fs::create_dir(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    let built = recipe.build(&source, &scratch);
    remove(&scratch)?;
    built
}

/// Installs the packages that a build calls.
pub(crate) fn install_for_build() -> Result<()> {
    install_packages(FOR_BUILD)?;
    if !Path::new(LIBELF).exists() {
        install_packages(&[FOR_LIBELF])?;
    }
    Ok(())
}

/// What decides how a kernel turns out.
struct Recipe {
    architecture: Architecture,
    script: PathBuf,
    key: String,
}

impl Recipe {
    fn read(workspace: &Workspace, architecture: Architecture, source: &Package) -> Result<Self> {
        let folder = workspace.root.join("images/kernel");
        let mut hasher = DefaultHasher::new();
        (architecture, &source.version).hash(&mut hasher);
        for name in ["build.sh", "common.config", &format!("{}.config", architecture.name())] {
            let file = folder.join(name);
            let text = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            text.hash(&mut hasher);
        }
        let key = format!("{:016x}", hasher.finish());
        Ok(Self { architecture, script: folder.join("build.sh"), key })
    }

    fn folder(&self) -> Result<PathBuf> {
        Ok(cache_folder()?.join("kernel").join(&self.key))
    }

    fn build(&self, source: &Package, scratch: &Path) -> Result<Built> {
        let begun = Instant::now();
        let tree = source::unpack(source, scratch)?;
        let output = scratch.join("output");
        let compiler = self.compiler();
        eprintln!("kernel: building {} for {}, at low priority", source.version, self.architecture.name());
        let mut build = Command::new("nice");
        build.args(["-n", "10"]).arg(&self.script).arg(&tree).arg(&output).arg(self.architecture.name());
        match &compiler {
            Compiler::Native => {}
            Compiler::Cross(prefix) => {
                build.env("CROSS_COMPILE", prefix);
            }
            Compiler::Missing => {
                build.env("CONFIGURE_ONLY", "1");
            }
        }
        // Its chatter is no part of our answer, which is a path on standard output.
        build.stdout(std::io::stderr());
        if !command::succeeds(&mut build)? {
            bail!("{} failed", command::shown(&build));
        }
        eprintln!("kernel: done in {} s", begun.elapsed().as_secs());
        self.keep(&output, !matches!(compiler, Compiler::Missing))
    }

    /// Moves what was made into the cache, the kernel last: it is what tells that all is there.
    fn keep(&self, output: &Path, with_kernel: bool) -> Result<Built> {
        let folder = self.folder()?;
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let keep = |name: &str| {
            let to = folder.join(name);
            std::fs::rename(output.join(name), &to)
                .with_context(|| format!("keep {}", to.display()))
                .map(|()| to)
        };
        let configuration = keep("config")?;
        if with_kernel {
            Ok(Built::Kernel(keep(self.architecture.image())?))
        } else {
            Ok(Built::ConfigurationOnly(configuration))
        }
    }

    fn compiler(&self) -> Compiler {
        if Architecture::here().is_ok_and(|here| here == self.architecture) {
            return Compiler::Native;
        }
        let prefix = format!("{}-linux-gnu-", self.architecture.name());
        match command::find(&format!("{prefix}gcc")) {
            Some(_) => Compiler::Cross(prefix),
            None => Compiler::Missing,
        }
    }
}

/// What builds for an architecture here.
enum Compiler {
    Native,
    /// What stands before `gcc` in the names of its tools.
    Cross(String),
    Missing,
}
