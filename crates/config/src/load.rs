//! Flags over variables over the file over profile and defaults.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use agentkernel_model::{ImageRef, OpenFiles, Pids, Profile, Resources};

use crate::file::{FileValues, ResourcesSection, SandboxSection};
use crate::ledger::Ledger;
use crate::source::{FileSource, Offers, Sourced, one_of};
use crate::variables::{self as var, flag, lookup, refuse_unknown, typed};
use crate::{
    AgentName, ConfigError, Environment, FileConfig, Origin, Overrides, Runtime, Settings, api, building,
    grants, lists, outside, parse, pool, state_dir,
};

/// The file that is read where none is named.
const FOUND_FILE: &str = "agentkernel.toml";

/// Longest file that is read.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// All sources at once.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) overrides: &'a Overrides,
    pub(crate) file: Option<FileSource<'a>>,
}

/// Merges all sources into settings. The file is `explicit_config`, else that of `AGENTKERNEL_CONFIG`, else
/// `agentkernel.toml` of the working directory where there is one. Nothing is changed on disk.
pub fn load(
    environment: &Environment,
    explicit_config: Option<&Path>,
    overrides: Overrides,
) -> Result<Settings, ConfigError> {
    refuse_unknown(environment)?;
    let by_variable = || {
        lookup(environment, var::CONFIG).map(|path| (Path::new(path), Origin::Variable { name: var::CONFIG }))
    };
    let (config, origin) = match explicit_config.map(|path| (path, Origin::Flag)).or_else(by_variable) {
        Some((path, origin)) => (Some(read(&environment.absolute(path))?), origin),
        None => (read_found(&environment.absolute(Path::new(FOUND_FILE)))?, Origin::Default),
    };
    let file = config.as_ref().map(|config| FileSource { config, named: origin != Origin::Default });
    let mut ledger = Ledger::default();
    let shown = file.map_or("none".to_owned(), |file| file.config.path().display().to_string());
    ledger.note("config_file", shown, origin);
    merge(&Sources { environment, overrides: &overrides, file }, ledger)
}

/// Reads the file that the user named.
fn read(path: &Path) -> Result<FileConfig, ConfigError> {
    let file = std::fs::File::open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
        _ => ConfigError::Read { path: path.to_owned(), source },
    })?;
    parse_bounded(file, path)
}

/// Reads the file that was only found, if there is one. It may be a stranger's: a pipe in its place must not hang us.
fn read_found(path: &Path) -> Result<Option<FileConfig>, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(ConfigError::Unusable { path: path.to_owned(), why: "it is not a regular file" });
    }
    parse_bounded(file, path).map(Some)
}

fn parse_bounded(file: std::fs::File, path: &Path) -> Result<FileConfig, ConfigError> {
    let mut bytes = Vec::new();
    let read = file.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > FILE_LIMIT_BYTES {
        return Err(ConfigError::Unusable { path: path.to_owned(), why: "it is longer than 1 MiB" });
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| ConfigError::Unusable { path: path.to_owned(), why: "it is not UTF-8 text" })?;
    parse(&text, path)
}

