//! The side inside the box.

use std::ffi::CString;
use std::io::Write as _;
use std::process::ExitCode;

use crate::stage::Verdict;

mod agent;
mod bombs;
mod devices;
mod host;
mod kernel;
#[expect(dead_code, reason = "shared with the native backend's attempts, some of which make no sense here")]
#[path = "../../../../backend-native/tests/escape/inside/raw.rs"]
mod raw;

/// The first argument of this program as an attacker.
pub(crate) const MARK: &str = "--inside";

/// Makes the attempts that the arguments name and says how they went; `None` where this is the outside.
pub(crate) fn main() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != MARK {
        return None;
    }
    let name = arguments.next()?;
    let verdict = match name.as_str() {
        "vsock" => host::vsock(),
        "host" => host::is_elsewhere(),
        "devices" => devices::all(),
        "agent" => agent::all(),
        "kernel" => kernel::calls(),
        "settings" => kernel::settings(),
        "console" => devices::flood_console(),
        "memory" => bombs::memory(),
        "processes" => bombs::processes(),
        other => Err(format!("no attempt {other:?}")),
    };
    let (line, code) = match verdict {
        Ok(by) => (format!("HELD: {by}"), ExitCode::SUCCESS),
        Err(how) => (format!("THROUGH: {how}"), ExitCode::FAILURE),
    };
    // Where nobody listens there is nothing to say.
    drop(writeln!(std::io::stdout(), "{}", line.replace('\n', " ")));
    Some(code)
}

/// The call must fail with one of `errnos`. Pointers among the arguments lead to live memory of the caller's.
fn refused(what: &str, number: libc::c_long, arguments: &[usize], errnos: &[i32]) -> Verdict {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    held_by(what, raw::call(number, all), errnos)
}

/// The result must be one of `errnos`.
fn held_by<T>(what: &str, result: Result<T, i32>, errnos: &[i32]) -> Verdict {
    let name = |errno: i32| std::io::Error::from_raw_os_error(errno).to_string();
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
fn open_refused(path: &str, flags: i32, errnos: &[i32]) -> Verdict {
    let opened = CString::new(path).map_err(|_| libc::EINVAL).and_then(|path| {
        let arguments = [
            libc::AT_FDCWD as usize,
            path.as_ptr() as usize,
            (flags | libc::O_CLOEXEC) as usize,
            0o600,
            0,
            0,
        ];
        raw::call(libc::SYS_openat, arguments)
    });
    held_by(&format!("open {path}"), opened, errnos)
}

/// All of them must be held back; all that aren't are told.
fn each(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let (mut held, mut through) = (Vec::new(), Vec::new());
    for verdict in verdicts {
        match verdict {
            Ok(by) => held.push(by),
            Err(how) => through.push(how),
        }
    }
    if through.is_empty() { Ok(held.join(", ")) } else { Err(through.join(", ")) }
}
