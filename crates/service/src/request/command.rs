//! What is asked of one command.

use std::time::Duration;

use agentkernel_api::{self as api, Encoding, ExecRequest, RunRequest};
use agentkernel_engine::ExecPlan;
use agentkernel_model::{ByteString, EnvVar};
use bytes::Bytes;

use super::{box_path, decode, parse};
use crate::{Input, Limits, ServiceError};

/// The checked fields that `run` and `exec` share.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommandWish {
    pub(crate) words: Vec<String>,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) workdir: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) stdin: Option<Bytes>,
    pub(crate) open_stdin: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) encoding: Encoding,
    pub(crate) max_output_bytes: u64,
}

impl CommandWish {
    /// Of an exec.
    pub(crate) fn of_exec(request: ExecRequest, input: Input, limits: &Limits) -> Result<Self, ServiceError> {
        if request.command.is_empty() {
            return Err(ServiceError::invalid("command", "it is empty; give a program and its arguments"));
        }
        let wish = Self {
            words: words(request.command)?,
            env: variables(request.env)?,
            workdir: request.workdir,
            user: request.user,
            timeout: timeout(request.timeout_ms, limits)?,
            encoding: request.encoding,
            max_output_bytes: output_limit(request.max_output_bytes, limits)?,
            ..Self::default()
        };
        wish.with_input(request.stdin, request.stdin_encoding, input)
    }

    /// Takes the command's part out of a run.
    pub(crate) fn of_run(
        request: &mut RunRequest,
        input: Input,
        limits: &Limits,
    ) -> Result<Self, ServiceError> {
        let wish = Self {
            words: words(std::mem::take(&mut request.command))?,
            env: variables(std::mem::take(&mut request.env))?,
            timeout: timeout(request.timeout_ms, limits)?,
            encoding: request.encoding,
            max_output_bytes: output_limit(request.max_output_bytes, limits)?,
            ..Self::default()
        };
        wish.with_input(request.stdin.take(), request.stdin_encoding, input)
    }

    fn with_input(
        mut self,
        stdin: Option<String>,
        encoding: Encoding,
        input: Input,
    ) -> Result<Self, ServiceError> {
        self.open_stdin = input == Input::Open;
        match stdin {
            Some(_) if self.open_stdin => Err(ServiceError::invalid(
                "stdin",
                "standard input comes over the connection here; leave it out",
            )),
            Some(text) => {
                self.stdin = Some(decode("stdin", text, encoding)?);
                Ok(self)
            }
            None => Ok(self),
        }
    }

    /// The plan for a box that exists. Workdir and user are the sandbox's own where none are named.
    pub(crate) fn plan(&self, argv: Vec<ByteString>) -> Result<ExecPlan, ServiceError> {
        let workdir = self.workdir.as_deref().map(|text| box_path("workdir", text)).transpose()?;
        let user = self.user.as_deref().map(|text| parse("user", text)).transpose()?;
        Ok(ExecPlan {
            argv,
            env: self.env.clone(),
            workdir,
            user,
            stdin: self.stdin.is_some() || self.open_stdin,
            tty: None,
            timeout: self.timeout,
            detached_log_limit: None,
        })
    }

    /// The words as bytes.
    pub(crate) fn argv(&self) -> Vec<ByteString> {
        self.words.iter().map(|word| word.as_str().into()).collect()
    }
}

fn words(words: Vec<String>) -> Result<Vec<String>, ServiceError> {
    match words.iter().position(|word| word.contains('\0')) {
        Some(at) => Err(ServiceError::invalid(&format!("command[{at}]"), "it holds a NUL byte")),
        None => Ok(words),
    }
}

/// Environment variables. Errors show names, never values.
pub(crate) fn variables(environment: api::Environment) -> Result<Vec<EnvVar>, ServiceError> {
    let pairs: Vec<(String, String)> = match environment {
        api::Environment::Map(map) => map.into_iter().collect(),
        api::Environment::List(list) => list
            .into_iter()
            .enumerate()
            .map(|(n, entry)| match entry.split_once('=') {
                Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                None => Err(ServiceError::invalid(&format!("env[{n}]"), "it is not of the form NAME=VALUE")),
            })
            .collect::<Result<_, _>>()?,
    };
    pairs.into_iter().map(|(name, value)| variable(name, value)).collect()
}

fn variable(name: String, value: String) -> Result<EnvVar, ServiceError> {
    let why = match () {
        () if name.is_empty() => "a name is empty",
        () if name.contains('=') => "a name holds '='",
        () if name.contains('\0') => "a name holds a NUL byte",
        () if value.contains('\0') => "a value holds a NUL byte",
        () => return Ok(EnvVar { name: name.into(), value: value.into() }),
    };
    Err(ServiceError::invalid("env", format_args!("{why}: {name:?}")))
}

/// The time that a command is given; longer than the server allows is refused, not cut.
fn timeout(asked_ms: Option<u64>, limits: &Limits) -> Result<Option<Duration>, ServiceError> {
    let Some(asked) = asked_ms.map(Duration::from_millis) else { return Ok(None) };
    if asked.is_zero() {
        return Err(ServiceError::invalid(
            "timeout_ms",
            "0 leaves no time; leave it out for the server's own",
        ));
    }
    if asked > limits.max_timeout {
        let most = limits.max_timeout.as_millis();
        return Err(ServiceError::invalid("timeout_ms", format_args!("this server allows {most} at most")));
    }
    Ok(Some(asked))
}

fn output_limit(asked: Option<u64>, limits: &Limits) -> Result<u64, ServiceError> {
    match asked {
        Some(asked) if asked > limits.max_output_bytes => {
            let most = limits.max_output_bytes;
            let why = format!("this server keeps {most} at most; take the output as a stream");
            Err(ServiceError::invalid("max_output_bytes", why))
        }
        asked => Ok(asked.unwrap_or(limits.max_output_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn variables_come_as_object_or_list_and_errors_hide_values() {
        let map = api::Environment::Map(BTreeMap::from([("A".to_owned(), "1=2".to_owned())]));
        let list = api::Environment::List(vec!["A=1=2".to_owned()]);
        assert_eq!(variables(map).unwrap(), variables(list).unwrap());
        for (name, value) in [("", "s3cret"), ("A=", "s3cret"), ("A\0", "s3cret"), ("A", "s3cret\0")] {
            let map = api::Environment::Map(BTreeMap::from([(name.to_owned(), value.to_owned())]));
            let error = variables(map).unwrap_err();
            assert!(!error.message.contains("s3cret"), "{error}");
        }
        assert!(variables(api::Environment::List(vec!["s3cret".to_owned()])).is_err());
    }

    #[test]
    fn more_than_the_server_allows_is_refused_by_name() {
        let limits =
            Limits { max_timeout: Duration::from_secs(1), max_output_bytes: 10, ..Limits::default() };
        for (request, field) in [
            (ExecRequest { timeout_ms: Some(1001), ..ExecRequest::default() }, "timeout_ms"),
            (ExecRequest { timeout_ms: Some(0), ..ExecRequest::default() }, "timeout_ms"),
            (ExecRequest { max_output_bytes: Some(11), ..ExecRequest::default() }, "max_output_bytes"),
        ] {
            let request = ExecRequest { command: vec!["x".to_owned()], ..request };
            let error = CommandWish::of_exec(request, Input::Request, &limits).unwrap_err();
            assert!(error.message.starts_with(field), "{error}");
        }
    }
}