/// Decides everything, in the order that `doctor` shows.
fn merge(sources: &Sources<'_>, mut ledger: Ledger) -> Result<Settings, ConfigError> {
    let Sources { environment, overrides, file } = *sources;
    let absent = FileValues::default();
    let values = file.map_or(&absent, |file| &file.config.values);
    let sandbox = &values.sandbox;

    let state_dir = state_dir::find(environment, overrides.state_dir.as_deref())?;
    ledger.note("state_dir", state_dir.value.display(), state_dir.origin);

    let offers = Offers::flag(overrides.name.clone()).file(file, "sandbox.name", sandbox.name.clone());
    let name = ledger.decide_optional("sandbox.name", offers, "none");
    let offers = Offers::flag(overrides.backend.clone())
        .variable(var::BACKEND, typed(environment, var::BACKEND)?)
        .file(file, "sandbox.backend", sandbox.backend.clone());
    let backend = ledger.decide_optional("sandbox.backend", offers, "automatic");
    let (image, runtime) = image_and_runtime(sources, sandbox, &mut ledger)?;
    let build = building::decide(sources, image.as_ref().map(|image| &image.origin), &mut ledger)?;
    // `--build` is meant instead of an image that a variable or the file names.
    let image = image.map(|image| image.value).filter(|_| build.is_none());
    let offers =
        Offers::flag(overrides.workdir.clone()).file(file, "sandbox.workdir", sandbox.workdir.clone());
    let workdir = ledger.decide_optional("sandbox.workdir", offers, "/workspace, or the image's");
    let offers = Offers::flag(overrides.user.clone()).file(file, "sandbox.user", sandbox.user.clone());
    let user = ledger.decide_optional("sandbox.user", offers, "root, or the image's");
    let offers = Offers::flag(overrides.agent)
        .variable(var::AGENT, typed::<AgentName>(environment, var::AGENT)?)
        .file(file, "agent.preferred", values.agent.preferred);
    let agent = ledger.decide_optional("agent.preferred", offers, "none");

    let grants::DecidedGrants { profile, grants } = grants::decide(sources, &mut ledger)?;
    let toolchains = switch(
        sources,
        &mut ledger,
        "security.toolchains",
        overrides.toolchains,
        var::TOOLCHAINS,
        values.security.toolchains,
    )?;
    let allow_unlimited = switch(
        sources,
        &mut ledger,
        "security.allow_unlimited",
        overrides.allow_unlimited,
        var::ALLOW_UNLIMITED,
        values.security.allow_unlimited,
    )?;
    if allow_unlimited.value {
        let what = || "the machine without the limits that can't be enforced".to_owned();
        grants::refuse_unnamed_file(file, &allow_unlimited.origin, "security.allow_unlimited", what)?;
    }
    let resources = resources(sources, profile, &values.resources, &mut ledger)?;
    let env = lists::environment(sources, &grants, &mut ledger)?;
    let mounts = lists::mounts(sources, &mut ledger)?;
    let ports = lists::ports(sources, &mut ledger);
    let files = lists::files(sources, &mut ledger)?;
    let labels = lists::labels(sources, &mut ledger);
    let outside = outside::decide(sources, &mut ledger)?;
    let api = api::decide(sources, &mut ledger)?;
    let pool = pool::decide(sources, &mut ledger);
    let most = values.snapshots.max_size.map(|size| size.0);
    let offers = Offers::flag(None).file(file, "snapshots.max_size", most);
    let max_snapshots_size = ledger.decide_optional("snapshots.max_size", offers, "unlimited");

    Ok(Settings {
        state_dir: state_dir.value,
        backend,
        name,
        image,
        runtime,
        build,
        outside,
        agent: agent.map(|agent| agent.to_string()),
        profile,
        grants,
        resources,
        allow_unlimited: allow_unlimited.value,
        env,
        mounts,
        ports,
        files,
        workdir,
        user,
        labels,
        api,
        pool,
        max_snapshots_size,
        toolchains: toolchains.value,
        config_file: file.map(|file| file.config.path().to_owned()),
        effective: ledger.into_entries(),
    })
}

/// A setting that is off unless a source says otherwise.
fn switch(
    sources: &Sources<'_>,
    ledger: &mut Ledger,
    key: &'static str,
    of_flag: Option<bool>,
    variable: &'static str,
    of_file: Option<bool>,
) -> Result<Sourced<bool>, ConfigError> {
    let offers = Offers::flag(of_flag).variable(variable, flag(sources.environment, variable)?).file(
        sources.file,
        key,
        of_file,
    );
    Ok(ledger.decide(key, offers, Sourced { value: false, origin: Origin::Default }))
}

/// `image` under all its names; `rootfs` may name a run-time instead.
fn image_and_runtime(
    sources: &Sources<'_>,
    sandbox: &SandboxSection,
    ledger: &mut Ledger,
) -> Result<(Option<Sourced<ImageRef>>, Option<Runtime>), ConfigError> {
    let Sources { environment, overrides, file } = *sources;
    let (rootfs_image, rootfs_runtime) = match (&sandbox.rootfs, file) {
        (Some(rootfs), Some(file)) => rootfs_meaning(rootfs, file)?,
        _ => (None, None),
    };
    let image = one_of(
        file,
        [
            ("sandbox.image", sandbox.image.clone()),
            ("sandbox.base_image", sandbox.base_image.clone()),
            ("sandbox.rootfs", rootfs_image),
        ],
    )?;
    let runtime = one_of(file, [("sandbox.runtime", sandbox.runtime), ("sandbox.rootfs", rootfs_runtime)])?;
    let (image_key, image) = image.map_or(("sandbox.image", None), |(key, image)| (key, Some(image)));
    let (runtime_key, runtime) =
        runtime.map_or(("sandbox.runtime", None), |(key, runtime)| (key, Some(runtime)));
    let offers = Offers::flag(overrides.image.clone())
        .variable(var::IMAGE, typed(environment, var::IMAGE)?)
        .file(file, image_key, image);
    let image = offers.strongest();
    match &image {
        Some(image) => ledger.note("sandbox.image", &image.value, image.origin.clone()),
        None => ledger.note("sandbox.image", "by command and project", Origin::Default),
    }
    let offers = Offers::flag(None).file(file, runtime_key, runtime);
    Ok((image, ledger.decide_optional("sandbox.runtime", offers, "detected")))
}

