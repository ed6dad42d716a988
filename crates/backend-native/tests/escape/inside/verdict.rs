//! What an attempt's answer means.

use std::ffi::CString;

use super::raw;
use crate::attempt::Verdict;

/// The kernel's name of an error, where attempts meet it.
fn name(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

/// The call must fail with one of `errnos`.
pub(crate) fn refused(what: &str, number: libc::c_long, arguments: &[usize], errnos: &[i32]) -> Verdict {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    held_by(what, raw::call(number, all), errnos)
}

/// The result must be one of `errnos`.
pub(crate) fn held_by<T>(what: &str, result: Result<T, i32>, errnos: &[i32]) -> Verdict {
    match result {
        Err(errno) if errnos.contains(&errno) => Ok(format!("{what}: {}", name(errno))),
        Err(errno) => {
            let expected: Vec<String> = errnos.iter().map(|errno| name(*errno)).collect();
            Err(format!("{what} failed with {:?} where {expected:?} was expected", name(errno)))
        }
        Ok(_) => Err(format!("{what} succeeded")),
    }
}

/// Opening must fail with one of `errnos`.
pub(crate) fn open_refused(path: &str, flags: i32, errnos: &[i32]) -> Verdict {
    held_by(&format!("open {path}"), open(path, flags), errnos)
}

/// open(2).
pub(crate) fn open(path: &str, flags: i32) -> Result<usize, i32> {
    let path = CString::new(path).map_err(|_| libc::EINVAL)?;
    raw::call(
        libc::SYS_openat,
        [libc::AT_FDCWD as usize, path.as_ptr() as usize, (flags | libc::O_CLOEXEC) as usize, 0o600, 0, 0],
    )
}

/// All of them must be held back; the first that isn't counts.
pub(crate) fn each(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let held: Result<Vec<String>, String> = verdicts.into_iter().collect();
    held.map(|held| held.join(", "))
}
