//! What the command line's flags gave: the strongest source of settings.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

use agentkernel_model::{
    Access, BackendName, BoxPath, ByteString, Cpus, EnvVar, ImageRef, Mib, Mount, NetworkAccess, PassEnv,
    Profile, PublishedPort, PullPolicy, SandboxName, UserSpec,
};

use crate::{ConfigError, Environment};

/// Whether and how the current folder is shown at `/workspace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CwdMount {
    /// Not at all.
    Off,
    /// For reading.
    ReadOnly,
    /// For reading and writing.
    ReadWrite,
}

impl CwdMount {
    /// As a grant.
    pub fn access(self) -> Option<Access> {
        match self {
            Self::Off => None,
            Self::ReadOnly => Some(Access::ReadOnly),
            Self::ReadWrite => Some(Access::ReadWrite),
        }
    }
}

/// A text that doesn't say how the current folder is mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a way to mount the current folder: use true, \"ro\" or false")]
pub struct CwdMountError {
    text: String,
}

impl FromStr for CwdMount {
    type Err = CwdMountError;
    fn from_str(text: &str) -> Result<Self, CwdMountError> {
        match text {
            "true" | "rw" => Ok(Self::ReadWrite),
            "ro" => Ok(Self::ReadOnly),
            "false" => Ok(Self::Off),
            _ => Err(CwdMountError { text: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for CwdMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Off => "false",
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        })
    }
}

/// One `-e`: `NAME=VALUE`, or `NAME` for the caller's own value, which then never appears in any argument list.
#[derive(Clone, PartialEq, Eq)]
pub enum EnvFlag {
    /// This value.
    Set(EnvVar),
    /// The caller's value; an error where it is not set.
    FromCaller(OsString),
}

impl fmt::Debug for EnvFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(var) => var.fmt(f),
            Self::FromCaller(name) => name.fmt(f),
        }
    }
}

/// An `-e` without a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown} is not of the form NAME=VALUE or NAME")]
pub struct EnvFlagError {
    shown: String,
}

impl EnvFlag {
    /// Parses the flag's argument. An error shows nothing of a value.
    pub fn parse(text: &OsStr) -> Result<Self, EnvFlagError> {
        let bytes = text.as_bytes();
        let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
            None => (bytes, None),
        };
        if !is_env_name(name) {
            let shown = if value.is_some() { "\"=...\"".to_owned() } else { format!("{text:?}") };
            return Err(EnvFlagError { shown });
        }
        Ok(match value {
            Some(value) => {
                Self::Set(EnvVar { name: ByteString(name.to_vec()), value: ByteString(value.to_vec()) })
            }
            None => Self::FromCaller(OsString::from_vec(name.to_vec())),
        })
    }

    /// The variable with its value; an error where the caller has none by that name.
    pub fn resolve(&self, environment: &Environment) -> Result<EnvVar, ConfigError> {
        let name = match self {
            Self::Set(var) => return Ok(var.clone()),
            Self::FromCaller(name) => name,
        };
        let known = environment.vars.iter().find(|(known, _)| known == name);
        let (name, value) =
            known.ok_or_else(|| ConfigError::UnsetVariable { name: name.to_string_lossy().into_owned() })?;
        Ok(EnvVar { name: ByteString::from(name.clone()), value: ByteString::from(value.clone()) })
    }
}

/// Whether the kernel and every shell can tell this name from its value.
pub(crate) fn is_env_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|byte| *byte == b'=' || *byte == 0)
}

/// The flags of one command line. `Default` is "no flag given".
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--state-dir`; relative to the working directory.
    pub state_dir: Option<PathBuf>,
    /// `--backend`.
    pub backend: Option<BackendName>,
    /// The name argument or `--name`.
    pub name: Option<SandboxName>,
    /// `--image`.
    pub image: Option<ImageRef>,
    /// `--pull`.
    pub pull: Option<PullPolicy>,
    /// `--build[=DOCKERFILE]`.
    pub build: Option<crate::BuildFlag>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--agent`; one of [`crate::AgentName`].
    pub agent: Option<crate::AgentName>,
    /// `--profile`.
    pub profile: Option<Profile>,
    /// `--network` and `--no-network`.
    pub network: Option<NetworkAccess>,
    /// `--mount-cwd[=ro]`.
    pub mount_cwd: Option<CwdMount>,
    /// `--mount-home`.
    pub mount_home: Option<bool>,
    /// `--pass-env[=NAME,...]`.
    pub pass_env: Option<PassEnv>,
    /// `--read-only`.
    pub read_only: Option<bool>,
    /// `--toolchains`.
    pub toolchains: Option<bool>,
    /// `--allow-unlimited`.
    pub allow_unlimited: Option<bool>,
    /// `--memory`.
    pub memory: Option<Mib>,
    /// `--cpus`.
    pub cpus: Option<Cpus>,
    /// `--pids`.
    pub pids: Option<u32>,
    /// `--disk`.
    pub disk: Option<Mib>,
    /// `--open-files`.
    pub open_files: Option<u32>,
    /// `-e`, in their order.
    pub env: Vec<EnvFlag>,
    /// `-v`, sources relative to the working directory.
    pub mounts: Vec<Mount>,
    /// `-P`.
    pub ports: Vec<PublishedPort>,
    /// `-w`.
    pub workdir: Option<BoxPath>,
    /// `-u`.
    pub user: Option<UserSpec>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// Those of `serve` and the daemon.
    pub api: crate::ApiFlags,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_env_flag_keeps_every_byte_of_its_value() {
        let flag = EnvFlag::parse(OsStr::from_bytes(b"A=b=\xff")).unwrap();
        let EnvFlag::Set(var) = flag else { panic!("{flag:?}") };
        assert_eq!((var.name.as_bytes(), var.value.as_bytes()), (&b"A"[..], &b"b=\xff"[..]));
        assert_eq!(EnvFlag::parse(OsStr::new("A")).unwrap(), EnvFlag::FromCaller("A".into()));
        let error = EnvFlag::parse(OsStr::new("=secret")).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(EnvFlag::parse(OsStr::new("")).is_err());
    }

    #[test]
    fn the_current_folder_is_mounted_in_three_ways() {
        for (text, access) in
            [("true", Some(Access::ReadWrite)), ("ro", Some(Access::ReadOnly)), ("false", None)]
        {
            assert_eq!(text.parse::<CwdMount>().unwrap().access(), access);
        }
        assert!("yes".parse::<CwdMount>().is_err());
    }
}
