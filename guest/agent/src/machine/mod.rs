//! The agent as the first process of a virtual machine: it meets the host over vsock, is told which box the machine is to
//! be, makes it that, and goes on as in any other box.

mod cgroup;
mod devices;
mod freezer;
mod given;
mod identity;
mod keeper;
mod listener;
mod live_mount;
mod live_mount_pump;
mod mount;
mod netlink;
mod network;
mod power;
mod process_files;
mod root;
mod run;
mod setup;

pub(crate) use keeper::{Keeper, pass_on};
pub(crate) use power::power_off;
pub(crate) use run::run;
