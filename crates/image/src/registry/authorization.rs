//! Saying who asks: nobody, until the server wants to know; then as it wants to know it (RFC 9110, section 11). What it
//! wants and the token for it are remembered for as long as they hold.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use crate::ImageError;
use crate::registry::challenge::{Challenge, parse};
use crate::registry::credential::{Credentials, Found, Login};
use crate::registry::endpoint::Endpoint;
use crate::registry::failure::Failure;
use crate::registry::token::{Token, TokenServer};

/// What one server is shown. Behind a lock, so that parallel requests fetch a token once.
#[derive(Debug, Default)]
pub(crate) struct Authorization {
    wanted: Wanted,
    /// Looked for once, and only when somebody asks.
    found: Option<Found>,
}

#[derive(Debug, Default)]
enum Wanted {
    #[default]
    Nothing,
    Basic(HeaderValue),
    Token {
        server: TokenServer,
        token: Option<Token>,
    },
}

impl Authorization {
    /// What to show with the next request.
    pub(crate) async fn header(
        &mut self,
        http: &Client,
        endpoint: &Endpoint,
    ) -> Result<Option<HeaderValue>, Failure> {
        match &self.wanted {
            Wanted::Nothing => Ok(None),
            Wanted::Basic(header) => Ok(Some(header.clone())),
            Wanted::Token { token: Some(token), .. } if token.is_valid() => Ok(Some(token.header.clone())),
            Wanted::Token { server, .. } => {
                let server = server.clone();
                self.renew(http, endpoint, server).await.map(Some)
            }
        }
    }

    /// What to show instead, after the server refused `shown` with `headers`.
    pub(crate) async fn answer(
        &mut self,
        http: &Client,
        endpoint: &Endpoint,
        credentials: &Credentials,
        headers: &HeaderMap,
        shown: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Failure> {
        // Somebody else was refused just before and knows better now.
        if let Some(current) = self.current().filter(|current| Some(*current) != shown) {
            return Ok(current.clone());
        }
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> = values.flat_map(parse).collect();
        let by_scheme = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if self.found.is_none() {
            self.found = Some(credentials.find(&endpoint.name, endpoint.repository()).await);
        }
        if let Some(challenge) = by_scheme("bearer") {
            let realm = challenge.parameter("realm").unwrap_or_default();
            let server = TokenServer::new(realm, challenge.parameter("service"), endpoint)?;
            return self.renew(http, endpoint, server).await;
        }
        match (by_scheme("basic"), self.login()) {
            (Some(_), Some(Login::Password { user, password })) => {
                let header = basic(user, &password.0, endpoint)?;
                if shown == Some(&header) {
                    return Err(self.denied(": it refuses the password".to_owned()));
                }
                self.wanted = Wanted::Basic(header.clone());
                Ok(header)
            }
            (_, Some(Login::Bearer(token))) => bearer(&token.0, endpoint),
            _ => Err(self.denied(String::new())),
        }
    }

    fn current(&self) -> Option<&HeaderValue> {
        match &self.wanted {
            Wanted::Nothing => None,
            Wanted::Basic(header) => Some(header),
            Wanted::Token { token, .. } => token.as_ref().map(|token| &token.header),
        }
    }

    async fn renew(
        &mut self,
        http: &Client,
        endpoint: &Endpoint,
        server: TokenServer,
    ) -> Result<HeaderValue, Failure> {
        let token = server.token(http, endpoint, self.login()).await;
        let token = token.map_err(|failure| match failure {
            Failure::Denied { why, .. } => self.denied(why),
            Failure::Absent(why) => {
                Failure::answer(endpoint, "a token", format!("it isn't where it should be{why}"))
            }
            other => other,
        })?;
        let header = token.header.clone();
        self.wanted = Wanted::Token { server, token: Some(token) };
        Ok(header)
    }

    fn login(&self) -> Option<&Login> {
        self.found.as_ref()?.credential.as_ref().map(|credential| &credential.login)
    }

    /// It is not for whom we are; or for whom we can't be, since the credentials can't be had.
    pub(crate) fn denied(&self, why: String) -> Failure {
        match &self.found {
            Some(Found { credential: Some(credential), .. }) => {
                Failure::Denied { who: credential.describe(), why }
            }
            Some(Found { problem: Some(problem), .. }) => Failure::Denied {
                who: "everybody".to_owned(),
                why: format!("{why}, and credentials can't be had: {problem}"),
            },
            _ => Failure::Denied { who: "everybody".to_owned(), why },
        }
    }
}

/// RFC 7617.
pub(crate) fn basic(user: &str, password: &str, endpoint: &Endpoint) -> Result<HeaderValue, Failure> {
    secret_header(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))), endpoint)
}

/// RFC 6750, section 2.1.
pub(crate) fn bearer(token: &str, endpoint: &Endpoint) -> Result<HeaderValue, Failure> {
    secret_header(&format!("Bearer {token}"), endpoint)
}

/// Marked, so that no log shows it.
fn secret_header(text: &str, endpoint: &Endpoint) -> Result<HeaderValue, Failure> {
    let header = HeaderValue::from_str(text);
    let mut header = header.map_err(|_| {
        Failure::Final(ImageError::Credentials {
            registry: endpoint.name.clone(),
            origin: "its token or password".to_owned(),
            why: "it has characters that can't be sent".to_owned(),
        })
    })?;
    header.set_sensitive(true);
    Ok(header)
}
