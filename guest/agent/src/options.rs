//! The command line: what the backend that started the agent wants.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// What the backend wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// A connected stream that speaks the protocol.
    pub(crate) stream: Option<RawFd>,
    /// A listening unix socket.
    pub(crate) listen: Option<RawFd>,
    /// Everything ends with the stream.
    pub(crate) exit_with_stream: bool,
    /// Where detached commands' logs go.
    pub(crate) log_dir: Option<RawFd>,
    /// The capabilities that commands may keep; `None` is all that the agent has.
    pub(crate) command_capabilities: Option<u64>,
    /// Where no descriptor can be handed over: how the host is met, and what is kept once it has sent the set-up.
    pub(crate) meeting: Option<Meeting>,
    /// The capabilities that the agent keeps after its set-up; `None` is all that it has.
    pub(crate) agent_capabilities: Option<u64>,
    /// The most files that any process may have open.
    pub(crate) open_files: Option<u64>,
    /// Where detached commands' logs go; made where it is missing.
    pub(crate) log_dir_path: Option<PathBuf>,
    /// Not an agent at all: moves bytes between its standard streams and the socket of the box's agent.
    pub(crate) relay: Option<PathBuf>,
}

/// How the host is met where the backend can't hand over a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// The host puts listening sockets into this folder, which the box can't write; the agent connects to each.
    Door(PathBuf),
    /// The agent listens on this path, for processes that the engine puts into the box.
    Listen(PathBuf),
    /// Over standard input and output.
    Stdio,
    /// Over vsock, as the first process of a virtual machine, which is made a box first.
    Machine,
}

/// Why the agent can't start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// An argument that isn't known.
    #[error("agentkernel-agent: unknown argument {argument:?}")]
    Unknown {
        /// The argument.
        argument: OsString,
    },
    /// An argument without its value, or a wrong one.
    #[error("agentkernel-agent: {argument} needs a value: {needs}")]
    Value {
        /// The argument.
        argument: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// Nobody could ever talk to it.
    #[error(
        "agentkernel-agent: give --stream-fd, --listen-fd, --door, --listen, --stdio, --relay or machine"
    )]
    NoStream,
    /// What the host sent could not be done.
    #[error("agentkernel-agent: could not set up: {reason}")]
    Setup {
        /// Why.
        reason: String,
    },
    /// It would change the machine that it runs on.
    #[error("agentkernel-agent: only the first process of a virtual machine can make it a box")]
    NotFirst,
    /// Nobody waits any more for a box of one stream.
    #[error("agentkernel-agent: the box's owner is gone")]
    OwnerGone,
    /// A step failed.
    #[error("agentkernel-agent: could not {action}: {source}")]
    Step {
        /// The step.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl StartError {
    /// For `map_err`.
    pub(crate) fn step<E: Into<std::io::Error>>(action: &'static str) -> impl Fn(E) -> Self {
        move |source| Self::Step { action, source: source.into() }
    }
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Options, StartError> {
    let mut options = Options::default();
    // A kernel hands its first process all words of its own command line that it doesn't know (kernel-parameters of the
    // Linux documentation): "machine" is the one for us.
    let is_machine = arguments.iter().any(|argument| argument == "machine");
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if let Some(known) = path_option(argument) {
            let needs = "an absolute path";
            let path = rest.next().map(PathBuf::from).filter(|path| path.is_absolute());
            let path = path.ok_or(StartError::Value { argument: known, needs })?;
            match known {
                "--door" => options.meeting = Some(Meeting::Door(path)),
                "--listen" => options.meeting = Some(Meeting::Listen(path)),
                "--relay" => options.relay = Some(path),
                _ => options.log_dir_path = Some(path),
            }
            continue;
        }
        let mut number = |argument, radix| {
            let text = rest.next().and_then(|value| value.to_str());
            text.and_then(|text| u64::from_str_radix(text, radix).ok()).ok_or(StartError::Value {
                argument,
                needs: if radix == 16 { "a hexadecimal mask" } else { "a number" },
            })
        };
        let descriptor = |number: u64, argument| {
            let needs = "a file descriptor from 3 on";
            RawFd::try_from(number).ok().filter(|fd| *fd > 2).ok_or(StartError::Value { argument, needs })
        };
        match argument.to_str() {
            Some("--stream-fd") => {
                options.stream = Some(descriptor(number("--stream-fd", 10)?, "--stream-fd")?)
            }
            Some("--listen-fd") => {
                options.listen = Some(descriptor(number("--listen-fd", 10)?, "--listen-fd")?)
            }
            Some("--log-dir-fd") => {
                options.log_dir = Some(descriptor(number("--log-dir-fd", 10)?, "--log-dir-fd")?)
            }
            Some("--exit-with-stream") => options.exit_with_stream = true,
            Some("--stdio") => options.meeting = Some(Meeting::Stdio),
            Some("machine") => options.meeting = Some(Meeting::Machine),
            Some("--agent-capabilities") => {
                options.agent_capabilities = Some(number("--agent-capabilities", 16)?);
            }
            Some("--open-files") => options.open_files = Some(number("--open-files", 10)?),
            Some("--command-capabilities") => {
                options.command_capabilities = Some(number("--command-capabilities", 16)?);
            }
            _ if is_machine => {}
            _ => return Err(StartError::Unknown { argument: argument.clone() }),
        }
    }
    let way_in = options.stream.is_some() || options.listen.is_some() || options.meeting.is_some();
    if !way_in && options.relay.is_none() {
        return Err(StartError::NoStream);
    }
    Ok(options)
}

