//! What the host has and a box must not see.

use std::path::Path;

use super::{Clues, each, open_refused, raw};
use crate::attempt::Verdict;

pub(crate) fn files(clues: &Clues) -> Verdict {
    let paths = [
        "/etc/shadow",
        "/etc/gshadow",
        "/etc/sudoers",
        "/etc/ssh/ssh_host_ed25519_key",
        "/etc/ssl/private",
        "/root/.ssh",
        "/root/.bash_history",
        "/root/.docker",
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/run/dbus",
        "/run/systemd",
        "/run/user",
        "/var/lib/docker",
        "/var/lib/agentkernel",
        "/var/log/auth.log",
        "/var/spool/cron",
        "/boot",
        "/etc/fstab",
        "/etc/machine-id",
        "/initrd.img",
    ];
    let baits = [clues.get("SECRET_PATH"), clues.get("HOME_BAIT")];
    each(paths.into_iter().chain(baits).map(|path| open_refused(path, libc::O_RDONLY, &[libc::ENOENT])))
}

pub(crate) fn homes(_: &Clues) -> Verdict {
    each(["/home", "/root", "/tmp", "/var/tmp", "/run", "/srv", "/media"].map(|folder| {
        let entries = std::fs::read_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
        let allowed = ["user", "lock", "agentkernel"];
        let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        match names.find(|name| !allowed.contains(&name.as_str())) {
            Some(name) => Err(format!("{folder}/{name} is there")),
            None => Ok(format!("{folder} is empty")),
        }
    }))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

pub(crate) fn environment(clues: &Clues) -> Verdict {
    let secret = clues.secret();
    if secret.is_empty() {
        return Err("there is no secret to look for".to_owned());
    }
    for entry in std::fs::read_dir("/proc").map_err(|error| error.to_string())?.flatten() {
        for name in ["environ", "cmdline"] {
            let content = std::fs::read(entry.path().join(name)).unwrap_or_default();
            if holds(&content, &secret) {
                return Err(format!("{} shows the host's variable", entry.path().join(name).display()));
            }
        }
    }
    Ok("no process shows the host's variable".to_owned())
}

pub(crate) fn shared_memory(clues: &Clues) -> Verdict {
    let count = std::fs::read_dir("/dev/shm").map_err(|error| error.to_string())?.count();
    if count != 0 {
        return Err(format!("{count} files are in /dev/shm"));
    }
    match clues.get("MEMORY_BAIT") {
        "" => Ok("/dev/shm is empty".to_owned()),
        bait => open_refused(bait, libc::O_RDONLY, &[libc::ENOENT]),
    }
}

pub(crate) fn system_v_memory(clues: &Clues) -> Verdict {
    let Ok(key) = clues.get("MEMORY_KEY").parse::<usize>() else {
        return Ok("this kernel has no System V memory".to_owned());
    };
    let errno = if clues.is_restrictive() { libc::ENOSYS } else { libc::ENOENT };
    let found = raw::call(libc::SYS_shmget, [key, 4096, 0, 0, 0, 0]);
    let held = super::held_by("attach the host's shared memory", found, &[errno])?;
    let listed = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    if listed.lines().count() > 1 { Err("the host's segments are listed".to_owned()) } else { Ok(held) }
}

pub(crate) fn tree(clues: &Clues) -> Verdict {
    // Anywhere but in the folders that this test mounts itself.
    fn walk(folder: &Path, depth: u32, wanted: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().contains(wanted) {
                found.push(path.display().to_string());
            }
            let skip = ["/proc", "/usr", "/mnt/shared", "/sys"].iter().any(|known| path == Path::new(known));
            if depth > 0 && !skip && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&path, depth - 1, wanted, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/"), 5, "agentkernel-escape-", &mut found);
    if clues.get("HOME_BAIT").is_empty() || !found.is_empty() {
        return Err(format!("the host's files are seen: {found:?}"));
    }
    Ok("no file of the host's was found".to_owned())
}
