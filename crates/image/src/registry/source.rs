//! Where an image comes from: its registry's mirrors and the registry, with one client, asked in order until one gives
//! what is wanted.

use agentkernel_model::{PullEvent, PullProgress};
use reqwest::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::media_type::ACCEPTED_MANIFESTS;
use crate::registry::answer::read_bounded;
use crate::registry::backoff::Backoff;
use crate::registry::client::{Server, client};
use crate::registry::credential::Credentials;
use crate::registry::endpoint::Endpoint;
use crate::registry::failure::Failure;
use crate::{Digest, ImageError, MANIFEST_BYTES_MAX, Reference, RegistrySettings};

/// All servers that may have an image.
pub(crate) struct Source {
    pub(crate) reference: Reference,
    pub(crate) settings: RegistrySettings,
    pub(crate) http: Client,
    pub(crate) credentials: Credentials,
    pub(crate) servers: Vec<Server>,
}

/// A document at a manifest's place, verified where its digest was known.
#[derive(Debug)]
pub(crate) struct FoundManifest {
    pub(crate) bytes: Vec<u8>,
    /// What the server says that it is.
    pub(crate) media_type: Option<String>,
    pub(crate) digest: Digest,
    /// For people.
    pub(crate) origin: String,
}

impl Source {
    pub(crate) fn new(reference: &Reference, settings: &RegistrySettings) -> Result<Self, ImageError> {
        let servers = Endpoint::all(reference, settings)?.into_iter().map(Server::new).collect();
        Ok(Self {
            reference: reference.clone(),
            settings: settings.clone(),
            http: client(settings)?,
            credentials: Credentials::new(settings),
            servers,
        })
    }

    /// What is under `wanted`, a tag or a digest.
    pub(crate) async fn manifest(
        &self,
        wanted: &str,
        progress: &dyn PullProgress,
    ) -> Result<FoundManifest, ImageError> {
        let mut others = Vec::new();
        for (number, server) in self.servers.iter().enumerate() {
            let mut backoff = Backoff::new(self.settings.patience);
            let failure = loop {
                let failure = match self.manifest_of(server, wanted).await {
                    Ok(found) => return Ok(found),
                    Err(failure) => failure,
                };
                match backoff.next(&failure, server.is_known()) {
                    Some(pause) => self.pause(pause, server, &failure, progress).await,
                    None => break failure,
                }
            };
            if number + 1 == self.servers.len() {
                return Err(failure.into_error(&server.endpoint, &self.reference, &others));
            }
            others.push(self.go_on_without(server, &failure, progress));
        }
        Err(Failure::Unreachable(others.join("; ")).into_error(
            &self.servers[0].endpoint,
            &self.reference,
            &[],
        ))
    }

    async fn manifest_of(&self, server: &Server, wanted: &str) -> Result<FoundManifest, Failure> {
        let mut headers = HeaderMap::new();
        for media_type in ACCEPTED_MANIFESTS {
            headers.append(ACCEPT, HeaderValue::from_static(media_type));
        }
        let response =
            server.get(&self.http, &self.credentials, &format!("manifests/{wanted}"), headers).await?;
        let text = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let media_type = text(CONTENT_TYPE.as_str());
        let named = text("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let what = format!("the manifest of {}", self.reference.familiar());
        let bytes = read_bounded(response, MANIFEST_BYTES_MAX, &what, &server.endpoint).await?;
        let digest = Digest::of(&bytes);
        // By a tag, the server's own word for it is all that can be held against what came.
        let expected = wanted.parse().ok().or(named);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            let origin = server.endpoint.describe();
            return Err(Failure::Final(ImageError::WrongDigest { what, origin, expected, found: digest }));
        }
        Ok(FoundManifest { bytes, media_type, digest, origin: server.endpoint.describe() })
    }

    /// Waits, and says why.
    pub(crate) async fn pause(
        &self,
        pause: std::time::Duration,
        server: &Server,
        failure: &Failure,
        progress: &dyn PullProgress,
    ) {
        let why = format!("{}: {}", server.endpoint.describe(), failure.why());
        progress.report(PullEvent::Retry { why });
        // sleep: a server that is overloaded or asks for a pause gets it; there is no event to wait for
        tokio::time::sleep(pause).await;
    }

    /// Says why the next server is asked; the reason.
    pub(crate) fn go_on_without(
        &self,
        server: &Server,
        failure: &Failure,
        progress: &dyn PullProgress,
    ) -> String {
        let why = format!("{}: {}", server.endpoint.describe(), failure.why());
        progress.report(PullEvent::Retry { why: why.clone() });
        why
    }
}
