//! The content of one blob: received here, hashed and written on a thread of its own, continued where it broke off.

use std::path::PathBuf;

use agentkernel_model::{PullEvent, PullProgress};
use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Response, StatusCode};
use tokio::sync::{mpsc, oneshot};

use crate::registry::backoff::Backoff;
use crate::registry::client::Server;
use crate::registry::failure::{Failure, of_transport};
use crate::registry::source::Source;
use crate::{Begun, Blobs, Digest, ImageError, PartialBlob};

/// Pieces that may wait for the writer.
const PIECES_MAX: usize = 16;
/// This much further counts as progress: a server that gives a byte and breaks off is given up nonetheless.
const PROGRESS_BYTES: u64 = 256 << 10;

/// A blob that is wanted.
pub(crate) struct Wanted<'a> {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// `layer 0123456789ab`, for people.
    pub(crate) what: &'a str,
    /// Whether progress is told.
    pub(crate) is_layer: bool,
}

/// How one answer ended.
enum Ended {
    Whole(Box<PartialBlob>),
    Broken(Box<PartialBlob>, Failure),
}

impl Source {
    /// Makes sure that a blob is in `blobs`; where it is. At most one process fetches it.
    pub(crate) async fn blob(
        &self,
        blobs: &Blobs,
        wanted: &Wanted<'_>,
        progress: &dyn PullProgress,
    ) -> Result<PathBuf, ImageError> {
        let path = blobs.path(&wanted.digest);
        let id = wanted.digest.short();
        let mut partial = match begin(blobs, wanted).await? {
            Begun::Present => {
                if wanted.is_layer {
                    progress.report(PullEvent::LayerPresent { id });
                }
                return Ok(path);
            }
            Begun::Partial(partial) => partial,
        };
        if wanted.is_layer {
            progress.report(PullEvent::Layer { id, done: partial.done(), total: wanted.size });
        }
        let mut others = Vec::new();
        for (number, server) in self.servers.iter().enumerate() {
            let failure = match self.blob_of(server, partial, wanted, progress).await? {
                Ended::Whole(partial) => {
                    in_thread(move || partial.commit()).await?;
                    return Ok(path);
                }
                Ended::Broken(back, failure) => {
                    partial = back;
                    failure
                }
            };
            if number + 1 == self.servers.len() {
                let is_wrong = matches!(
                    failure,
                    Failure::Final(ImageError::WrongDigest { .. } | ImageError::WrongSize { .. })
                );
                if is_wrong || partial.done() == 0 {
                    partial.discard()?;
                }
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

    /// From one server, with as many attempts as it deserves.
    async fn blob_of(
        &self,
        server: &Server,
        mut partial: Box<PartialBlob>,
        wanted: &Wanted<'_>,
        progress: &dyn PullProgress,
    ) -> Result<Ended, ImageError> {
        let mut backoff = Backoff::new(self.settings.patience);
        let mut mark = partial.done();
        // What is put together from several answers, or from what an earlier process left (and a power cut damaged), may be
        // wrong although this server is right: then all is fetched anew, once.
        let mut is_pieced = partial.done() > 0;
        let mut may_restart = true;
        loop {
            let failure = match self.attempt(server, partial, wanted, progress).await? {
                Ended::Whole(whole) => match whole.verify() {
                    Ok(()) => return Ok(Ended::Whole(whole)),
                    Err(found) => {
                        partial = whole;
                        partial.restart()?;
                        if is_pieced && may_restart {
                            (is_pieced, may_restart) = (false, false);
                            let why = format!("what earlier attempts left of {} was damaged", wanted.what);
                            progress.report(PullEvent::Retry { why });
                            continue;
                        }
                        let (what, origin) = (wanted.what.to_owned(), server.endpoint.describe());
                        let error = ImageError::WrongDigest { what, origin, expected: wanted.digest, found };
                        return Ok(Ended::Broken(partial, Failure::Final(error)));
                    }
                },
                Ended::Broken(back, failure) => {
                    partial = back;
                    failure
                }
            };
            if partial.done() >= mark.saturating_add(PROGRESS_BYTES) {
                backoff.progressed();
            }
            mark = mark.max(partial.done());
            is_pieced |= partial.done() > 0;
            match backoff.next(&failure, server.is_known()) {
                Some(pause) => self.pause(pause, server, &failure, progress).await,
                None => return Ok(Ended::Broken(partial, failure)),
            }
        }
    }

    /// One request.
    async fn attempt(
        &self,
        server: &Server,
        mut partial: Box<PartialBlob>,
        wanted: &Wanted<'_>,
        progress: &dyn PullProgress,
    ) -> Result<Ended, ImageError> {
        if partial.done() == wanted.size {
            return Ok(Ended::Whole(partial));
        }
        let mut headers = HeaderMap::new();
        if partial.done() > 0 {
            let range = HeaderValue::try_from(format!("bytes={}-", partial.done()));
            headers.extend(range.ok().map(|range| (RANGE, range)));
        }
        let rest = format!("blobs/{}", wanted.digest);
        let response = match server.get(&self.http, &self.credentials, &rest, headers).await {
            Ok(response) => response,
            Err(failure) => {
                // A server that can't give the rest (416) is asked for all.
                if partial.done() > 0 && matches!(failure, Failure::Final(ImageError::Answer { .. })) {
                    partial.restart()?;
                    let failure = Failure::Passing { why: failure.why(), pause: None, is_connected: true };
                    return Ok(Ended::Broken(partial, failure));
                }
                return Ok(Ended::Broken(partial, failure));
            }
        };
        if partial.done() > 0 && !continues(&response, partial.done()) {
            partial.restart()?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                let why = "it gives another part than was asked for".to_owned();
                return Ok(Ended::Broken(partial, Failure::Passing { why, pause: None, is_connected: true }));
            }
            // It knows no ranges: this is all, from the beginning.
        }
        if let Err(failure) = check_length(&response, server, wanted, partial.done()) {
            return Ok(Ended::Broken(partial, failure));
        }
        receive(response, server, partial, wanted, progress).await
    }
}

/// Whether the body begins at byte `from` of the blob (RFC 9110, section 14.4).
pub(crate) fn continues(response: &Response, from: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
    response.status() == StatusCode::PARTIAL_CONTENT && start == Some(from)
}

/// Refuses a body that is announced with another length than what is missing.
fn check_length(response: &Response, server: &Server, wanted: &Wanted<'_>, done: u64) -> Result<(), Failure> {
    if response.status() == StatusCode::PARTIAL_CONTENT && done == 0 {
        let why = "it gives a part of what was asked for";
        return Err(Failure::answer(&server.endpoint, wanted.what, why));
    }
    match response.content_length() {
        Some(length) if length != wanted.size - done => Err(Failure::Final(ImageError::WrongSize {
            what: wanted.what.to_owned(),
            origin: server.endpoint.describe(),
            expected: wanted.size,
            found: done.saturating_add(length).to_string(),
        })),
        _ => Ok(()),
    }
}

/// Hands the body to a writer, piece by piece.
async fn receive(
    mut response: Response,
    server: &Server,
    partial: Box<PartialBlob>,
    wanted: &Wanted<'_>,
    progress: &dyn PullProgress,
) -> Result<Ended, ImageError> {
    let mut done = partial.done();
    let (pieces, incoming) = mpsc::channel::<Bytes>(PIECES_MAX);
    let writer = in_thread(move || write(partial, incoming));
    let mut failure = None;
    let mut told = done;
    loop {
        let piece = match response.chunk().await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(error) => {
                failure = Some(of_transport(error, &server.endpoint));
                break;
            }
        };
        done += piece.len() as u64;
        if done > wanted.size {
            failure = Some(Failure::Final(ImageError::WrongSize {
                what: wanted.what.to_owned(),
                origin: server.endpoint.describe(),
                expected: wanted.size,
                found: format!("more than {}", wanted.size),
            }));
            break;
        }
        // A writer that is gone says below why.
        if pieces.send(piece).await.is_err() {
            break;
        }
        if wanted.is_layer && (done - told >= 64 << 10 || done == wanted.size) {
            told = done;
            progress.report(PullEvent::Progress { id: wanted.digest.short(), done });
        }
    }
    drop(pieces);
    let partial = writer.await?;
    let missing = wanted.size - partial.done();
    Ok(match failure {
        Some(failure) => Ended::Broken(partial, failure),
        None if missing > 0 => {
            let why = format!("the connection ended {missing} bytes too early");
            Ended::Broken(partial, Failure::Passing { why, pause: None, is_connected: true })
        }
        None => Ended::Whole(partial),
    })
}

fn write(
    mut partial: Box<PartialBlob>,
    mut incoming: mpsc::Receiver<Bytes>,
) -> Result<Box<PartialBlob>, ImageError> {
    while let Some(piece) = incoming.blocking_recv() {
        partial.write(&piece)?;
    }
    Ok(partial)
}

/// Becomes the writer, which may mean to wait for another process. On a thread that nobody waits for: an interrupted pull
/// must be able to end.
async fn begin(blobs: &Blobs, wanted: &Wanted<'_>) -> Result<Begun, ImageError> {
    let (blobs, digest, size) = (blobs.clone(), wanted.digest, wanted.size);
    in_thread(move || blobs.begin(&digest, size)).await
}

/// Runs `work`, which blocks. The thread isn't the runtime's: that one's end would wait for it. It starts at once.
fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> impl Future<Output = Result<T, ImageError>> {
    let (sender, receiver) = oneshot::channel();
    let failed = |source: std::io::Error| ImageError::Io { action: "start", path: "a thread".into(), source };
    let started = std::thread::Builder::new().name("blob".to_owned()).spawn(move || {
        // Nobody waits any more: what was opened closes here.
        drop(sender.send(work()));
    });
    async move {
        started.map_err(failed)?;
        receiver.await.map_err(|_| failed(std::io::Error::other("it ended early")))?
    }
}
