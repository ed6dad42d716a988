//! What an image says of the commands that run in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BoxPath, ByteString, EnvVar, UserSpec};

/// The part of an OCI image configuration that decides how a command starts (image-spec, `config.md`). Whoever reads an
/// image has checked it: an image is hostile input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageConfig {
    /// Stands before the command of `run`.
    pub entrypoint: Vec<ByteString>,
    /// The command where `run` is given none.
    pub command: Vec<ByteString>,
    /// Variables, below all that the user says.
    pub env: Vec<EnvVar>,
    /// Where commands start.
    pub workdir: Option<BoxPath>,
    /// Who runs them.
    pub user: Option<UserSpec>,
}

impl ImageConfig {
    /// The program and arguments of a `run`, as `docker run` has it: `entrypoint` given by the user replaces the image's
    /// own and drops the image's command; what the user types replaces the image's command. Empty where nobody names
    /// anything to run.
    pub fn argv(&self, entrypoint: Option<&[ByteString]>, command: &[ByteString]) -> Vec<ByteString> {
        let (start, default): (&[ByteString], &[ByteString]) = match entrypoint {
            Some(given) => (given, &[]),
            None => (&self.entrypoint, &self.command),
        };
        let rest = if command.is_empty() { default } else { command };
        start.iter().chain(rest).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<ByteString> {
        text.split_whitespace().map(ByteString::from).collect()
    }

    #[test]
    fn entrypoint_and_command_follow_docker_run() {
        let both =
            ImageConfig { entrypoint: words("/init --"), command: words("serve"), ..ImageConfig::default() };
        for (entrypoint, command, expected) in [
            (None, "", "/init -- serve"),
            (None, "sh -c x", "/init -- sh -c x"),
            (Some("other"), "", "other"),
            (Some("other"), "a b", "other a b"),
            (Some(""), "sh", "sh"),
            (Some(""), "", ""),
        ] {
            let entrypoint = entrypoint.map(words);
            assert_eq!(both.argv(entrypoint.as_deref(), &words(command)), words(expected));
        }
        assert!(ImageConfig::default().argv(None, &[]).is_empty());
    }
}
