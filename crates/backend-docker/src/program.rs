//! The agent's program and its own places in a box.

use agentkernel_backend::AGENT_CAPABILITIES;
use agentkernel_model::{Profile, SandboxSpec};
use agentkernel_sys::capability::{CapabilitySet, UnknownCapability};
use agentkernel_sys::seccomp::Filter;

/// All that is agentkernel's in a box is below this.
pub(crate) const FOLDER: &str = "/.agentkernel";
/// The agent's program, on an engine of this machine a file of the host's.
pub(crate) const PROGRAM: &str = "/.agentkernel/agent";
/// Where a far engine has the volume with the program.
pub(crate) const PROGRAM_VOLUME: &str = "/.agentkernel/program";
/// The program in that volume.
pub(crate) const PROGRAM_IN_VOLUME: &str = "/.agentkernel/program/agent";
/// The folder of the host's where who wants to speak to the agent waits.
pub(crate) const DOOR: &str = "/.agentkernel/door";
/// What the agent writes.
pub(crate) const OWN: &str = "/.agentkernel/own";
/// The agent's own socket, where there is no door.
pub(crate) const SOCKET: &str = "/.agentkernel/own/socket";
const LOGS: &str = "/.agentkernel/own/log";

/// What the agent needs until its network filter stands.
const NETWORK_SETUP: &str = "CAP_NET_ADMIN";

/// How the host and the agent meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a folder of this machine.
    Door,
    /// By the engine's hijacked streams.
    Engine,
}

/// The sets of one box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// What the container starts with.
    pub(crate) container: CapabilitySet,
    /// What the agent keeps once it is set up.
    agent: CapabilitySet,
    /// What commands may have.
    commands: CapabilitySet,
}

impl Capabilities {
    /// For a profile, with or without a network to filter.
    pub(crate) fn of(profile: Profile, network: bool) -> Result<Self, UnknownCapability> {
        let commands = CapabilitySet::from_names(profile.linux_capabilities())?;
        let agent = CapabilitySet::from_names(AGENT_CAPABILITIES)?.union(commands);
        let setup = CapabilitySet::from_names(network.then_some(NETWORK_SETUP))?;
        Ok(Self { container: agent.union(setup), agent, commands })
    }
}

/// The filter of system calls for a box.
pub(crate) fn filter(spec: &SandboxSpec) -> Filter {
    match spec.profile {
        Profile::Permissive | Profile::Moderate => Filter::Standard,
        Profile::Restrictive => Filter::Restrictive,
    }
}

/// The program of a container and its arguments.
pub(crate) fn command_line(
    way: Way,
    one_shot: bool,
    capabilities: &Capabilities,
    open_files: Option<u32>,
) -> Vec<String> {
    let mut words: Vec<String> = match (way, one_shot) {
        (Way::Door, _) => [PROGRAM, "--door", DOOR].map(str::to_owned).into(),
        (Way::Engine, true) => [PROGRAM_IN_VOLUME, "--stdio"].map(str::to_owned).into(),
        (Way::Engine, false) => [PROGRAM_IN_VOLUME, "--listen", SOCKET].map(str::to_owned).into(),
    };
    words.extend(one_shot.then(|| "--exit-with-stream".to_owned()));
    words.extend(open_files.into_iter().flat_map(|most| ["--open-files".to_owned(), most.to_string()]));
    words.extend(["--log-dir".to_owned(), LOGS.to_owned()]);
    words.extend(["--agent-capabilities".to_owned(), format!("{:x}", capabilities.agent.0)]);
    words.extend(["--command-capabilities".to_owned(), format!("{:x}", capabilities.commands.0)]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_over_the_network_is_no_commands_and_not_kept() {
        for profile in Profile::ALL {
            let with = Capabilities::of(profile, true).unwrap();
            let without = Capabilities::of(profile, false).unwrap();
            let admin = CapabilitySet::from_names([NETWORK_SETUP]).unwrap();
            assert_eq!(with.container.0 & !without.container.0, admin.0);
            assert_eq!((with.agent.0 | with.commands.0) & admin.0, 0);
        }
        let restrictive = Capabilities::of(Profile::Restrictive, false).unwrap();
        assert_eq!(restrictive.commands, CapabilitySet::EMPTY);
    }

    #[test]
    fn one_shot_boxes_end_with_their_stream() {
        let capabilities = Capabilities::of(Profile::Moderate, false).unwrap();
        for way in [Way::Door, Way::Engine] {
            assert!(command_line(way, true, &capabilities, None).contains(&"--exit-with-stream".to_owned()));
            assert!(
                !command_line(way, false, &capabilities, None).contains(&"--exit-with-stream".to_owned())
            );
        }
    }
}
