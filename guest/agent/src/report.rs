//! What a supervisor and the agent say to each other: fixed small messages over a packet socket.

use rustix::io::Errno;

/// How far a command came before it failed to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Making the process.
    Fork,
    /// Session, terminal, standard streams.
    Setup,
    /// Capabilities.
    Capabilities,
    /// User and groups.
    User,
    /// Working directory.
    Workdir,
    /// No such program.
    Search,
    /// The program is there, what it needs to run isn't.
    Interpreter,
    /// The program itself.
    Exec,
}

impl Stage {
    const ALL: [Self; 8] = [
        Self::Fork,
        Self::Setup,
        Self::Capabilities,
        Self::User,
        Self::Workdir,
        Self::Search,
        Self::Interpreter,
        Self::Exec,
    ];
}

/// Why a command didn't start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartFailure {
    /// How far it came.
    pub(crate) stage: Stage,
    /// The kernel's reason.
    pub(crate) error: Errno,
}

impl StartFailure {
    /// On the wire.
    pub(crate) fn encode(self) -> [u8; 5] {
        encode(self.stage as u8, self.error.raw_os_error())
    }

    /// Back from the wire.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (stage, error) = decode(bytes)?;
        let stage = Stage::ALL.get(usize::from(stage)).copied()?;
        Some(Self { stage, error: Errno::from_raw_os_error(error) })
    }
}

/// From a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The command's process is there, with this id, and about to become the command.
    Forked(i32),
    /// It has become the command.
    Started,
    /// It doesn't.
    Failed(StartFailure),
    /// It ended, with this wait status.
    Ended(i32),
}

impl Report {
    /// On the wire.
    pub(crate) fn encode(self) -> [u8; 6] {
        let (tag, [a, b, c, d, e]) = match self {
            Self::Forked(pid) => (0, encode(0, pid)),
            Self::Started => (3, encode(0, 0)),
            Self::Failed(failure) => (1, failure.encode()),
            Self::Ended(status) => (2, encode(0, status)),
        };
        [tag, a, b, c, d, e]
    }

    /// Back from the wire.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            0 => decode(rest).map(|(_, pid)| Self::Forked(pid)),
            3 => Some(Self::Started),
            1 => StartFailure::decode(rest).map(Self::Failed),
            2 => decode(rest).map(|(_, status)| Self::Ended(status)),
            _ => None,
        }
    }
}

/// To a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// A signal to the command's process group.
    Signal(i32),
    /// The end of the whole tree.
    KillTree,
}

impl Order {
    /// On the wire.
    pub(crate) fn encode(self) -> [u8; 5] {
        match self {
            Self::Signal(signal) => encode(0, signal),
            Self::KillTree => encode(1, 0),
        }
    }

    /// Back from the wire.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        match decode(bytes)? {
            (0, signal) => Some(Self::Signal(signal)),
            (1, _) => Some(Self::KillTree),
            _ => None,
        }
    }
}

fn encode(tag: u8, number: i32) -> [u8; 5] {
    let [a, b, c, d] = number.to_ne_bytes();
    [tag, a, b, c, d]
}

fn decode(bytes: &[u8]) -> Option<(u8, i32)> {
    let (tag, number) = bytes.split_first()?;
    Some((*tag, i32::from_ne_bytes(number.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_and_orders_survive_the_socket() {
        for stage in Stage::ALL {
            let report = Report::Failed(StartFailure { stage, error: Errno::ACCESS });
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        for report in [Report::Forked(7), Report::Started, Report::Ended(256)] {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        for order in [Order::Signal(15), Order::KillTree] {
            assert_eq!(Order::decode(&order.encode()), Some(order));
        }
        assert_eq!(Report::decode(&[]), None);
        assert_eq!(Report::decode(&[9, 0, 0, 0, 0, 0]), None);
    }
}
