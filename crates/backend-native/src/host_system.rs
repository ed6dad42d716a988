//! Image `host`: which parts of this machine a box sees. Nothing that could hold a person's data, a socket or a key.

use std::path::{Path, PathBuf};

/// Top-level folders of programs and libraries. Where one is a link (as `/bin` mostly is), the box gets the same link.
const SYSTEM: [&str; 7] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"];

/// Where programs that don't come with the system are: the folder is the box's own, each program in it the host's.
const ADDED: &str = "/opt";

/// More than this, and [`ADDED`] is shown as a whole, which the box then can't write.
const MOST_ADDED: usize = 24;

/// The folder that boxes may write over, through an overlay.
pub(crate) const USR: &str = "/usr";

/// What the loader, the resolver of names, TLS and language runtimes need from `/etc`; all of it public on any machine.
/// Each costs a mount at every start, so what programs can do without is left out.
const ETC: [&str; 19] = [
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/java-11-openjdk",
    "/etc/java-17-openjdk",
    "/etc/java-21-openjdk",
    "/etc/java-25-openjdk",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/perl",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/etc/crypto-policies",
];

/// Folders below `/usr` that belong to root of the box, so that programs can be installed there. Files of the host in
/// them keep belonging to nobody.
const WRITABLE_USR: [&str; 13] = [
    "bin",
    "include",
    "lib",
    "local",
    "local/bin",
    "local/etc",
    "local/include",
    "local/lib",
    "local/sbin",
    "local/share",
    "local/src",
    "sbin",
    "share",
];

/// One part of the host, as the box gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// A link with this text.
    Link {
        /// Where.
        path: PathBuf,
        /// Its text.
        target: PathBuf,
    },
    /// A folder, read-only.
    Folder(PathBuf),
    /// A file, read-only.
    File(PathBuf),
}

/// The parts of this machine that are there, `/usr` apart.
pub(crate) fn parts() -> Vec<Part> {
    let mut parts: Vec<Part> = SYSTEM.iter().chain(&ETC).filter_map(|path| part(Path::new(path))).collect();
    let added: Vec<Part> = std::fs::read_dir(ADDED)
        .into_iter()
        .flatten()
        .flatten()
        .take(MOST_ADDED + 1)
        .filter_map(|entry| part(&entry.path()))
        .collect();
    match added.len() > MOST_ADDED {
        true => parts.push(Part::Folder(ADDED.into())),
        false => parts.extend(added),
    }
    parts
}

/// The folders of [`USR`] that a box may add to, relative to it, parents first.
pub(crate) fn writable_usr() -> impl Iterator<Item = &'static str> {
    WRITABLE_USR.into_iter().filter(|folder| {
        // Only what is public on the host: its merged folder is public inside.
        let path = Path::new(USR).join(folder);
        std::fs::symlink_metadata(path).is_ok_and(|meta| {
            use std::os::unix::fs::PermissionsExt;
            meta.is_dir() && meta.permissions().mode() & 0o005 == 0o005
        })
    })
}

fn part(path: &Path) -> Option<Part> {
    let kind = std::fs::symlink_metadata(path).ok()?.file_type();
    if kind.is_symlink() {
        let target = std::fs::read_link(path).ok()?;
        // A link to a place that the box doesn't have is resolved; one within the system folders is kept.
        let within = [Path::new("usr"), Path::new("/usr"), Path::new("../usr")];
        if within.iter().any(|start| target.starts_with(start)) {
            return Some(Part::Link { path: path.to_owned(), target });
        }
        return match std::fs::metadata(path).ok()? {
            meta if meta.is_dir() => Some(Part::Folder(path.to_owned())),
            meta if meta.is_file() => Some(Part::File(path.to_owned())),
            _ => None,
        };
    }
    if kind.is_dir() {
        return Some(Part::Folder(path.to_owned()));
    }
    kind.is_file().then(|| Part::File(path.to_owned()))
}

/// `/etc/passwd` of a box.
pub(crate) const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
    user:x:1000:1000:user:/home/user:/bin/sh\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";

/// `/etc/group` of a box.
pub(crate) const GROUP: &str =
    "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nuser:x:1000:\nnogroup:x:65534:\n";

/// `/etc/nsswitch.conf` of a box: files and DNS, no host daemon.
pub(crate) const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n";

/// `/etc/hosts` of a box.
pub(crate) fn hosts(hostname: &str) -> String {
    format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_private_is_shown() {
        for part in parts() {
            let path = match &part {
                Part::Link { path, .. } | Part::Folder(path) | Part::File(path) => path,
            };
            for private in ["/root", "/home", "/run", "/var", "/etc/ssl/private", "/etc/shadow", "/etc/ssh"] {
                assert!(!Path::new(private).starts_with(path), "{} holds {private}", path.display());
                assert!(!path.starts_with(private), "{}", path.display());
            }
        }
    }

    #[test]
    fn parents_of_writable_folders_come_first() {
        let folders: Vec<_> = writable_usr().collect();
        for (index, folder) in folders.iter().enumerate() {
            if let Some((parent, _)) = folder.rsplit_once('/') {
                assert!(folders[..index].contains(&parent), "{folder}");
            }
        }
    }
}
