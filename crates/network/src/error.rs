//! Why a box got no network.

use std::io;
use std::path::PathBuf;

use agentkernel_sys::netlink::NetlinkError;
use agentkernel_sys::netlink::nftables::RulesetError;

/// Why a box got no network. Nothing of it is left when this is returned.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// This machine can't; see [`super::NetworkHost::available`].
    #[error("{why}")]
    Unavailable {
        /// Why, and what mends it.
        why: String,
    },
    /// The kernel said no.
    #[error("could not {action}")]
    Kernel {
        /// What was being done.
        action: &'static str,
        /// What it said.
        source: NetlinkError,
    },
    /// No TAP device for a virtual machine.
    #[error("could not make the machine's network device {name}")]
    Tap {
        /// Its name.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The rules could not be installed; those from before are in force.
    #[error("could not install the sandboxes' nftables rules")]
    Rules {
        /// Which, and why.
        source: RulesetError,
    },
    /// A program could not be run.
    #[error("could not run {}", path.display())]
    Program {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("{} failed to {action}: {message}", path.display())]
    ProgramFailed {
        /// Which.
        path: PathBuf,
        /// What it was to do.
        action: &'static str,
        /// What it printed, shortened.
        message: String,
    },
    /// A program did not end, or did not say that it is ready.
    #[error("{} was not ready within {seconds} s", path.display())]
    ProgramHung {
        /// Which.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A file or kernel setting could not be read or written.
    #[error("could not {action} {}", path.display())]
    File {
        /// `read`, `write`, ...
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// All candidate ranges are in use.
    #[error("every address range kept for sandboxes overlaps a route of this machine: {ranges}")]
    NoFreeRange {
        /// The candidates.
        ranges: String,
    },
    /// No free address was found in the range.
    #[error("no free address was found for the sandbox in {range} after {attempts} attempts")]
    NoFreeAddress {
        /// The range.
        range: String,
        /// How many were tried.
        attempts: usize,
    },
    /// The rules vanished as soon as they were installed.
    #[error(
        "the nftables table `inet {table}` was removed while it was being installed; is a firewall being reloaded?"
    )]
    RulesVanished {
        /// The table.
        table: &'static str,
    },
    /// An interface that stays without a link.
    #[error(
        "the sandbox's network interface {name} passes no packets; does something on this machine switch it off?"
    )]
    NotOperational {
        /// The interface on the host.
        name: String,
    },
    /// The box's first process has gone.
    #[error("the sandbox ended before it was connected to the network")]
    BoxGone,
}

impl NetworkError {
    /// For `map_err` at a call of the kernel.
    pub(super) fn kernel(action: &'static str) -> impl FnOnce(NetlinkError) -> Self {
        move |source| Self::Kernel { action, source }
    }

    /// For `map_err` at a call on a file.
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.into(), source }
    }
}
