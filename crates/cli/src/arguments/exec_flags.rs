//! How a command is joined to the caller: input, terminal, variables.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use agentkernel_config::{ConfigError, EnvFlag, Environment};
use agentkernel_model::{ByteString, EnvVar, TtySize};

use super::sandbox_flags::parse_env;
use crate::output::CliError;
use crate::session::{RawTerminal, terminal_size};
use crate::stdio::StandardInput;

/// `-i` and `-t`.
#[derive(Debug, Default, Clone, Copy, clap::Args)]
pub(crate) struct TerminalFlags {
    /// Connect standard input even where it is a terminal; a pipe or file is connected without it
    #[arg(short, long, help_heading = "Command")]
    pub(crate) interactive: bool,
    /// Give the command a terminal; needs one here, and -i to type into it
    #[arg(short, long, help_heading = "Command")]
    pub(crate) tty: bool,
}

impl TerminalFlags {
    /// Whether standard input is connected.
    pub(crate) fn stdin(self) -> bool {
        self.interactive || StandardInput::is_redirected()
    }

    /// Makes our terminal raw where the command has one and is typed into; dropping the result puts it back.
    pub(crate) fn raw(self) -> Result<Option<RawTerminal>, CliError> {
        let raw = (self.interactive && self.tty).then(RawTerminal::enter);
        raw.transpose().map_err(|source| CliError::io("make the terminal raw", source))
    }

    /// The terminal's size where one is wanted; refuses `-t` without a terminal.
    pub(crate) fn size(self, environment: &Environment) -> Result<Option<TtySize>, CliError> {
        if self.tty { terminal_for(environment).map(Some) } else { Ok(None) }
    }
}

/// The size of the caller's terminal; an error where standard input is none.
pub(crate) fn terminal_for(environment: &Environment) -> Result<TtySize, CliError> {
    if !environment.interactive_stdin {
        return Err(CliError::usage("-t needs a terminal, and standard input is none: leave out -t"));
    }
    Ok(terminal_size().unwrap_or(TtySize { rows: 24, columns: 80 }))
}

/// The kind of the caller's terminal, for a command that gets one.
pub(crate) fn terminal_kind(tty: Option<TtySize>, environment: &Environment) -> Option<EnvVar> {
    let kind = environment.var("TERM").filter(|kind| tty.is_some() && !kind.is_empty())?;
    Some(EnvVar { name: "TERM".into(), value: ByteString(kind.as_bytes().to_vec()) })
}

/// The variables of `-e` flags, each `NAME` replaced by the caller's value.
pub(crate) fn caller_env(flags: &[OsString], environment: &Environment) -> Result<Vec<EnvVar>, CliError> {
    parse_env(flags)?.into_iter().map(|flag| resolve(flag, environment)).collect()
}

/// `NAME=VALUE`; a name alone is refused, since nobody is there whose value it could be.
pub(crate) fn parse_variable(flag: &std::ffi::OsStr) -> Result<EnvVar, CliError> {
    match parse_env(&[flag.to_owned()])?.pop() {
        Some(EnvFlag::Set(variable)) => Ok(variable),
        _ => Err(CliError::usage(format!("--env {}: give NAME=VALUE", flag.display()))),
    }
}

fn resolve(flag: EnvFlag, environment: &Environment) -> Result<EnvVar, CliError> {
    match flag {
        EnvFlag::Set(variable) => Ok(variable),
        EnvFlag::FromCaller(name) => {
            let value = environment.vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
            let value = value
                .ok_or_else(|| ConfigError::UnsetVariable { name: name.to_string_lossy().into_owned() })?;
            Ok(EnvVar { name: ByteString(name.into_vec()), value: ByteString(value.clone().into_vec()) })
        }
    }
}
