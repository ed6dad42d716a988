//! Safe wrappers of Linux: namespaces, mounts, cgroups, seccomp, Landlock, netlink, processes. The one home of
//! `unsafe` on the host.

pub mod capability;
pub mod cgroup;
pub mod companion;
pub mod descriptor_channel;
mod descriptor_table;
pub mod ext4_file;
#[cfg(test)]
mod forked;
pub mod inherited;
pub mod kvm;
pub mod landlock;
pub mod loop_device;
pub mod loopback;
pub mod mount;
pub mod netlink;
pub mod open_resolved;
pub mod overlay;
pub mod process;
mod raw_syscall;
pub mod remove_tree;
pub mod rlimit;
pub mod seccomp;
pub mod standard_streams;
pub mod steps;
pub mod tap;
pub mod tree_channel;
