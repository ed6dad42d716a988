//! Credentials for an engine that pulls by itself: found where ours are found, told in the engine's words.

use crate::registry::credential::{Credentials, Login};
use crate::{Reference, RegistrySettings};

/// What an engine shows to a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EngineLogin {
    /// A name and a password.
    pub password: Option<(String, String)>,
    /// To be changed for tokens.
    pub identity_token: Option<String>,
    /// A token by itself.
    pub registry_token: Option<String>,
    /// The file or helper that it is from, for people.
    pub origin: String,
}

impl std::fmt::Debug for EngineLogin {
    /// Without what nobody should read.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineLogin").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The login for `reference`'s registry, and why a source that could have had one couldn't be used.
pub async fn engine_login(
    settings: &RegistrySettings,
    reference: &Reference,
) -> (Option<EngineLogin>, Option<String>) {
    let found = Credentials::new(settings).find(reference.registry(), reference.repository()).await;
    let login = found.credential.map(|credential| {
        let mut login = EngineLogin { origin: credential.origin, ..EngineLogin::default() };
        match credential.login {
            Login::Password { user, password } => login.password = Some((user, password.0)),
            Login::Identity(token) => login.identity_token = Some(token.0),
            Login::Bearer(token) => login.registry_token = Some(token.0),
        }
        login
    });
    (login, found.problem)
}
