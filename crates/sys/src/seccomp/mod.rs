//! System call filters: what a process in a box may ask of the kernel.
//!
//! The table is `syscalls.txt`, one row a call; the build script compiles it. The rules behind it:
//! - At least as strict as Docker's default profile without added capabilities.
//! - EPERM where a program should hear that it may not, ENOSYS where it should take another way, and ENOSYS for every
//!   call newer than the table, so that C libraries fall back.
//! - Foreign interfaces to the kernel (i386, x32, 32-bit ARM) are not served at all: i386 and ARM calls end the process
//!   with SIGSYS, x32 calls are unknown.
//! - [`Filter::Restrictive`] further refuses what ordinary tools can do without: SysV and POSIX message queues and
//!   shared memory, locked and secret memory, the old asynchronous I/O, netlink, odd personalities.
//!
//! Filters only tell calls apart by number and argument words. Paths and files are Landlock's part and the mount
//! namespace's.

#[cfg(test)]
mod checks;
#[cfg(test)]
mod compiler;
mod filter;
#[cfg(test)]
mod program_tests;
mod rule;
#[cfg(test)]
mod running_tests;

pub use filter::Filter;
pub use rule::{ArgumentTest, Outcome, Rule, RuleCase};
