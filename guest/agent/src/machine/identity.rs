//! What no two machines may share, though they were restored from one snapshot: randomness, name, clock.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;

use agentkernel_protocol::machine::{LEAST_ENTROPY, MachineSetup};
use rustix::fs::{Mode, OFlags};
use rustix::time::{ClockId, Timespec};

use super::mount::at;
use crate::raw;

/// Where the machine's id is (machine-id(5)).
pub(super) const MACHINE_ID: &str = "/etc/machine-id";

/// Before anything else draws random numbers.
pub(super) fn assume(setup: &MachineSetup) -> Result<(), String> {
    seed(&random()?, &setup.entropy)?;
    setup.wall_clock_ns.map_or(Ok(()), set_clock)?;
    set_name(&setup.hostname)
}

/// The kernel's random generator.
pub(super) fn random() -> Result<OwnedFd, String> {
    rustix::fs::open("/dev/urandom", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(at("open /dev/urandom"))
}

/// Numbers that are drawn afterwards are nobody else's.
pub(super) fn seed(random: &OwnedFd, entropy: &[u8]) -> Result<(), String> {
    if entropy.len() < LEAST_ENTROPY {
        return Err(format!("{} bytes of entropy are fewer than {LEAST_ENTROPY}", entropy.len()));
    }
    raw::add_entropy(random, entropy).map_err(at("seed the random generator"))
}

/// Nanoseconds since 1970.
pub(super) fn set_clock(nanoseconds: u64) -> Result<(), String> {
    rustix::time::clock_settime(ClockId::Realtime, since_1970(nanoseconds)).map_err(at("set the clock"))
}

/// The host name.
pub(super) fn set_name(name: &str) -> Result<(), String> {
    rustix::system::sethostname(name.as_bytes()).map_err(at(format!("set the host name {name:?}")))
}

fn since_1970(nanoseconds: u64) -> Timespec {
    const SECOND: u64 = 1_000_000_000;
    // Both fit: 2^64 nanoseconds are fewer than 2^35 seconds.
    Timespec { tv_sec: (nanoseconds / SECOND) as i64, tv_nsec: (nanoseconds % SECOND) as _ }
}

/// The content of [`MACHINE_ID`].
pub(super) fn machine_id(id: &[u8; 16]) -> String {
    let mut text = String::with_capacity(33);
    for byte in id {
        // Writing to a String can't fail.
        write!(text, "{byte:02x}").ok();
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_id_is_32_digits_and_a_line() {
        assert_eq!(machine_id(&[0x0a; 16]), format!("{}\n", "0a".repeat(16)));
    }

    #[test]
    fn nanoseconds_are_seconds_and_a_rest() {
        let time = since_1970(1_700_000_000_000_000_007);
        assert_eq!((time.tv_sec, time.tv_nsec), (1_700_000_000, 7));
        assert_eq!(since_1970(u64::MAX).tv_sec, 18_446_744_073);
    }
}
