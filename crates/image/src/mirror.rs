//! Files of a web server's folder, each known by its digest beforehand: resumed where it broke off, and kept only where it
//! is what it should be. Reached as registries are: the same proxies, certificate authorities and patience.

use std::time::Duration;

use agentkernel_model::{PullEvent, PullProgress};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

use crate::registry::{
    Backoff, Endpoint, Failure, client, continues, follow, of_transport, read_bounded, said,
};
use crate::{Begun, Blobs, Digest, ImageError, PartialBlob, RegistrySettings};

/// This much further counts as progress.
const PROGRESS_BYTES: u64 = 256 << 10;

/// Why a file of a mirror can't be had.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// What was named is no address.
    #[error(
        "{address} is no address of a folder on a web server: {why}; give https://HOST/PATH or http://HOST/PATH"
    )]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server doesn't give it.
    #[error("{file} can't be fetched from {mirror}: {why}")]
    Fetch {
        /// Its name.
        file: String,
        /// The server.
        mirror: String,
        /// What happened.
        why: String,
    },
    /// It isn't what it should be, or can't be kept.
    #[error(transparent)]
    Keep(#[from] ImageError),
}

/// A folder on a web server.
pub struct Mirror {
    http: Client,
    folder: Url,
    endpoint: Endpoint,
    settings: RegistrySettings,
}

impl Mirror {
    /// Touches no network.
    ///
    /// # Errors
    /// [`MirrorError::Address`]; proxies or certificate authorities that can't be used.
    pub fn open(address: &str, settings: &RegistrySettings) -> Result<Self, MirrorError> {
        let refused = |why: String| MirrorError::Address { address: address.to_owned(), why };
        let mut folder = Url::parse(address).map_err(|error| refused(error.to_string()))?;
        if !matches!(folder.scheme(), "http" | "https") {
            return Err(refused(format!("it is of kind {:?}", folder.scheme())));
        }
        if !folder.username().is_empty() || folder.password().is_some() {
            return Err(refused("it has a login in it, which would stand in logs".to_owned()));
        }
        if !folder.path().ends_with('/') {
            let path = format!("{}/", folder.path());
            folder.set_path(&path);
        }
        let endpoint = Endpoint::of_folder(&folder);
        Ok(Self { http: client(settings)?, folder, endpoint, settings: settings.clone() })
    }

    /// A small file, whole. Nothing is known of it: the caller holds it against a digest.
    pub async fn read(
        &self,
        file: &str,
        bytes_max: u64,
        progress: &dyn PullProgress,
    ) -> Result<Vec<u8>, MirrorError> {
        let mut backoff = Backoff::new(self.settings.patience);
        loop {
            let got = match self.get(file, 0).await {
                Ok(response) => read_bounded(response, bytes_max, file, &self.endpoint).await,
                Err(failure) => Err(failure),
            };
            match got {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => self.again(file, &mut backoff, failure, progress).await?,
            }
        }
    }

    /// Makes sure that the file is in `blobs`, under its digest. Waits while another process fetches it.
    pub async fn fetch(
        &self,
        file: &str,
        digest: Digest,
        bytes_max: u64,
        blobs: &Blobs,
        progress: &dyn PullProgress,
    ) -> Result<(), MirrorError> {
        let mut backoff = Backoff::new(self.settings.patience);
        let (mut first, size) = loop {
            let sized = match self.get(file, 0).await {
                Ok(response) => self.size(file, &response, bytes_max).map(|size| (response, size)),
                Err(failure) => Err(failure),
            };
            match sized {
                Ok((response, size)) => break (Some(response), size),
                Err(failure) => self.again(file, &mut backoff, failure, progress).await?,
            }
        };
        let id = file.to_owned();
        let (blobs, begun) = (blobs.clone(), move |blobs: Blobs| blobs.begin(&digest, size));
        let mut partial = match crate::store::blocking(move || begun(blobs)).await? {
            Begun::Present => {
                progress.report(PullEvent::LayerPresent { id });
                return Ok(());
            }
            Begun::Partial(partial) => partial,
        };
        progress.report(PullEvent::Layer { id: id.clone(), done: partial.done(), total: size });
        // What an earlier process left may be damaged although this server is right: then all is fetched anew, once.
        let mut may_restart = partial.done() > 0;
        loop {
            let mark = partial.done();
            let whole_answer = first.take().filter(|_| mark == 0);
            let ended = self.attempt(file, whole_answer, &mut partial, progress).await;
            match ended {
                Ok(()) => match partial.verify() {
                    Ok(()) => break,
                    Err(_) if may_restart => {
                        may_restart = false;
                        partial.restart()?;
                        let why = format!("what an earlier attempt left of {file} was damaged");
                        progress.report(PullEvent::Retry { why });
                    }
                    Err(found) => {
                        partial.discard()?;
                        let (what, origin) = (file.to_owned(), self.endpoint.describe());
                        return Err(ImageError::WrongDigest { what, origin, expected: digest, found }.into());
                    }
                },
                Err(failure) => {
                    may_restart |= partial.done() > 0;
                    if partial.done() >= mark.saturating_add(PROGRESS_BYTES) {
                        backoff.progressed();
                    }
                    let is_full = matches!(&failure, Failure::Final(ImageError::Io { source, .. })
                        if source.kind() == std::io::ErrorKind::StorageFull);
                    if is_full {
                        // The next attempt has no room either; the rest of the machine needs it.
                        partial.discard()?;
                        return Err(self.failed(file, failure));
                    }
                    self.again(file, &mut backoff, failure, progress).await?;
                }
            }
        }
        partial.commit()?;
        progress.report(PullEvent::LayerDone { id });
        Ok(())
    }

