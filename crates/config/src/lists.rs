//! Settings that add up over the sources: environment, mounts, ports, files, labels.

use std::collections::BTreeMap;
use std::path::Path;

use agentkernel_model::{BoxPath, EnvVar, Grants, Mount, PublishedPort};

use crate::file::EnvValue;
use crate::grants::refuse_unnamed_file;
use crate::host_path::{Kind, resolve};
use crate::ledger::Ledger;
use crate::load::Sources;
use crate::overrides::is_env_name;
use crate::source::FileSource;
use crate::{ConfigError, FileEntry, Origin, passed_variables};

/// The environment: what the grants pass, then the file's, then the flags'; a later one replaces an earlier.
pub(crate) fn environment(
    sources: &Sources<'_>,
    grants: &Grants,
    ledger: &mut Ledger,
) -> Result<Vec<EnvVar>, ConfigError> {
    let mut merged: Vec<(EnvVar, Option<Origin>)> = Vec::new();
    let mut set = |var: EnvVar, origin| {
        merged.retain(|(known, _)| known.name != var.name);
        merged.push((var, origin));
    };
    for var in passed_variables(&grants.pass_env, sources.environment) {
        set(var, None);
    }
    if let Some(file) = sources.file {
        let values = &file.config.values;
        if let Some(name) = values.env.keys().find(|name| values.sandbox.env.contains_key(*name)) {
            let location = file.config.location(&format!("sandbox.env.{name}"));
            return Err(ConfigError::Twice { location, first: "env", second: "sandbox.env" });
        }
        for (section, vars) in [("sandbox.env", &values.sandbox.env), ("env", &values.env)] {
            for (name, value) in vars {
                set(
                    env_of_file(file, section, name, value)?,
                    Some(file.origin(&format!("{section}.{name}"))),
                );
            }
        }
    }
    for flag in &sources.overrides.env {
        set(flag.resolve(sources.environment)?, Some(Origin::Flag));
    }
    for (var, origin) in &merged {
        // What pass_env lets through is named there.
        if let Some(origin) = origin {
            ledger.note("env", var.name.to_lossy(), origin.clone());
        }
    }
    Ok(merged.into_iter().map(|(var, _)| var).collect())
}

fn env_of_file(
    file: FileSource<'_>,
    section: &str,
    name: &str,
    value: &EnvValue,
) -> Result<EnvVar, ConfigError> {
    if !is_env_name(name.as_bytes()) {
        let key = format!("{section}.{name}");
        let location = file.config.location(&key);
        let message = "a variable's name can't be empty or hold '=' or NUL".to_owned();
        return Err(ConfigError::Invalid { location, key: Some(section.to_owned()), message });
    }
    Ok(EnvVar { name: name.into(), value: value.0.as_str().into() })
}

/// Mounts: the file's, then the flags'; a flag's replaces the file's at the same place.
pub(crate) fn mounts(sources: &Sources<'_>, ledger: &mut Ledger) -> Result<Vec<Mount>, ConfigError> {
    let mut of_file = Vec::new();
    for (index, mount) in sources.file.iter().flat_map(|file| file.config.values.mounts.iter().enumerate()) {
        let Some(file) = sources.file else { break };
        let origin = file.origin(&format!("mounts.{index}"));
        let what = format!("{origin}: mount source");
        let mount = resolved(sources, &mount.0, file.folder(), &what)?;
        if !mount.source.starts_with(canonical_folder(file, sources)?) {
            refuse_unnamed_file(Some(file), &origin, "mounts", || mount.source.display().to_string())?;
        }
        of_file.push((mount, origin));
    }
    let mut of_flags = Vec::new();
    for mount in &sources.overrides.mounts {
        of_flags.push((resolved(sources, mount, &sources.environment.cwd, "mount source")?, Origin::Flag));
    }
    refuse_same_target(&of_file)?;
    refuse_same_target(&of_flags)?;
    of_file.retain(|(mount, _)| !of_flags.iter().any(|(flag, _)| flag.target == mount.target));
    of_file.extend(of_flags);
    for (mount, origin) in &of_file {
        let access = match mount.access {
            agentkernel_model::Access::ReadOnly => "ro",
            agentkernel_model::Access::ReadWrite => "rw",
        };
        ledger.note(
            "mounts",
            format_args!("{}:{}:{access}", mount.source.display(), mount.target),
            origin.clone(),
        );
    }
    Ok(of_file.into_iter().map(|(mount, _)| mount).collect())
}

