//! Linux capabilities: names, sets, and giving them up. See capabilities(7).

use std::fmt;
use std::fs;

use rustix::io;

use crate::raw_syscall::checked;

/// The names of linux/capability.h; the position is the number.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A set of capabilities, one bit each, numbered as the kernel numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitySet(pub u64);

/// Why a text is not a capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability {name:?}: it must be a name of capabilities(7), such as CAP_CHOWN")]
pub struct UnknownCapability {
    name: String,
}

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// The named ones, in the spelling of capabilities(7): `CAP_CHOWN`.
    pub fn from_names<Name: AsRef<str>>(
        names: impl IntoIterator<Item = Name>,
    ) -> Result<Self, UnknownCapability> {
        names.into_iter().try_fold(Self::EMPTY, |set, name| {
            let name = name.as_ref();
            let number = NAMES.iter().position(|known| *known == name);
            let number = number.ok_or_else(|| UnknownCapability { name: name.to_owned() })?;
            Ok(Self(set.0 | 1 << number))
        })
    }

    /// All that the running kernel has, those without a name here included. Reads /proc: for the parent.
    pub fn of_running_kernel() -> Self {
        let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap");
        let last = last.ok().and_then(|text| text.trim().parse::<u32>().ok()).filter(|last| *last < 64);
        Self(u64::MAX >> (63 - last.unwrap_or(NAMES.len() as u32 - 1)))
    }

    /// Whether capability `number` is in it.
    pub fn contains(self, number: u32) -> bool {
        self.0.checked_shr(number).is_some_and(|bits| bits & 1 == 1)
    }

    /// Those in this set or in `other`.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Gives up all other capabilities for good: bounding, ambient and inheritable sets included, and with
    /// no_new_privs, without which neither Landlock nor seccomp can be used after this. Child-safe.
    pub fn keep_only(self) -> io::Result<()> {
        set_no_new_privileges()?;
        drop_bounding(self)?;
        set(self)
    }

    /// The names in it, in the kernel's order; `CAP_63` for those without one.
    pub fn names(self) -> Vec<String> {
        (0..64)
            .filter(|number| self.contains(*number))
            .map(|number| match NAMES.get(number as usize) {
                Some(name) => (*name).to_owned(),
                None => format!("CAP_{number}"),
            })
            .collect()
    }
}

impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.names().join(","))
    }
}

/// Takes everything but `keep` out of the bounding set: no exec brings it back, not even of a setuid-root file.
/// Child-safe. Needs CAP_SETPCAP in the own user namespace unless nothing is to be dropped.
#[expect(unsafe_code, reason = "prctl by number: the kernel may know capabilities that no library names")]
pub fn drop_bounding(keep: CapabilitySet) -> io::Result<()> {
    for number in 0..64 {
        // SAFETY: PR_CAPBSET_READ takes a number and no pointer.
        let held = checked(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_READ, number, 0, 0, 0) });
        match held {
            // One more than the kernel's last.
            Err(io::Errno::INVAL) => return Ok(()),
            Ok(1) if !keep.contains(number) => {
                // SAFETY: PR_CAPBSET_DROP takes a number and no pointer.
                checked(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_DROP, number, 0, 0, 0) })?;
            }
            other => {
                other?;
            }
        }
    }
    Ok(())
}

/// Makes `keep` the effective and permitted set of the calling thread and empties the inheritable and ambient sets: an
/// inheritable set that isn't empty would let files with inheritable capabilities raise them again. Child-safe.
///
/// # Errors
/// EPERM where `keep` holds what the thread's permitted set does not.
#[expect(unsafe_code, reason = "capset has no safe wrapper for numbers that no library names")]
pub fn set(keep: CapabilitySet) -> io::Result<()> {
    /// Two words of 32 bits each, see capset(2).
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    clear_ambient()?;
    let header = Header { version: VERSION_3, pid: 0 };
    let word = |bits: u64| Data { effective: bits as u32, permitted: bits as u32, inheritable: 0 };
    let data = [word(keep.0), word(keep.0 >> 32)];
    // SAFETY: header is version 3's, for which the kernel reads two Data; both outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
    Ok(())
}

/// Empties the ambient set, which would otherwise survive an exec by users other than root. Child-safe.
pub fn clear_ambient() -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong)
}

/// From here on no exec gains privileges: setuid bits and file capabilities are ignored. Child-safe.
pub fn set_no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

#[expect(unsafe_code, reason = "prctl")]
fn prctl(option: libc::c_int, argument: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options used here take numbers and no pointers.
    checked(unsafe { libc::syscall(libc::SYS_prctl, option, argument, 0, 0, 0) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forked::{in_child, is_root};

    /// The line `name` of this process's /proc status.
    fn status(name: &str) -> String {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().to_owned()
    }

    #[test]
    fn names_and_numbers() {
        let set = CapabilitySet::from_names(["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]).unwrap();
        assert_eq!(set, CapabilitySet(1 | 1 << 40));
        assert_eq!(set.to_string(), "CAP_CHOWN,CAP_CHECKPOINT_RESTORE");
        assert!(set.contains(40) && !set.contains(1) && !set.contains(64));
        assert_eq!(CapabilitySet(1 << 63).names(), ["CAP_63"]);
        for bad in ["chown", "CAP_NOTHING", ""] {
            assert!(CapabilitySet::from_names([bad]).is_err(), "{bad}");
        }
        for (number, name) in
            [(21, "CAP_SYS_ADMIN"), (24, "CAP_SYS_RESOURCE"), (31, "CAP_SETFCAP"), (39, "CAP_BPF")]
        {
            assert_eq!(NAMES[number], name);
        }
    }

    #[test]
    fn the_running_kernel_has_the_bounding_set_of_its_first_process_at_most() {
        let bounding = u64::from_str_radix(&status("CapBnd"), 16).unwrap();
        assert_eq!(bounding & !CapabilitySet::of_running_kernel().0, 0);
    }

    #[test]
    fn only_what_is_kept_is_left() {
        if !is_root() {
            return;
        }
        let status = in_child(|| {
            let keep = CapabilitySet::from_names(["CAP_CHOWN", "CAP_KILL"]).unwrap();
            keep.keep_only().unwrap();
            for (name, wanted) in
                [("CapEff", keep.0), ("CapPrm", keep.0), ("CapBnd", keep.0), ("CapInh", 0), ("CapAmb", 0)]
            {
                assert_eq!(u64::from_str_radix(&status(name), 16).unwrap(), wanted, "{name}");
            }
            assert_eq!(status("NoNewPrivs"), "1");
            assert_eq!(set(CapabilitySet::of_running_kernel()), Err(io::Errno::PERM));
            CapabilitySet::EMPTY.keep_only().map_or(0, |()| 1)
        });
        // Without CAP_SETPCAP nothing more can be dropped from the bounding set.
        assert_eq!(status.code(), Some(0));
    }
}