    /// One answer's worth.
    async fn attempt(
        &self,
        file: &str,
        whole: Option<Response>,
        partial: &mut PartialBlob,
        progress: &dyn PullProgress,
    ) -> Result<(), Failure> {
        if partial.done() == partial.size() {
            return Ok(());
        }
        let mut response = match whole {
            Some(response) => response,
            None => match self.get(file, partial.done()).await {
                // A server that can't give the rest is asked for all.
                Err(Failure::Final(ImageError::Answer { why, .. })) if partial.done() > 0 => {
                    partial.restart()?;
                    return Err(Failure::Passing { why, pause: None, is_connected: true });
                }
                other => other?,
            },
        };
        if partial.done() > 0 && !continues(&response, partial.done()) {
            partial.restart()?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                let why = "it gives another part than was asked for".to_owned();
                return Err(Failure::Passing { why, pause: None, is_connected: true });
            }
        }
        let mut told = partial.done();
        while let Some(piece) = response.chunk().await.map_err(|error| of_transport(error, &self.endpoint))? {
            partial.write(&piece)?;
            if partial.done() - told >= 64 << 10 || partial.done() == partial.size() {
                told = partial.done();
                progress.report(PullEvent::Progress { id: file.to_owned(), done: told });
            }
        }
        match partial.size() - partial.done() {
            0 => Ok(()),
            missing => {
                let why = format!("the connection ended {missing} bytes too early");
                Err(Failure::Passing { why, pause: None, is_connected: true })
            }
        }
    }

    /// How long the file is, from an answer that brings all of it.
    fn size(&self, file: &str, response: &Response, bytes_max: u64) -> Result<u64, Failure> {
        let refused = |why: String| Failure::answer(&self.endpoint, file, why);
        match response.content_length() {
            _ if response.status() != StatusCode::OK => {
                Err(refused(format!("status {} where all was asked for", response.status())))
            }
            None => Err(refused("it doesn't say how long it is".to_owned())),
            Some(length) if length > bytes_max => {
                Err(refused(format!("it has {length} bytes, at most {bytes_max} are taken")))
            }
            Some(length) => Ok(length),
        }
    }

    /// The file from byte `from` on.
    async fn get(&self, file: &str, from: u64) -> Result<Response, Failure> {
        let url = self.folder.join(file).map_err(|error| {
            Failure::answer(&self.endpoint, file, format!("its name makes no address: {error}"))
        })?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if from > 0 {
            let range = HeaderValue::try_from(format!("bytes={from}-"));
            headers.extend(range.ok().map(|range| (RANGE, range)));
        }
        let response = follow(&self.http, &self.endpoint, url, &headers, None).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(said(response, &self.endpoint, file).await),
        }
    }

    /// Waits before the next attempt, or gives up.
    async fn again(
        &self,
        file: &str,
        backoff: &mut Backoff,
        failure: Failure,
        progress: &dyn PullProgress,
    ) -> Result<(), MirrorError> {
        let Some(pause) = backoff.next(&failure, false) else { return Err(self.failed(file, failure)) };
        progress.report(PullEvent::Retry { why: format!("{file}: {}", failure.why()) });
        self.pause(pause).await;
        Ok(())
    }

    async fn pause(&self, pause: Duration) {
        // sleep: a server that is overloaded or asks for a pause gets it; there is no event to wait for
        tokio::time::sleep(pause).await;
    }

    fn failed(&self, file: &str, failure: Failure) -> MirrorError {
        let (file, mirror) = (file.to_owned(), self.endpoint.describe());
        match failure {
            Failure::Final(ImageError::Answer { why, .. }) => MirrorError::Fetch { file, mirror, why },
            Failure::Final(error) => error.into(),
            other => MirrorError::Fetch { file, mirror, why: other.why() },
        }
    }
}