fn resolved(sources: &Sources<'_>, mount: &Mount, base: &Path, what: &str) -> Result<Mount, ConfigError> {
    let source = resolve(&mount.source, base, sources.environment, Kind::Anything, what)?;
    if mount.target.as_path() == Path::new("/") {
        let why = "it can't be mounted over the sandbox's root: name a folder such as /workspace".to_owned();
        return Err(ConfigError::HostPath { what: what.to_owned(), path: source, why });
    }
    Ok(Mount { source, ..mount.clone() })
}

fn refuse_same_target(mounts: &[(Mount, Origin)]) -> Result<(), ConfigError> {
    let mut seen: Vec<&BoxPath> = Vec::new();
    for (mount, _) in mounts {
        if seen.contains(&&mount.target) {
            return Err(ConfigError::SameTarget { target: mount.target.clone() });
        }
        seen.push(&mount.target);
    }
    Ok(())
}

/// The folder of the file without symlinks: the project that an unnamed file may speak for.
fn canonical_folder(file: FileSource<'_>, sources: &Sources<'_>) -> Result<std::path::PathBuf, ConfigError> {
    resolve(
        file.folder(),
        &sources.environment.cwd,
        sources.environment,
        Kind::Anything,
        "folder of the config file",
    )
}

/// Files to copy in.
pub(crate) fn files(sources: &Sources<'_>, ledger: &mut Ledger) -> Result<Vec<FileEntry>, ConfigError> {
    let mut entries = Vec::new();
    let Some(file) = sources.file else { return Ok(entries) };
    for (index, entry) in file.config.values.files.iter().enumerate() {
        let origin = file.origin(&format!("files.{index}"));
        let what = format!("{origin}: file source");
        let source = resolve(&entry.source, file.folder(), sources.environment, Kind::RegularFile, &what)?;
        if !source.starts_with(canonical_folder(file, sources)?) {
            refuse_unnamed_file(Some(file), &origin, "files", || source.display().to_string())?;
        }
        let mode = entry.mode.0;
        ledger.note("files", format_args!("{} -> {} ({mode:04o})", source.display(), entry.dest), origin);
        entries.push(FileEntry { source, dest: entry.dest.clone(), mode });
    }
    Ok(entries)
}

/// Ports: the file's and the flags', each once.
pub(crate) fn ports(sources: &Sources<'_>, ledger: &mut Ledger) -> Vec<PublishedPort> {
    let mut merged: Vec<PublishedPort> = Vec::new();
    let of_file = sources.file.into_iter().flat_map(|file| {
        let ports = file.config.values.network.ports.iter().enumerate();
        ports.map(move |(index, port)| (port.0, file.origin(&format!("network.ports.{index}"))))
    });
    let of_flags = sources.overrides.ports.iter().map(|port| (*port, Origin::Flag));
    for (port, origin) in of_file.chain(of_flags) {
        if !merged.contains(&port) {
            ledger.note("network.ports", port, origin);
            merged.push(port);
        }
    }
    merged
}

/// Labels: the file's, then the flags'; a flag's replaces the file's of the same key.
pub(crate) fn labels(sources: &Sources<'_>, ledger: &mut Ledger) -> BTreeMap<String, String> {
    let mut merged: BTreeMap<String, (String, Origin)> = BTreeMap::new();
    if let Some(file) = sources.file {
        for (key, value) in &file.config.values.sandbox.labels {
            let origin = file.origin(&format!("sandbox.labels.{key}"));
            merged.insert(key.clone(), (value.clone(), origin));
        }
    }
    for (key, value) in &sources.overrides.labels {
        merged.insert(key.clone(), (value.clone(), Origin::Flag));
    }
    for (key, (value, origin)) in &merged {
        ledger.note("sandbox.labels", format_args!("{key}={value}"), origin.clone());
    }
    merged.into_iter().map(|(key, (value, _))| (key, value)).collect()
}
