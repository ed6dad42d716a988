//! What can be wrong with the settings. Every message names the file and place, variable or flag, and what would do.

use std::path::PathBuf;

use agentkernel_model::BoxPath;

use crate::Location;

/// Why no settings could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named doesn't exist.
    #[error("config file {} does not exist: check the path of --config or AGENTKERNEL_CONFIG", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be read.
    #[error("config file {} can't be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no text or too long.
    #[error("config file {} can't be used: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// Not TOML, or a value of the wrong type or form.
    #[error("{location}: {}{message}", key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default())]
    Invalid {
        /// Where.
        location: Location,
        /// The key whose value is wrong, where there is one.
        key: Option<String>,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A key that doesn't exist.
    #[error(
        "{location}: unknown key {key:?}{}",
        suggestion.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_else(|| {
            "; docs/configuration.md lists the keys".to_owned()
        })
    )]
    UnknownKey {
        /// Where.
        location: Location,
        /// The key with its section.
        key: String,
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
    /// A key that is known and not honoured by this release.
    #[error("{location}: key {key:?} is not supported: {why}")]
    RefusedKey {
        /// Where.
        location: Location,
        /// The key with its section.
        key: String,
        /// Why, and what to do instead.
        why: &'static str,
    },
    /// Two keys that say different or the same thing.
    #[error("{location}: {second:?} and {first:?} are the same setting: keep one of them")]
    Twice {
        /// Where the second is.
        location: Location,
        /// One key.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A variable whose value is wrong.
    #[error("environment variable {variable}: {message}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong.
        message: String,
    },
    /// An `AGENTKERNEL_...` variable that doesn't exist.
    #[error(
        "unknown environment variable {variable}{}: unset it",
        suggestion.map(|near| format!("; did you mean {near}?")).unwrap_or_default()
    )]
    UnknownVariable {
        /// Its name.
        variable: String,
        /// The variable that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// `-e NAME` where the caller has no such variable.
    #[error("-e {name}: the variable is not set in your environment; set it or give -e {name}=VALUE")]
    UnsetVariable {
        /// Its name.
        name: String,
    },
    /// `--pass-env` with something that can't be a variable's name.
    #[error("--pass-env: {name:?} is not the name of a variable")]
    PassEnvName {
        /// What was given.
        name: String,
    },
    /// A host path that isn't there or has the wrong kind.
    #[error("{what} {}: {why}", path.display())]
    HostPath {
        /// `mount source` or `file source`, with the flag or place that named it.
        what: String,
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Two mounts of one source at the same place.
    #[error("two mounts at {target}: keep one of them")]
    SameTarget {
        /// The place in the sandbox.
        target: BoxPath,
    },
    /// A grant by a file that the user didn't name: whoever wrote the project may have written it.
    #[error(
        "{location}: {key} would give the sandbox {what}; a file that was only found in the current folder can't grant \
         that: read it, then name it with --config {}",
        location.path.display()
    )]
    NotNamed {
        /// Where.
        location: Location,
        /// The key.
        key: &'static str,
        /// What would be given.
        what: String,
    },
    /// `--no-cache` where there is no build.
    #[error("--no-cache: nothing is built; add --build, or a section [build] to agentkernel.toml")]
    NothingToBuild,
    /// A certificate without a key, or a key without a certificate.
    #[error("{given} is given and {missing} is not: TLS takes both")]
    HalfOfTls {
        /// The one.
        given: &'static str,
        /// The other.
        missing: &'static str,
    },
    /// A grant that needs a home folder where there is none.
    #[error("{what} needs your home folder, and neither HOME nor /etc/passwd names one: set HOME")]
    NoHome {
        /// The grant or key.
        what: String,
    },
}
