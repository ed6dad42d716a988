//! Dockerfiles, built by the engine, and its images as archives.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use agentkernel_backend::{BackendError, BuildRequest, ImageBuilder, OutputStream, ReadyImage};
use agentkernel_model::{ImageRef, PullEvent, PullProgress};
use async_trait::async_trait;
use bollard::errors::Error;
use bollard::query_parameters::BuildImageOptionsBuilder;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, ReadBuf};

use crate::backend::Parts;
use crate::build_context;
use crate::failure::{clean, failed, words};
use crate::images::EngineImages;

/// Who builds.
pub(crate) struct EngineBuilder {
    parts: Arc<Parts>,
    images: EngineImages,
}

impl EngineBuilder {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self { images: EngineImages::new(Arc::clone(&parts)), parts }
    }
}

#[async_trait]
impl ImageBuilder for EngineBuilder {
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &dyn PullProgress,
    ) -> Result<ReadyImage, BackendError> {
        let engine = self.parts.engine().await?;
        let tag: ImageRef = request
            .tag
            .parse()
            .map_err(|error| BackendError::Invalid { what: format!("the tag {:?}: {error}", request.tag) })?;
        let dockerfile = request.dockerfile.to_str().ok_or_else(|| BackendError::Invalid {
            what: format!("{} is not UTF-8", request.dockerfile.display()),
        })?;
        let (context, result) = build_context::stream(&request.context, &request.dockerfile)?;
        let arguments: HashMap<String, String> = request.args.iter().cloned().collect();
        let options = BuildImageOptionsBuilder::default()
            .dockerfile(dockerfile)
            .t(&request.tag)
            .nocache(request.no_cache)
            .rm(true)
            .forcerm(true)
            .buildargs(&arguments)
            .target(request.target.as_deref().unwrap_or_default())
            .build();
        let body = bollard::body_try_stream(context);
        let mut events = engine.docker.build_image(options, None, Some(body)).boxed();
        let mut lines = Lines::default();
        let mut failure = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(info) => {
                    let text = info.stream.or_else(|| info.status.map(|status| format!("{status}\n")));
                    let said = lines.push(text.as_deref().unwrap_or_default());
                    said.into_iter().for_each(|line| progress.report(PullEvent::BuildOutput { line }));
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        lines.rest().into_iter().for_each(|line| progress.report(PullEvent::BuildOutput { line }));
        drop(events);
        // A context that could not be sent is the better reason.
        if let Ok(Err(error)) = result.await {
            return Err(error);
        }
        if let Some(error) = failure {
            return Err(BackendError::runtime(
                format!("build {}", request.context.join(dockerfile).display()),
                words(&error),
            ));
        }
        let nowhere = || BackendError::NotFound { what: format!("image {tag}, although it was built,") };
        self.images.look_up(&tag).await?.ok_or_else(nowhere)
    }

    async fn export(&self, image: &ImageRef) -> Result<OutputStream, BackendError> {
        let missing =
            || BackendError::NotFound { what: format!("image {image} in {}", self.parts.kind.title()) };
        self.images.look_up(image).await?.ok_or_else(missing)?;
        let engine = self.parts.engine().await?;
        let mut stream: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>> =
            Box::pin(engine.docker.clone().export_image_owned(image.as_str().to_owned()));
        let first = match stream.next().await {
            Some(first) => first.map_err(failed(format!("export image {image}")))?,
            None => Bytes::new(),
        };
        Ok(Box::new(ByteStream { stream, pending: first }))
    }
}

/// `export_image` without a borrow of the client.
trait ExportOwned {
    fn export_image_owned(self, name: String) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static;
}

impl ExportOwned for bollard::Docker {
    fn export_image_owned(self, name: String) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            let mut stream = self.export_image(&name).boxed();
            while let Some(item) = stream.next().await {
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        });
        futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        })
    }
}

/// Pieces of text as whole lines, of bounded length.
#[derive(Default)]
struct Lines(String);

/// The longest line that is told.
const LINE_MAX: usize = 64 << 10;

impl Lines {
    fn push(&mut self, text: &str) -> Vec<String> {
        self.0.push_str(text);
        let mut lines = Vec::new();
        while let Some(end) = self.0.find('\n') {
            lines.push(clean(&self.0[..end]));
            self.0.drain(..=end);
        }
        if self.0.len() > LINE_MAX {
            lines.extend(self.rest());
        }
        lines
    }

    fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.0);
        (!rest.is_empty()).then(|| clean(&rest))
    }
}

struct ByteStream {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>,
    pending: Bytes,
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.pending.is_empty() {
            match ready!(self.stream.as_mut().poll_next(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(words(&error)))),
                Some(Ok(bytes)) => self.pending = bytes,
            }
        }
        let length = self.pending.len().min(out.remaining());
        out.put_slice(self.pending.get(..length).unwrap_or_default());
        self.pending.advance(length);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_comes_line_by_line() {
        let mut lines = Lines::default();
        assert_eq!(lines.push("Step 1"), Vec::<String>::new());
        assert_eq!(lines.push("/2 : FROM x\n ---> 1\nSt"), ["Step 1/2 : FROM x", "---> 1"]);
        assert_eq!(lines.rest(), Some("St".to_owned()));
        assert_eq!(lines.rest(), None);
        assert_eq!(lines.push(&"x".repeat(LINE_MAX + 1)).len(), 1);
    }
}
