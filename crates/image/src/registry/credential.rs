//! Whose name is shown to a registry: from files as Docker and Podman write them, or from the helper that they name.

use std::fmt;
use std::path::PathBuf;

use crate::registry::credential_file::{CredentialFile, Entry};
use crate::registry::credential_helper;
use crate::{DOCKER_HUB, RegistrySettings};

/// The name under which Docker keeps the Hub's credentials.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// A text that no message shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a registry or its token server takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// A name and a password.
    Password { user: String, password: Secret },
    /// To be changed for tokens (OAuth 2 refresh token).
    Identity(Secret),
    /// A token by itself.
    Bearer(Secret),
}

/// A login and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) login: Login,
    /// The file or helper, for people.
    pub(crate) origin: String,
}

impl Credential {
    /// Whose they are and where they are from.
    pub(crate) fn describe(&self) -> String {
        match &self.login {
            Login::Password { user, .. } => format!("user {user:?} (credentials of {})", self.origin),
            Login::Identity(_) | Login::Bearer(_) => format!("the holder of the token of {}", self.origin),
        }
    }
}

/// What was found for a registry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) credential: Option<Credential>,
    /// Why a source that could have had some couldn't be used. A public image is fetched nonetheless.
    pub(crate) problem: Option<String>,
}

/// Where credentials are looked for.
#[derive(Debug)]
pub(crate) struct Credentials {
    files: Vec<PathBuf>,
    helper_folders: Vec<PathBuf>,
}

impl Credentials {
    pub(crate) fn new(settings: &RegistrySettings) -> Self {
        Self { files: settings.credential_files.clone(), helper_folders: settings.helper_folders.clone() }
    }

    /// Those for `repository` of the server `registry`, from the first source that has some.
    pub(crate) async fn find(&self, registry: &str, repository: &str) -> Found {
        let mut problems = Vec::new();
        for path in &self.files {
            let file = match CredentialFile::read(path) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(why) => {
                    problems.push(format!("{}: {why}", path.display()));
                    continue;
                }
            };
            for entry in file.entries(registry, repository) {
                match self.open(entry, registry, path.display().to_string()).await {
                    Ok(Some(credential)) => return Found { credential: Some(credential), problem: None },
                    Ok(None) => {}
                    Err(why) => problems.push(why),
                }
            }
        }
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        Found { credential: None, problem }
    }

    async fn open(&self, entry: Entry, registry: &str, origin: String) -> Result<Option<Credential>, String> {
        match entry {
            Entry::Login(login) => Ok(Some(Credential { login, origin })),
            Entry::Helper(name) => {
                let server = if registry == DOCKER_HUB { HUB_KEY } else { registry };
                let login = credential_helper::get(&name, server, &self.helper_folders).await?;
                let origin = format!("docker-credential-{name}");
                Ok(login.map(|login| Credential { login, origin }))
            }
        }
    }
}