/// The options that take a path.
fn path_option(argument: &OsString) -> Option<&'static str> {
    ["--door", "--listen", "--relay", "--log-dir"].into_iter().find(|known| argument == known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn all_arguments_are_read() {
        let line =
            "--stream-fd 3 --listen-fd 4 --exit-with-stream --log-dir-fd 5 --command-capabilities a80425fb";
        let expected = Options {
            stream: Some(3),
            listen: Some(4),
            exit_with_stream: true,
            log_dir: Some(5),
            command_capabilities: Some(0xa804_25fb),
            ..Options::default()
        };
        assert_eq!(parse(&words(line)).unwrap(), expected);
    }

    #[test]
    fn meetings_are_read() {
        let line = "--door /d --log-dir /l --agent-capabilities ff --exit-with-stream --open-files 77";
        let expected = Options {
            meeting: Some(Meeting::Door("/d".into())),
            log_dir_path: Some("/l".into()),
            agent_capabilities: Some(0xff),
            open_files: Some(77),
            exit_with_stream: true,
            ..Options::default()
        };
        assert_eq!(parse(&words(line)).unwrap(), expected);
        assert_eq!(parse(&words("--stdio")).unwrap().meeting, Some(Meeting::Stdio));
        assert_eq!(parse(&words("--listen /s")).unwrap().meeting, Some(Meeting::Listen("/s".into())));
        assert_eq!(parse(&words("--relay /s")).unwrap().relay, Some("/s".into()));
        let machine =
            parse(&words("nosuch machine --listen-fd 5 virtio_mmio.device=512@0xfeb00e00:12")).unwrap();
        assert_eq!((machine.meeting, machine.listen), (Some(Meeting::Machine), Some(5)));
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (line, expected) in [
            ("", "give --stream-fd"),
            ("--stream-fd", "--stream-fd needs a value"),
            ("--stream-fd x", "--stream-fd needs a value"),
            ("--stream-fd 1", "from 3 on"),
            ("--stream-fd 3 --command-capabilities zz", "hexadecimal"),
            ("--door", "--door needs a value"),
            ("--listen relative", "an absolute path"),
            ("--nope", "unknown argument \"--nope\""),
        ] {
            let message = parse(&words(line)).unwrap_err().to_string();
            assert!(message.contains(expected), "{line}: {message}");
        }
    }
}
