//! Control groups: limits of memory, processor time and processes for a box as a whole, on cgroup v1, v2 and machines
//! with both, as root and in a subtree that systemd delegated to a user.
//!
//! Groups are folders `agentkernel/<name>`, one in each hierarchy that a limit needs: at the top of what is mounted
//! where that may be written, else in the topmost folder above this process that may. Nothing of the user's own is
//! moved or changed. A limit that can't be set is an error: [`CgroupHost::can_limit`] says why and what to do.
//!
//! Sources: cgroups(7), the kernel's admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/.

mod error;
mod group;
mod host;
mod kill;
mod limits;
mod mounts;
mod place;

#[cfg(test)]
mod fixture_tests;
#[cfg(test)]
mod real_tests;

pub use error::CgroupError;
pub use group::{Cgroup, CgroupUsage};
pub use host::CgroupHost;
pub use limits::{CgroupLimits, MOST_PIDS, Resource};
pub use place::Missing;
