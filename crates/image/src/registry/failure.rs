//! Why one request to one server failed, and whether another could succeed.

use std::error::Error;
use std::time::Duration;

use crate::error::tame;
use crate::registry::endpoint::Endpoint;
use crate::{ImageError, Reference};

/// For a registry that was named insecure and doesn't understand us.
pub(crate) const MAYBE_TLS: &str = "; perhaps it speaks TLS: then don't name it in `insecure` of `[images]`";

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The same may succeed later.
    Passing {
        /// Why.
        why: String,
        /// How long the server asks us to wait.
        pause: Option<Duration>,
        /// Whether there was a connection.
        is_connected: bool,
    },
    /// No use in trying again, nor in blaming the image.
    Unreachable(String),
    /// It doesn't have it; what it said.
    Absent(String),
    /// It doesn't give it to us.
    Denied {
        /// `everybody`, or whose credentials were shown.
        who: String,
        /// What it said.
        why: String,
    },
    /// All else.
    Final(ImageError),
}

impl Failure {
    /// For an answer that breaks the rules.
    pub(crate) fn answer(endpoint: &Endpoint, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Final(ImageError::Answer { registry: endpoint.describe(), what: what.into(), why: why.into() })
    }

    /// For people.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::Passing { why, .. } | Self::Unreachable(why) => why.clone(),
            Self::Absent(why) => format!("it doesn't have it{why}"),
            Self::Denied { who, why } => format!("it doesn't give it to {who}{why}"),
            Self::Final(error) => error.to_string(),
        }
    }

    /// As the end of it: `endpoint` was the last who could be asked for `reference`; `others` is what became of those
    /// before.
    pub(crate) fn into_error(
        self,
        endpoint: &Endpoint,
        reference: &Reference,
        others: &[String],
    ) -> ImageError {
        let (reference, registry) = (reference.familiar(), endpoint.name.clone());
        match self {
            Self::Passing { why, .. } | Self::Unreachable(why) => {
                let all: Vec<&str> = others.iter().map(String::as_str).chain([why.as_str()]).collect();
                ImageError::Unreachable { reference, registry, why: all.join("; ") }
            }
            Self::Absent(why) => ImageError::NotFound { reference, registry, why },
            Self::Denied { who, why } => {
                let fix = format!(
                    "check the name; if it is right, log in with `docker login {registry}` or `podman login {registry}`"
                );
                ImageError::Denied { reference, registry, who, why, fix }
            }
            Self::Final(error) => error,
        }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::Final(error)
    }
}

/// What the HTTP library reports about a request to `endpoint`.
pub(crate) fn of_transport(error: reqwest::Error, endpoint: &Endpoint) -> Failure {
    let is_connected = !error.is_connect();
    let mut innermost: &dyn Error = &error;
    let mut is_tls = false;
    while let Some(source) = innermost.source() {
        innermost = source;
        is_tls |= innermost.is::<rustls::Error>();
    }
    let mut why = tame(&innermost.to_string());
    if error.is_timeout() {
        let what = if is_connected { "nothing came any more" } else { "no connection in time" };
        let why = format!("{what} ({why})");
        // Whoever doesn't answer at all has taken its time already.
        return if is_connected {
            Failure::Passing { why, pause: None, is_connected }
        } else {
            Failure::Unreachable(why)
        };
    }
    is_tls |=
        ["peer certificate", "corrupt message", "TLS", "certificate"].iter().any(|sign| why.contains(sign));
    if is_tls && !is_connected {
        why.push_str(&tls_hint(&why, endpoint));
        return Failure::Unreachable(why);
    }
    if endpoint.is_plain && is_connected {
        why.push_str(MAYBE_TLS);
    }
    Failure::Passing { why, pause: None, is_connected }
}

fn tls_hint(why: &str, endpoint: &Endpoint) -> String {
    let name = &endpoint.name;
    if why.contains("corrupt message") {
        format!(
            "; it seems not to speak TLS: if plain HTTP is meant, name it: `insecure = [\"{name}\"]` in `[images]`"
        )
    } else if why.contains("UnknownIssuer") {
        "; if its certificate authority is your own, name that one's file: `ca = [\"FILE\"]` in `[images]`"
            .to_owned()
    } else {
        String::new()
    }
}
