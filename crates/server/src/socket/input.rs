//! Input for a command that may read slowly or not at all: a few messages wait, then the connection does.

use agentkernel_backend::InputStream;
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

/// How many messages wait.
const WAITING: usize = 8;

/// Takes input.
pub(crate) struct InputSender(Option<mpsc::Sender<Bytes>>);

impl InputSender {
    /// Waits for room. What nobody reads any more is dropped, as a pipe's writer would be told: a command may end before
    /// it has read everything.
    pub(crate) async fn send(&self, bytes: Bytes) {
        if let Some(sender) = &self.0
            && sender.send(bytes).await.is_err()
        {
            tracing::debug!("input for a command that takes no more");
        }
    }

    /// End of file.
    pub(crate) fn end(&mut self) {
        self.0 = None;
    }
}

/// A sender, and the work that brings what is sent to `to`; it ends with the input.
pub(crate) fn input(to: Option<InputStream>) -> (InputSender, impl Future<Output = ()> + Send) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(WAITING);
    let feed = async move {
        let Some(mut to) = to else { return };
        while let Some(bytes) = receiver.recv().await {
            // Flushed at once: somebody waits for the echo.
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
        if let Err(error) = to.shutdown().await {
            tracing::debug!(%error, "the command takes no more input");
        }
    };
    (InputSender(Some(sender)), feed)
}
