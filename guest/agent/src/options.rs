//! The command line: what the backend that started the agent wants.

use std::ffi::OsString;
use std::os::fd::RawFd;

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
    #[error("agentkernel-agent: give --stream-fd or --listen-fd")]
    NoStream,
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
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
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
            Some("--command-capabilities") => {
                options.command_capabilities = Some(number("--command-capabilities", 16)?);
            }
            _ => return Err(StartError::Unknown { argument: argument.clone() }),
        }
    }
    if options.stream.is_none() && options.listen.is_none() {
        return Err(StartError::NoStream);
    }
    Ok(options)
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
        };
        assert_eq!(parse(&words(line)).unwrap(), expected);
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (line, expected) in [
            ("", "give --stream-fd"),
            ("--stream-fd", "--stream-fd needs a value"),
            ("--stream-fd x", "--stream-fd needs a value"),
            ("--stream-fd 1", "from 3 on"),
            ("--stream-fd 3 --command-capabilities zz", "hexadecimal"),
            ("--nope", "unknown argument \"--nope\""),
        ] {
            let message = parse(&words(line)).unwrap_err().to_string();
            assert!(message.contains(expected), "{line}: {message}");
        }
    }
}
