//! Rights beyond those of the profile.

use super::{Clues, each, held_by, raw, refused};
use crate::attempt::Verdict;

const EPERM: &[i32] = &[libc::EPERM];

fn status(field: &str) -> Result<String, String> {
    let text = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::trim));
    line.map(str::to_owned).ok_or_else(|| format!("no {field} in /proc/self/status"))
}

pub(crate) fn are_those_of_the_profile(clues: &Clues) -> Verdict {
    let expected = u64::from_str_radix(clues.get("CAPABILITIES"), 16).map_err(|error| error.to_string())?;
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let held = u64::from_str_radix(&status(field)?, 16).map_err(|error| error.to_string())?;
        if held & !expected != 0 {
            return Err(format!("{field} is {held:x} where the profile grants {expected:x}"));
        }
    }
    for (field, value) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
        let found = status(field)?;
        if found != value {
            return Err(format!("{field} is {found}"));
        }
    }
    Ok(format!("no more than {expected:x}"))
}

pub(crate) fn cannot_be_raised(_: &Clues) -> Verdict {
    // _LINUX_CAPABILITY_VERSION_3, this process; all 41 in each set.
    let header: [u32; 2] = [0x2008_0522, 0];
    let sets: [u32; 6] = [u32::MAX, u32::MAX, u32::MAX, 0x1ff, 0x1ff, 0x1ff];
    let prctl =
        |what: &str, arguments: &[usize], errnos: &[i32]| refused(what, libc::SYS_prctl, arguments, errnos);
    each([
        refused("capset", libc::SYS_capset, &[header.as_ptr() as usize, sets.as_ptr() as usize], EPERM),
        prctl("an ambient CAP_SYS_ADMIN", &[libc::PR_CAP_AMBIENT as usize, 2, 21, 0, 0], EPERM),
        prctl("other securebits", &[libc::PR_SET_SECUREBITS as usize, 0x10, 0, 0, 0], EPERM),
        prctl("new privileges again", &[libc::PR_SET_NO_NEW_PRIVS as usize, 0, 0, 0, 0], &[libc::EINVAL]),
        prctl("no seccomp", &[libc::PR_SET_SECCOMP as usize, 0, 0, 0, 0], &[libc::EINVAL, libc::EPERM]),
        prctl("another memory layout", &[libc::PR_SET_MM as usize, 1, 4096, 0, 0], EPERM),
    ])
}

pub(crate) fn file_capabilities(_: &Clues) -> Verdict {
    std::fs::write("/tmp/capable", "x").map_err(|error| error.to_string())?;
    // VFS_CAP_REVISION_2 with the effective flag, and all of them.
    let value: [u32; 5] = [0x0200_0001, u32::MAX, 0, u32::MAX, 0];
    let arguments = [
        c"/tmp/capable".as_ptr() as usize,
        c"security.capability".as_ptr() as usize,
        value.as_ptr() as usize,
        20,
        0,
        0,
    ];
    held_by(
        "give a file capabilities",
        raw::call(libc::SYS_setxattr, arguments),
        &[libc::EPERM, libc::EOPNOTSUPP],
    )
}

pub(crate) fn trusted_attributes(_: &Clues) -> Verdict {
    std::fs::write("/tmp/trusted", "x").map_err(|error| error.to_string())?;
    let file = c"/tmp/trusted".as_ptr() as usize;
    each([c"trusted.overlay.opaque", c"trusted.x", c"security.ima", c"security.evm"].map(|name| {
        let arguments = [file, name.as_ptr() as usize, c"y".as_ptr() as usize, 1, 0, 0];
        let set = raw::call(libc::SYS_setxattr, arguments);
        held_by(&format!("set {name:?}"), set, &[libc::EPERM, libc::EOPNOTSUPP])
    }))
}

pub(crate) fn unmapped_users(_: &Clues) -> Verdict {
    let nobody = 0xfff0_0000;
    let errnos = &[libc::EINVAL, libc::EPERM];
    let file = c"/tmp/owned".as_ptr() as usize;
    std::fs::write("/tmp/owned", "x").map_err(|error| error.to_string())?;
    each([
        refused("become an unmapped user", libc::SYS_setresuid, &[nobody, nobody, nobody], errnos),
        refused("become an unmapped group", libc::SYS_setresgid, &[nobody, nobody, nobody], errnos),
        refused(
            "give a file away",
            libc::SYS_fchownat,
            &[libc::AT_FDCWD as usize, file, nobody, nobody, 0],
            errnos,
        ),
    ])
}

pub(crate) fn limits(_: &Clues) -> Verdict {
    let mut limit = [0u64; 2];
    let get = [libc::RLIMIT_NOFILE as usize, limit.as_mut_ptr() as usize, 0, 0, 0, 0];
    raw::call(libc::SYS_getrlimit, get).map_err(|errno| format!("getrlimit: {errno}"))?;
    let more = [limit[0], limit[1] + 1];
    let set = [libc::RLIMIT_NOFILE as usize, more.as_ptr() as usize];
    let locked = [u64::MAX; 2];
    let lock = [libc::RLIMIT_MEMLOCK as usize, locked.as_ptr() as usize];
    each([
        refused("more open files", libc::SYS_setrlimit, &set, EPERM),
        refused("more locked memory", libc::SYS_setrlimit, &lock, EPERM),
    ])
}
