//! Where a bed lies, and how its tests find what is in it.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Names and values that a test finds the bed by.
pub(crate) type Variables = Vec<(String, String)>;

/// The variable of the folder itself.
pub(crate) const FOLDER: &str = "AGENTKERNEL_TEST_BED";
/// Host and port of the registry without anything.
pub(crate) const REGISTRY: &str = "AGENTKERNEL_TEST_REGISTRY";
/// Host and port of the registry that asks for user `user` and password `secret`.
pub(crate) const REGISTRY_AUTH: &str = "AGENTKERNEL_TEST_REGISTRY_AUTH";
/// Host and port of the registry whose certificate `<bed>/ca.pem` signed.
pub(crate) const REGISTRY_TLS: &str = "AGENTKERNEL_TEST_REGISTRY_TLS";
/// The socket of Docker; root's only.
pub(crate) const DOCKER: &str = "AGENTKERNEL_TEST_DOCKER";
/// The socket of root's Podman.
pub(crate) const PODMAN: &str = "AGENTKERNEL_TEST_PODMAN";
/// The socket of the ordinary user's Podman.
pub(crate) const PODMAN_ROOTLESS: &str = "AGENTKERNEL_TEST_PODMAN_ROOTLESS";

/// Where beds lie. Short, because names of unix sockets are at most 107 bytes long (unix(7)), and without what the
/// tests' count of leftovers looks for.
const PARENT: &str = "/var/tmp";
const BY_HAND: &str = "ak-bed";

/// A bed's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
}

impl Place {
    /// The one that people start by hand.
    pub(crate) fn by_hand() -> Self {
        Self { folder: Path::new(PARENT).join(BY_HAND) }
    }

    /// One for this run of the tests alone.
    pub(crate) fn of_this_process() -> Self {
        Self { folder: Path::new(PARENT).join(format!("{BY_HAND}-{}", std::process::id())) }
    }

    /// All folders of beds that runs of the tests made.
    pub(crate) fn of_runs() -> Vec<Self> {
        let entries = std::fs::read_dir(PARENT).into_iter().flatten().flatten();
        let of_run = |name: &str| name.strip_prefix(BY_HAND).is_some_and(|rest| rest.starts_with('-'));
        entries
            .filter(|entry| of_run(&entry.file_name().to_string_lossy()))
            .map(|entry| Self { folder: entry.path() })
            .collect()
    }

    /// A file or folder in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the folder, which others may look into but not write.
    pub(crate) fn make(&self) -> Result<()> {
        match std::fs::DirBuilder::new().mode(0o755).create(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            result => result.with_context(|| format!("create {}", self.folder.display()))?,
        }
        self.check_owner()
    }

    /// The parent is everybody's: what somebody else put there is not ours.
    pub(crate) fn check_owner(&self) -> Result<()> {
        let metadata = std::fs::symlink_metadata(&self.folder)
            .with_context(|| format!("look at {}", self.folder.display()))?;
        if !metadata.is_dir() || metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
            bail!("{} is not a folder that only root can write", self.folder.display());
        }
        Ok(())
    }

    /// A folder that only its owner, root, can enter.
    pub(crate) fn private(&self, name: &str) -> Result<PathBuf> {
        let path = self.join(name);
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            result => result.with_context(|| format!("create {}", path.display()))?,
        }
        Ok(path)
    }

    /// What was written at the end of a successful start.
    pub(crate) fn variables(&self) -> Result<Option<Variables>> {
        match std::fs::read_to_string(self.join("variables")) {
            Ok(text) => Ok(Some(parse(&text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read the bed's variables"),
        }
    }

    /// Notes that the bed is ready.
    pub(crate) fn write_variables(&self, variables: &Variables) -> Result<()> {
        std::fs::write(self.join("variables"), shown(variables)).context("write the bed's variables")
    }
}

/// Whether tests find the bed, or a part of it, by this variable.
pub(crate) fn is_variable(name: &str) -> bool {
    [FOLDER, REGISTRY, REGISTRY_AUTH, REGISTRY_TLS, DOCKER, PODMAN, PODMAN_ROOTLESS].contains(&name)
}

/// What root can use: everything but another user's Podman.
pub(crate) fn for_root(variables: &Variables) -> Variables {
    variables.iter().filter(|(name, _)| name != PODMAN_ROOTLESS).cloned().collect()
}

/// What the ordinary user can use: not root's engines; and its own Podman is then the one that tests of Podman mean.
pub(crate) fn for_ordinary_user(variables: &Variables) -> Variables {
    let usable = variables.iter().filter(|(name, _)| name != DOCKER && name != PODMAN);
    let own = variables.iter().filter(|(name, _)| name == PODMAN_ROOTLESS);
    let as_podman = own.map(|(_, value)| (PODMAN.to_owned(), value.clone()));
    usable.cloned().chain(as_podman).collect()
}

/// One `NAME=VALUE` a line.
pub(crate) fn shown(variables: &Variables) -> String {
    variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// The reverse.
pub(crate) fn parse(text: &str) -> Variables {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_they_are_written() {
        let variables = vec![(FOLDER.to_owned(), "/a".to_owned()), (REGISTRY.to_owned(), "h:1=x".to_owned())];
        assert_eq!(parse(&shown(&variables)), variables);
    }

    #[test]
    fn each_user_gets_the_engines_that_it_can_use() {
        let all: Variables = [(DOCKER, "d"), (PODMAN, "p"), (PODMAN_ROOTLESS, "r"), (REGISTRY, "x")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        assert_eq!(shown(&for_root(&all)), format!("{DOCKER}=d\n{PODMAN}=p\n{REGISTRY}=x\n"));
        let user = format!("{PODMAN_ROOTLESS}=r\n{REGISTRY}=x\n{PODMAN}=r\n");
        assert_eq!(shown(&for_ordinary_user(&all)), user);
    }

    #[test]
    fn a_folder_that_anybody_can_write_is_no_bed() {
        let place = Place { folder: PathBuf::from("/tmp") };
        assert!(place.check_owner().is_err());
    }
}
