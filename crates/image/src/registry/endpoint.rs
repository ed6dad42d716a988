//! Who can be asked for the images of a registry: its mirrors, then itself.

use reqwest::Url;

use crate::reference::check_registry;
use crate::{DOCKER_HUB, ImageError, Reference, RegistrySettings};

/// One server, and the repository's name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host[:port]`, as the user named it: by this it is found in settings and credentials.
    pub(crate) name: String,
    /// Whether it stands before the registry itself.
    pub(crate) is_mirror: bool,
    /// Whether it is spoken to in plain HTTP.
    pub(crate) is_plain: bool,
    /// `host[:port]`, as it is connected to.
    authority: String,
    repository: String,
}

impl Endpoint {
    /// All that can be asked for `reference`, in order.
    pub(crate) fn all(reference: &Reference, settings: &RegistrySettings) -> Result<Vec<Self>, ImageError> {
        let mirrors = settings.mirrors.get(reference.registry()).map_or(&[][..], Vec::as_slice);
        let mut all = Vec::with_capacity(mirrors.len() + 1);
        for mirror in mirrors {
            all.push(Self::mirror(mirror, reference, settings)?);
        }
        let name = reference.registry().to_owned();
        // The Hub is known by another name than its server.
        let authority = if name == DOCKER_HUB { "registry-1.docker.io".to_owned() } else { name.clone() };
        let is_plain = settings.insecure.contains(&name);
        all.push(Self {
            name,
            is_mirror: false,
            is_plain,
            authority,
            repository: reference.repository().to_owned(),
        });
        Ok(all)
    }

    fn mirror(text: &str, reference: &Reference, settings: &RegistrySettings) -> Result<Self, ImageError> {
        let (named_plain, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => (false, text),
        };
        let (name, prefix) =
            rest.trim_end_matches('/').split_once('/').unwrap_or((rest.trim_end_matches('/'), ""));
        let refuse = |why: &str| ImageError::Setting {
            setting: "images.mirrors",
            value: text.chars().take(200).collect(),
            why: format!("{why}; a mirror is host[:port][/prefix]"),
        };
        check_registry(name).map_err(|_| refuse("it is no host name"))?;
        if !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)) || prefix.contains("..")
        {
            return Err(refuse("its prefix is no repository's name"));
        }
        let repository = match prefix {
            "" => reference.repository().to_owned(),
            prefix => format!("{prefix}/{}", reference.repository()),
        };
        let is_plain = named_plain || settings.insecure.contains(name);
        let authority = if name == DOCKER_HUB { "registry-1.docker.io" } else { name }.to_owned();
        Ok(Self { name: name.to_owned(), is_mirror: true, is_plain, authority, repository })
    }

    /// A folder on a web server that is no registry.
    pub(crate) fn of_folder(folder: &Url) -> Self {
        let host = folder.host_str().unwrap_or_default();
        let name = match folder.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        // Hints about TLS name settings of registries: not meant here.
        Self { authority: name.clone(), name, is_mirror: true, is_plain: false, repository: String::new() }
    }

    /// The address of `rest` (`manifests/latest`) of the repository.
    pub(crate) fn url(&self, rest: &str) -> Result<Url, ImageError> {
        let scheme = if self.is_plain { "http" } else { "https" };
        let text = format!("{scheme}://{}/v2/{}/{rest}", self.authority, self.repository);
        Url::parse(&text).map_err(|error| ImageError::Setting {
            setting: "registry",
            value: self.name.clone(),
            why: format!("it is no address: {error}"),
        })
    }

    /// The repository's name there.
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    /// What a token must allow (Docker registry authentication, "Token scope").
    pub(crate) fn scope(&self) -> String {
        format!("repository:{}:pull", self.repository)
    }

    /// For people: which server of possibly several.
    pub(crate) fn describe(&self) -> String {
        if self.is_mirror { format!("mirror {}", self.name) } else { self.name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(reference: &str, settings: &RegistrySettings) -> Vec<String> {
        let endpoints = Endpoint::all(&reference.parse().unwrap(), settings).unwrap();
        endpoints.iter().map(|endpoint| endpoint.url("x").unwrap().to_string()).collect()
    }

    #[test]
    fn mirrors_come_first_and_only_named_ones_are_plain() {
        let mut settings = RegistrySettings::default();
        let mirrors = ["m.example/hub/", "http://plain:5000", "https://tls.example", "named:80"];
        settings.mirrors.insert("docker.io".into(), mirrors.map(str::to_owned).to_vec());
        settings.insecure.insert("named:80".into());
        assert_eq!(
            urls("python", &settings),
            [
                "https://m.example/v2/hub/library/python/x",
                "http://plain:5000/v2/library/python/x",
                "https://tls.example/v2/library/python/x",
                "http://named/v2/library/python/x",
                "https://registry-1.docker.io/v2/library/python/x",
            ]
        );
        assert_eq!(urls("localhost:5000/a", &settings), ["https://localhost:5000/v2/a/x"]);
        settings.insecure.insert("localhost:5000".into());
        assert_eq!(urls("localhost:5000/a", &settings), ["http://localhost:5000/v2/a/x"]);
    }

    #[test]
    fn what_is_no_mirror_is_refused_by_name() {
        for bad in ["", "http://", "m/../x", "m x", "ftp://m", "m/a?b", "user@m"] {
            let mut settings = RegistrySettings::default();
            settings.mirrors.insert("docker.io".into(), vec![bad.to_owned()]);
            let error = Endpoint::all(&"python".parse().unwrap(), &settings).unwrap_err();
            assert!(matches!(error, ImageError::Setting { setting: "images.mirrors", .. }), "{bad}: {error}");
        }
    }
}
