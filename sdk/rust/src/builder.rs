//! The settings of a client.

use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderValue;

use crate::target::Target;
use crate::{AgentKernel, Error};

/// Where a server listens unless it is told otherwise.
pub const DEFAULT_BASE_URL: &str = "http://localhost:18888";
/// How long an answer is waited for. A command's own time limit is added to it.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer that is read as a whole.
const DEFAULT_MAX_ANSWER_BYTES: usize = 256 << 20;
/// The variables that [`Builder::variables`] asks for.
const BASE_URL: &str = "AGENTKERNEL_BASE_URL";
const API_KEY: &str = "AGENTKERNEL_API_KEY";

/// Makes an [`AgentKernel`]. What was set by a method counts more than what [`Builder::variables`] finds, and that more
/// than the defaults: [`DEFAULT_BASE_URL`], no key, [`DEFAULT_TIMEOUT`].
#[derive(Clone, Default)]
pub struct Builder {
    socket: Option<PathBuf>,
    base_url: Option<String>,
    api_key: Option<String>,
    timeout: Option<Duration>,
    max_answer_bytes: Option<usize>,
}

impl Builder {
    /// `http://HOST[:PORT][/PATH]`; slashes at the end don't matter.
    #[must_use]
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// The daemon's unix socket instead of a URL.
    #[must_use]
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// The key that is sent as `Authorization: Bearer KEY`.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// How long to wait for an answer, or for the beginning of one that streams. The time limit of a command that the
    /// request names is added.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The most bytes of an answer that is read as a whole; streams have no such end.
    #[must_use]
    pub fn max_answer_bytes(mut self, bytes: usize) -> Self {
        self.max_answer_bytes = Some(bytes);
        self
    }

    /// Takes `AGENTKERNEL_BASE_URL` and `AGENTKERNEL_API_KEY` from the function where nothing was set: a program passes
    /// the one of the standard library that reads its environment.
    #[must_use]
    pub fn variables(mut self, mut read: impl FnMut(&str) -> Option<String>) -> Self {
        let mut find = |name: &str| read(name).filter(|value| !value.is_empty());
        if self.socket.is_none() && self.base_url.is_none() {
            self.base_url = find(BASE_URL);
        }
        if self.api_key.is_none() {
            self.api_key = find(API_KEY);
        }
        self
    }

    /// The client. Nothing is connected yet.
    pub fn build(self) -> Result<AgentKernel, Error> {
        let target = match (self.socket, self.base_url) {
            (Some(path), _) => Target::unix(path),
            (None, Some(url)) => Target::url(&url)?,
            (None, None) => Target::url(DEFAULT_BASE_URL)?,
        };
        let key = self.api_key.map(|key| authorization(&key)).transpose()?;
        Ok(AgentKernel::new(
            target,
            key,
            self.timeout.unwrap_or(DEFAULT_TIMEOUT),
            self.max_answer_bytes.unwrap_or(DEFAULT_MAX_ANSWER_BYTES),
        ))
    }
}

fn authorization(key: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| Error::Setting {
        setting: "API key",
        // The key itself has no place in a message.
        value: format!("of {} bytes", key.len()),
        problem: "it holds characters that no header may hold".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_counts_more_than_the_variables() {
        let read = |name: &str| match name {
            BASE_URL => Some("http://other:1/".to_owned()),
            API_KEY => Some(String::new()),
            _ => None,
        };
        let client = AgentKernel::builder().variables(read).build().unwrap();
        assert_eq!(client.address(), "other:1");
        let client = AgentKernel::builder().base_url("http://mine:2").variables(read).build().unwrap();
        assert_eq!(client.address(), "mine:2");
        let client = AgentKernel::builder().build().unwrap();
        assert_eq!(client.address(), "localhost:18888");
        let client = AgentKernel::unix("/run/s").variables(read).build().unwrap();
        assert_eq!(client.address(), "/run/s");
    }

    #[test]
    fn a_key_that_no_header_can_hold_is_not_shown() {
        let error = AgentKernel::builder().api_key("se\ncret").build().err().unwrap().to_string();
        assert!(!error.contains("cret"), "{error}");
    }
}
