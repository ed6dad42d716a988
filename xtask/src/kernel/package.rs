//! A Debian package's file in the tasks' cache, fetched by the machine's own package client. What was fetched stays
//! until somebody asks for a newer one, so that what is made from it is made again alike.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// A package file and what it is.
#[derive(Debug)]
pub(crate) struct Package {
    file: PathBuf,
    /// Debian's version, as in `6.12.117-1~deb12u1`.
    pub(crate) version: String,
}

impl Package {
    /// The file that was fetched into `folder` before. `is_it` knows the package's name.
    pub(crate) fn cached(folder: &Path, is_it: impl Fn(&str) -> bool) -> Option<Self> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let packages = names.filter_map(|file| {
            let (name, version) = parts(&file)?;
            is_it(name).then(|| Self { version, file: folder.join(&file) })
        });
        packages.max_by(|one, other| one.version.cmp(&other.version))
    }

    /// Fetches `name` into `folder`: the version that the machine's package sources offer now.
    pub(crate) fn fetch(folder: &Path, name: &str) -> Result<Self> {
        let scratch = folder.join("fetching");
        remove(&scratch)?;
        std::fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
        eprintln!("xtask: apt-get download {name} (once, into {})", folder.display());
        if download(&scratch, name).is_err() && command::is_root() {
            // A machine that has just been made has no lists of packages yet.
            command::output(Command::new("apt-get").args(["-qq", "update"]))?;
        }
        if std::fs::read_dir(&scratch)?.next().is_none() {
            download(&scratch, name)?;
        }
        for entry in std::fs::read_dir(&scratch)?.flatten() {
            std::fs::rename(entry.path(), folder.join(entry.file_name())).context("keep the package")?;
        }
        remove(&scratch)?;
        Self::cached(folder, |other| other == name).with_context(|| {
            format!("apt-get fetched no {name}: do the machine's package sources have it? (apt-cache policy)")
        })
    }

    /// Unpacks it into `folder`, which must not be there.
    pub(crate) fn unpack(&self, folder: &Path) -> Result<()> {
        command::output(Command::new("dpkg-deb").arg("--extract").arg(&self.file).arg(folder)).map(drop)
    }
}

fn download(folder: &Path, name: &str) -> Result<String> {
    command::output(Command::new("apt-get").args(["-qq", "download", name]).current_dir(folder))
}

/// Name and version in `NAME_VERSION_ARCHITECTURE.deb`, where the client writes a colon as `%3a`.
fn parts(file: &str) -> Option<(&str, String)> {
    let mut parts = file.strip_suffix(".deb")?.split('_');
    let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next());
    (architecture.is_some() && parts.next().is_none()).then(|| (name, version.replace("%3a", ":")))
}

/// Removes a folder that may be there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_the_package_and_its_version() {
        let of = |file| parts(file).map(|(name, version)| format!("{name} {version}"));
        let file = "linux-source-6.12_6.12.117-1~deb12u1_all.deb";
        assert_eq!(of(file).as_deref(), Some("linux-source-6.12 6.12.117-1~deb12u1"));
        assert_eq!(of("a_1%3a6-1_amd64.deb").as_deref(), Some("a 1:6-1"));
        for other in ["a_1_all.deb.new", "fetching", "a_1.deb", "a_1_2_3.deb"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
