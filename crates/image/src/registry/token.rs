//! Tokens: a server that the registry names gives one for a scope and a time (Docker registry token authentication
//! specification; the same with a refresh token is OAuth 2, RFC 6749 section 6).

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;

use crate::error::quoted;
use crate::registry::answer::{read_bounded, said};
use crate::registry::authorization::{basic, bearer};
use crate::registry::credential::Login;
use crate::registry::endpoint::Endpoint;
use crate::registry::failure::{Failure, of_transport};
use crate::registry::redirect;

const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// What a token lives for where nothing is said.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(60);
/// A token isn't used in its last seconds: the request has to arrive too.
const MARGIN: Duration = Duration::from_secs(5);

/// A header to show, and until when.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    until: Instant,
}

impl Token {
    pub(crate) fn is_valid(&self) -> bool {
        Instant::now() < self.until
    }

    /// One that the user gave us.
    pub(crate) fn lasting(header: HeaderValue) -> Self {
        Self { header, until: Instant::now() + Duration::from_secs(365 * 24 * 3600) }
    }
}

/// Who gives tokens for a registry.
#[derive(Debug, Clone)]
pub(crate) struct TokenServer {
    realm: Url,
    service: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl TokenServer {
    /// As `endpoint` names it. One in plain HTTP is refused where the registry itself is asked by TLS.
    pub(crate) fn new(realm: &str, service: Option<&str>, endpoint: &Endpoint) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::answer(endpoint, "who gives tokens", why);
        let mut url =
            Url::parse(realm).map_err(|error| wrong(format!("{} is no address: {error}", quoted(realm))))?;
        match url.scheme() {
            "https" => {}
            "http" if endpoint.is_plain => {}
            _ => return Err(wrong(format!("{} has no TLS", quoted(realm)))),
        }
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(wrong(format!("{} has no host", quoted(realm))));
        }
        Ok(Self { realm: url, service: service.map(str::to_owned) })
    }

    /// A token for `endpoint`'s repository, for `login` or for everybody.
    pub(crate) async fn token(
        &self,
        http: &Client,
        endpoint: &Endpoint,
        login: Option<&Login>,
    ) -> Result<Token, Failure> {
        let asked = Instant::now();
        let response = match login {
            Some(Login::Bearer(token)) => return Ok(Token::lasting(bearer(&token.0, endpoint)?)),
            Some(Login::Identity(refresh)) => {
                let body = self.form(endpoint, &refresh.0);
                let request = http.post(self.realm.clone()).body(body);
                let request = request.header("content-type", "application/x-www-form-urlencoded");
                request.send().await.map_err(|error| of_transport(error, endpoint))?
            }
            Some(Login::Password { user, password }) => {
                let header = basic(user, &password.0, endpoint)?;
                redirect::get(http, endpoint, self.query(endpoint), &HeaderMap::new(), Some(header)).await?
            }
            None => redirect::get(http, endpoint, self.query(endpoint), &HeaderMap::new(), None).await?,
        };
        if !response.status().is_success() {
            return Err(said(response, endpoint, "a token").await);
        }
        let bytes = read_bounded(response, ANSWER_BYTES_MAX, "a token", endpoint).await?;
        let answer: Answer = serde_json::from_slice(&bytes)
            .map_err(|_| Failure::answer(endpoint, "a token", "it isn't what the specification says"))?;
        let Some(token) = answer.token.or(answer.access_token).filter(|token| !token.is_empty()) else {
            return Err(Failure::answer(endpoint, "a token", "there is none in it"));
        };
        let lifetime = answer.expires_in.map_or(LIFETIME_DEFAULT, Duration::from_secs);
        let until = asked.checked_add(lifetime.saturating_sub(MARGIN)).unwrap_or(asked);
        Ok(Token { header: bearer(&token, endpoint)?, until })
    }

    fn query(&self, endpoint: &Endpoint) -> Url {
        let mut url = self.realm.clone();
        url.query_pairs_mut()
            .extend_pairs(self.service.as_ref().map(|service| ("service", service)))
            .append_pair("scope", &endpoint.scope());
        url
    }

    fn form(&self, endpoint: &Endpoint, refresh_token: &str) -> String {
        let mut url = self.realm.clone();
        url.set_query(None);
        url.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", self.service.as_deref().unwrap_or_default())
            .append_pair("client_id", "agentkernel")
            .append_pair("scope", &endpoint.scope())
            .append_pair("refresh_token", refresh_token);
        url.query().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistrySettings;

    #[test]
    fn who_gives_tokens_has_tls_where_the_registry_has_it() {
        let mut settings = RegistrySettings::default();
        settings.insecure.insert("plain:5000".to_owned());
        let endpoint =
            |reference: &str| Endpoint::all(&reference.parse().unwrap(), &settings).unwrap().pop().unwrap();
        let (safe, plain) = (endpoint("reg.io/a/b"), endpoint("plain:5000/a/b"));
        let server = TokenServer::new("https://u:p@auth.io/token?x=1", Some("reg io"), &safe).unwrap();
        let expected = "https://auth.io/token?x=1&service=reg+io&scope=repository%3Aa%2Fb%3Apull";
        assert_eq!(server.query(&safe).as_str(), expected);
        assert!(TokenServer::new("http://auth.io/token", None, &plain).is_ok());
        for bad in ["http://auth.io/token", "", "file:///etc/passwd", "mailto:x"] {
            assert!(TokenServer::new(bad, None, &safe).is_err(), "{bad}");
        }
    }
}
