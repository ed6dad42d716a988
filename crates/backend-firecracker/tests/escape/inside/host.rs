//! The way out: the vsock, and whatever of the host might show.

use super::{each, refused};
use crate::stage::Verdict;

/// The only device between the box and the host: no socket of its kind can be had, so neither the host (CID 2), nor this
/// machine's own agent (its CID, or 1), nor any port of theirs can be dialled, nor the agent's port be taken.
pub(super) fn vsock() -> Verdict {
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET, libc::SOCK_RAW];
    let sockets = kinds.map(|kind| {
        let arguments = [libc::AF_VSOCK as usize, (kind | libc::SOCK_CLOEXEC) as usize, 0];
        refused("a vsock socket", libc::SYS_socket, &arguments, &[libc::EAFNOSUPPORT])
    });
    let mut pair = [0i32; 2];
    let arguments = [libc::AF_VSOCK as usize, libc::SOCK_STREAM as usize, 0, pair.as_mut_ptr() as usize];
    let pair = refused(
        "a pair of vsock sockets",
        libc::SYS_socketpair,
        &arguments,
        &[libc::EAFNOSUPPORT, libc::EOPNOTSUPP],
    );
    let device = super::open_refused("/dev/vsock", libc::O_RDWR, &[libc::ENOENT]);
    each(sockets.into_iter().chain([pair, device]))
}

/// Nothing of the host's is in sight: this is another kernel with processes of its own.
pub(super) fn is_elsewhere() -> Verdict {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(|error| error.to_string())?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // The machine's own kernel has threads, which have no command line.
        if !command.is_empty() {
            seen.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    // The agent, its worker, and this.
    if seen.len() > 4 {
        return Err(format!("{} processes are seen: {seen:?}", seen.len()));
    }
    let own =
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|error| error.to_string())?;
    let interfaces: Vec<String> = std::fs::read_to_string("/proc/net/dev")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name.trim().to_owned()))
        .collect();
    if interfaces.iter().any(|name| name != "lo") {
        return Err(format!("interfaces: {interfaces:?}"));
    }
    Ok(format!("boot {}", own.trim()))
}