/// The oldest key: a run-time's name, or an image; a path is refused.
fn rootfs_meaning(
    rootfs: &str,
    file: FileSource<'_>,
) -> Result<(Option<ImageRef>, Option<Runtime>), ConfigError> {
    if let Ok(runtime) = rootfs.parse() {
        return Ok((None, Some(runtime)));
    }
    let key = "sandbox.rootfs".to_owned();
    let location = file.config.location(&key);
    if rootfs.starts_with(['/', '.', '~']) {
        let why = "a path to a root filesystem needs the image store of a later release; name a runtime or an image";
        return Err(ConfigError::RefusedKey { location, key, why });
    }
    match rootfs.parse() {
        Ok(image) => Ok((Some(image), None)),
        Err(error) => Err(ConfigError::Invalid { location, key: Some(key), message: format!("{error}") }),
    }
}

/// The profile's limits, each replaced by the strongest number that the user named.
fn resources(
    sources: &Sources<'_>,
    profile: Profile,
    section: &ResourcesSection,
    ledger: &mut Ledger,
) -> Result<Resources, ConfigError> {
    let Sources { environment, overrides, file } = *sources;
    let row = profile.resources();
    let memory =
        one_of(file, [("resources.memory_mb", section.memory_mb), ("resources.memory", section.memory)])?;
    let cpus = one_of(file, [("resources.vcpus", section.vcpus), ("resources.cpus", section.cpus)])?;

    let (key, value) = memory.map_or(("", None), |(key, size)| (key, Some(size.0)));
    let offers = Offers::flag(overrides.memory)
        .variable(var::MEMORY, typed(environment, var::MEMORY)?)
        .file(file, key, value);
    let memory = limit(ledger, "resources.memory_mb", offers, row.memory, profile);
    let (key, value) = cpus.map_or(("", None), |(key, cpus)| (key, Some(cpus)));
    let offers = Offers::flag(overrides.cpus)
        .variable(var::CPUS, typed(environment, var::CPUS)?)
        .file(file, key, value);
    let cpus = limit(ledger, "resources.vcpus", offers, row.cpus, profile);
    let offers = Offers::flag(overrides.pids)
        .variable(var::PIDS, typed::<Pids>(environment, var::PIDS)?.map(Pids::get))
        .file(file, "resources.pids", section.pids.map(Pids::get));
    let pids = limit(ledger, "resources.pids", offers, row.pids, profile);
    let offers = Offers::flag(overrides.disk).variable(var::DISK, typed(environment, var::DISK)?).file(
        file,
        "resources.disk",
        section.disk.map(|size| size.0),
    );
    let disk = limit(ledger, "resources.disk", offers, row.disk, profile);
    let offers = Offers::flag(overrides.open_files)
        .variable(var::OPEN_FILES, typed::<OpenFiles>(environment, var::OPEN_FILES)?.map(OpenFiles::get))
        .file(file, "resources.open_files", section.open_files.map(OpenFiles::get));
    let open_files = limit(ledger, "resources.open_files", offers, row.open_files, profile);
    Ok(Resources { memory, cpus, pids, disk, open_files })
}

/// The strongest offer, else the profile's limit.
fn limit<T: std::fmt::Display>(
    ledger: &mut Ledger,
    key: &'static str,
    offers: Offers<T>,
    of_profile: Option<T>,
    profile: Profile,
) -> Option<T> {
    match (offers.strongest(), of_profile) {
        (Some(Sourced { value, origin }), _) => {
            ledger.note(key, &value, origin);
            Some(value)
        }
        (None, Some(value)) => {
            ledger.note(key, &value, Origin::Profile { profile });
            Some(value)
        }
        (None, None) => {
            ledger.note(key, "unlimited", Origin::Profile { profile });
            None
        }
    }
}
