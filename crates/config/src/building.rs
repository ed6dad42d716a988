//! Whether a Dockerfile is to be built, and which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::file::{BuildSection, FileValues};
use crate::grants::refuse_unnamed_file;
use crate::host_path::{Kind, resolve};
use crate::ledger::Ledger;
use crate::load::Sources;
use crate::{ConfigError, Environment, Origin};

/// A Dockerfile to build before the sandbox is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildSettings {
    /// The Dockerfile; absolute, and there when the settings were made. `None`: the usual names in `context`, or in the
    /// current folder.
    pub dockerfile: Option<PathBuf>,
    /// The folder that is sent; absolute, and there. `None`: the Dockerfile's.
    pub context: Option<PathBuf>,
    /// The stage to build; the last where none is named.
    pub target: Option<String>,
    /// Values of `ARG`.
    pub args: BTreeMap<String, String>,
    /// Whether every step is done again.
    pub no_cache: bool,
}

/// What `--build` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildFlag {
    /// Build what the file or the folder has.
    Found,
    /// Build this, relative to the working directory.
    Dockerfile(PathBuf),
}

/// The flag, else the file's section. An image that is named by a flag or a variable is meant instead of the file's
/// section.
pub(crate) fn decide(
    sources: &Sources<'_>,
    named_image: Option<&Origin>,
    ledger: &mut Ledger,
) -> Result<Option<BuildSettings>, ConfigError> {
    let Sources { environment, overrides, file } = *sources;
    let absent = FileValues::default();
    let section = file.map_or(&absent, |file| &file.config.values).build.as_ref();
    let of_file = file.zip(section);
    if overrides.build.is_none() {
        match (of_file, named_image) {
            (None, _) | (Some(_), Some(Origin::Flag | Origin::Variable { .. })) => {
                return if overrides.no_cache { Err(ConfigError::NothingToBuild) } else { Ok(None) };
            }
            (Some((file, _)), Some(_)) => {
                let location = file.config.location("build");
                return Err(ConfigError::Twice { location, first: "sandbox.image", second: "build" });
            }
            (Some((file, _)), None) => {
                // Docker and Podman build with their own limits and network, not with a sandbox's.
                let what = || "an image that a container engine builds outside of any sandbox".to_owned();
                refuse_unnamed_file(Some(file), &file.origin("build"), "build", what)?;
            }
        }
    }
    let mut build = match of_file {
        Some((file, section)) => of_section(section, file.folder(), environment, &file.origin("build"))?,
        None => BuildSettings::default(),
    };
    if let Some(BuildFlag::Dockerfile(path)) = &overrides.build {
        let path = resolve(path, &environment.cwd, environment, Kind::RegularFile, "--build")?;
        // The file's context belongs to the file's Dockerfile.
        build.context = None;
        build.dockerfile = Some(path);
    }
    build.no_cache |= overrides.no_cache;
    explain(&build, sources, ledger);
    Ok(Some(build))
}

/// Notes what was decided; of `ARG` values only the names, as with variables.
fn explain(build: &BuildSettings, sources: &Sources<'_>, ledger: &mut Ledger) {
    let origin = |key: &'static str, by_flag: bool| match sources.file {
        Some(file) if !by_flag => file.origin(key),
        _ => Origin::Flag,
    };
    let by_flag = matches!(sources.overrides.build, Some(BuildFlag::Dockerfile(_)));
    let shown = build.dockerfile.as_deref().unwrap_or(Path::new("that of the folder"));
    ledger.note("build.dockerfile", shown.display(), origin("build.dockerfile", by_flag));
    if let Some(context) = &build.context {
        ledger.note("build.context", context.display(), origin("build.context", false));
    }
    if let Some(target) = &build.target {
        ledger.note("build.target", target, origin("build.target", false));
    }
    if !build.args.is_empty() {
        let names = build.args.keys().cloned().collect::<Vec<_>>().join(", ");
        ledger.note("build.args", names, origin("build.args", false));
    }
    if build.no_cache {
        ledger.note("build.no_cache", true, origin("build.no_cache", sources.overrides.no_cache));
    }
}

fn of_section(
    section: &BuildSection,
    folder: &Path,
    environment: &Environment,
    origin: &Origin,
) -> Result<BuildSettings, ConfigError> {
    let at = |path: &Option<PathBuf>, kind, what: &str| {
        let what = format!("{origin}: {what}");
        path.as_ref().map(|path| resolve(path, folder, environment, kind, &what)).transpose()
    };
    let dockerfile = at(&section.dockerfile, Kind::RegularFile, "build.dockerfile")?;
    let mut context = at(&section.context, Kind::Anything, "build.context")?;
    if dockerfile.is_none() && context.is_none() {
        context = Some(resolve(folder, folder, environment, Kind::Anything, "folder of the config file")?);
    }
    Ok(BuildSettings {
        dockerfile,
        context,
        target: section.target.clone(),
        args: section.args.clone(),
        no_cache: section.no_cache,
    })
}
