//! Docker's `config.json` and Podman's `auth.json` (containers-auth.json(5)).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::DOCKER_HUB;
use crate::registry::credential::{Login, Secret};

const FILE_BYTES_MAX: u64 = 1 << 20;

/// One file's credentials. Its other keys are none of our business.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialFile {
    #[serde(default)]
    auths: BTreeMap<String, Option<Auth>>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth")
    }
}

/// What a file says for a registry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The login itself.
    Login(Login),
    /// Who has it: the name behind `docker-credential-`.
    Helper(String),
}

impl CredentialFile {
    /// Reads `path`; `None` where there is no such file. Errors never quote the content.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, String> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error.to_string()),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err("it is longer than 1 MiB".to_owned());
        }
        if bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        let place = |error: serde_json::Error| {
            format!("line {}, column {}: it isn't as Docker writes it", error.line(), error.column())
        };
        serde_json::from_slice(&bytes).map(Some).map_err(place)
    }

    /// All that could be for `repository` of `registry`, best first: a helper for the registry, the helper for all, then
    /// logins, whose keys may name a part of the repository too (Podman).
    pub(crate) fn entries(&self, registry: &str, repository: &str) -> Vec<Entry> {
        let mut entries = Vec::new();
        let for_registry = self.cred_helpers.iter().find(|(key, _)| key_of(key) == registry);
        let helper = for_registry.map_or(self.creds_store.as_str(), |(_, name)| name.as_str());
        if !helper.is_empty() {
            entries.push(Entry::Helper(helper.to_owned()));
        }
        let mut wanted = format!("{registry}/{repository}");
        loop {
            let named = self.auths.iter().filter(|(key, _)| key_of(key) == wanted);
            entries.extend(named.filter_map(|(_, auth)| auth.as_ref()?.login()).map(Entry::Login));
            match wanted.rfind('/') {
                Some(slash) => wanted.truncate(slash),
                None => return entries,
            }
        }
    }
}

impl Auth {
    fn login(&self) -> Option<Login> {
        let secret = |text: &str| Secret(text.to_owned());
        if !self.registrytoken.is_empty() {
            return Some(Login::Bearer(secret(&self.registrytoken)));
        }
        if !self.identitytoken.is_empty() {
            return Some(Login::Identity(secret(&self.identitytoken)));
        }
        if !self.username.is_empty() {
            return Some(Login::Password { user: self.username.clone(), password: secret(&self.password) });
        }
        let decoded = String::from_utf8(STANDARD.decode(self.auth.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        let password = password.trim_end_matches('\0');
        (!user.is_empty()).then(|| Login::Password { user: user.to_owned(), password: secret(password) })
    }
}

/// Docker's keys have a scheme and the path of the API where they are old; the Hub has several names.
fn key_of(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let (host, rest) = key.split_once('/').map_or((key, None), |(host, rest)| (host, Some(rest)));
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { DOCKER_HUB } else { host };
    rest.map_or(host.to_owned(), |rest| format!("{host}/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Entry {
        Entry::Login(Login::Password { user: user.to_owned(), password: Secret(password.to_owned()) })
    }

    #[test]
    fn entries_are_found_under_all_their_keys_and_in_order() {
        let text = r#"{
            "HttpHeaders": {"x": 1},
            "auths": {
                "https://index.docker.io/v1/": {"auth": "aHViOnA6dw=="},
                "reg.io:5000": {"username": "u", "password": "p"},
                "reg.io:5000/team/app": {"identitytoken": "t"},
                "empty.io": {},
                "broken.io": {"auth": "%%%"}
            },
            "credHelpers": {"https://gcr.io": "gcloud"},
            "credsStore": ""
        }"#;
        let file: CredentialFile = serde_json::from_str(text).unwrap();
        assert_eq!(file.entries("docker.io", "library/python"), [password("hub", "p:w")]);
        assert_eq!(
            file.entries("reg.io:5000", "team/app"),
            [Entry::Login(Login::Identity(Secret("t".into()))), password("u", "p")]
        );
        assert_eq!(file.entries("reg.io:5000", "team/app2"), [password("u", "p")]);
        assert_eq!(file.entries("gcr.io", "x"), [Entry::Helper("gcloud".into())]);
        for none in ["reg.io", "empty.io", "broken.io", "evil-reg.io:5000"] {
            assert_eq!(file.entries(none, "team/app"), [], "{none}");
        }
        let store: CredentialFile =
            serde_json::from_str(r#"{"credsStore": "pass", "auths": {"a.io": {}}}"#).unwrap();
        assert_eq!(store.entries("a.io", "x"), [Entry::Helper("pass".into())]);
    }

    #[test]
    fn a_broken_file_is_an_error_that_quotes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert!(CredentialFile::read(&path).unwrap().is_none());
        std::fs::write(&path, "{\"auths\": {\"a\": {\"auth\": 5, \"password\": \"geheim\"}}}").unwrap();
        let error = CredentialFile::read(&path).unwrap_err();
        assert!(error.contains("line 1") && !error.contains("geheim"), "{error}");
        std::fs::write(&path, "").unwrap();
        assert!(CredentialFile::read(&path).unwrap().is_none());
    }
}
