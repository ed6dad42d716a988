//! What a running command writes, piece by piece as it comes, and its end.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{BackendError, ExecutionControl, InputStream, OutputStream};
use agentkernel_model::Outcome;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::ServiceError;

/// Bytes taken at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// The room below which a buffer is replaced.
const LEAST_ROOM: usize = CHUNK / 2;

/// How long a command's left-over processes may be silent before their output is left alone, once the command itself
/// has ended: a server that was started in the background doesn't hold its caller. What the command itself wrote is here
/// by then: its end is told behind it.
const SILENCE: Duration = Duration::from_millis(500);

type Waiting = Pin<Box<dyn Future<Output = Result<Outcome, BackendError>> + Send>>;
type Feeding = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One piece.
#[derive(Debug)]
pub(crate) enum Piece {
    Stdout(Bytes),
    Stderr(Bytes),
    /// The last one.
    End(Outcome),
}

/// Both outputs of a command and its end. Dropping it kills the command.
pub(crate) struct Pump {
    stdout: Source,
    stderr: Source,
    waiting: Option<Waiting>,
    feeding: Option<Feeding>,
    outcome: Option<Outcome>,
    /// Why an output was cut off, where the box ended before it did.
    cut: Option<BackendError>,
    /// When the last piece was given out or the command ended.
    silent_since: Instant,
    given: bool,
}

struct Source {
    stream: Option<OutputStream>,
    buffer: BytesMut,
}

impl Source {
    fn new(stream: Option<OutputStream>) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The next bytes; `None` at the end. Never ready where there is no stream. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Option<Bytes>, BackendError> {
        let Some(stream) = &mut self.stream else { return std::future::pending().await };
        if self.buffer.capacity() < LEAST_ROOM {
            self.buffer = BytesMut::with_capacity(CHUNK);
        }
        let read = stream.read_buf(&mut self.buffer).await;
        match read {
            Ok(0) => {
                self.stream = None;
                Ok(None)
            }
            Ok(_) => Ok(Some(self.buffer.split().freeze())),
            Err(error) => {
                self.stream = None;
                Err(box_error(error))
            }
        }
    }
}

/// What went wrong with a stream out of a box.
pub(crate) fn box_error(error: std::io::Error) -> BackendError {
    match error.downcast::<BackendError>() {
        Ok(error) => error,
        Err(error) => BackendError::BoxEnded { why: error.to_string() },
    }
}

impl Pump {
    pub(crate) fn new(
        control: Arc<dyn ExecutionControl>,
        stdout: OutputStream,
        stderr: Option<OutputStream>,
        feed: Option<(InputStream, Bytes)>,
    ) -> Self {
        Self {
            stdout: Source::new(Some(stdout)),
            stderr: Source::new(stderr),
            waiting: Some(Box::pin(async move { control.wait().await })),
            feeding: feed.map(|(to, content)| -> Feeding { Box::pin(write_all(to, content)) }),
            outcome: None,
            cut: None,
            silent_since: Instant::now(),
            given: false,
        }
    }

    /// The next piece. After [`Piece::End`] it must not be called again. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Piece, ServiceError> {
        if std::mem::take(&mut self.given) {
            // A slow reader of ours is no silence of theirs.
            self.silent_since = Instant::now();
        }
        loop {
            let streams_open = self.stdout.stream.is_some() || self.stderr.stream.is_some();
            if let (Some(outcome), false) = (self.outcome, streams_open) {
                return self.end(outcome);
            }
            let (ended, patience_ends) = (self.outcome.is_some(), self.silent_since + SILENCE);
            let step = tokio::select! {
                // Output that is here is none that doesn't come: a process that got no time is late for its clock, too.
                biased;
                step = self.step() => step,
                // sleep: a deadline beside what is waited for.
                () = tokio::time::sleep_until(patience_ends), if ended => {
                    self.stdout.stream = None;
                    self.stderr.stream = None;
                    continue;
                }
            };
            match step {
                Step::Stdout(bytes) => {
                    if let Some(bytes) = self.uncut(bytes)? {
                        self.given = true;
                        return Ok(Piece::Stdout(bytes));
                    }
                }
                Step::Stderr(bytes) => {
                    if let Some(bytes) = self.uncut(bytes)? {
                        self.given = true;
                        return Ok(Piece::Stderr(bytes));
                    }
                }
                Step::Ended(outcome) => {
                    self.waiting = None;
                    self.outcome = Some(outcome.map_err(ServiceError::inside)?);
                    self.silent_since = Instant::now();
                }
                Step::Fed => self.feeding = None,
            }
        }
    }

    /// Whatever comes first, in no order, so that neither output holds up the other. Dropping the future loses nothing.
    async fn step(&mut self) -> Step {
        tokio::select! {
            bytes = self.stdout.next() => Step::Stdout(bytes),
            bytes = self.stderr.next() => Step::Stderr(bytes),
            outcome = ready(&mut self.waiting) => Step::Ended(outcome),
            () = ready(&mut self.feeding) => Step::Fed,
        }
    }
}

/// What has come.
enum Step {
    Stdout(Result<Option<Bytes>, BackendError>),
    Stderr(Result<Option<Bytes>, BackendError>),
    Ended(Result<Outcome, BackendError>),
    /// All input has been given.
    Fed,
}

impl Pump {
    /// That the box ends is told by the command's outcome, which comes on another way.
    fn uncut(&mut self, read: Result<Option<Bytes>, BackendError>) -> Result<Option<Bytes>, ServiceError> {
        match read {
            Ok(bytes) => Ok(bytes),
            Err(error @ BackendError::BoxEnded { .. }) => {
                self.cut.get_or_insert(error);
                Ok(None)
            }
            Err(error) => Err(ServiceError::inside(error)),
        }
    }

    /// A command that ended well but whose output was cut off has no result: nobody knows what is missing.
    fn end(&mut self, outcome: Outcome) -> Result<Piece, ServiceError> {
        match self.cut.take() {
            Some(cut) if outcome != Outcome::BoxEnded => Err(ServiceError::inside(cut)),
            _ => Ok(Piece::End(outcome)),
        }
    }
}

/// The result of the future; never ready where there is none.
async fn ready<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// A command may close its input or end before it has read everything, which is its right.
async fn write_all(mut to: InputStream, content: Bytes) {
    let written = async {
        to.write_all(&content).await?;
        to.shutdown().await
    };
    if let Err(error) = written.await {
        tracing::debug!(%error, "the command takes no more input");
    }
}

#[cfg(test)]
mod tests {
    use agentkernel_api::ErrorCode;
    use agentkernel_model::{Signal, TtySize};
    use async_trait::async_trait;
    use tokio::io::{AsyncRead, ReadBuf};

    use super::*;

    struct Ended(Outcome);

    #[async_trait]
    impl ExecutionControl for Ended {
        async fn signal(&self, _: Signal) -> Result<(), BackendError> {
            Ok(())
        }

        async fn resize(&self, _: TtySize) -> Result<(), BackendError> {
            Ok(())
        }

        async fn wait(&self) -> Result<Outcome, BackendError> {
            Ok(self.0)
        }
    }

    /// Fails with what it is asked to.
    struct Broken(fn() -> std::io::Error);

    impl AsyncRead for Broken {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err((self.0)()))
        }
    }

    #[tokio::test]
    async fn processes_that_are_left_behind_hold_nobody() {
        let (mut left_behind, held) = tokio::io::duplex(64);
        let mut pump = Pump::new(Arc::new(Ended(Outcome::Exited(0))), Box::new(held), None, None);
        left_behind.write_all(b"last words").await.unwrap();
        assert!(matches!(pump.next().await.unwrap(), Piece::Stdout(bytes) if bytes == "last words"));
        let since = Instant::now();
        assert!(matches!(pump.next().await.unwrap(), Piece::End(Outcome::Exited(0))));
        assert!(since.elapsed() >= SILENCE - Duration::from_millis(50), "{:?}", since.elapsed());
        assert!(left_behind.write_all(b"to nobody").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_gets_no_time_loses_nothing() {
        // Which of what is ready is looked at first is a matter of chance.
        for _ in 0..50 {
            let (mut last_words, held) = tokio::io::duplex(64);
            let mut pump = Pump::new(Arc::new(Ended(Outcome::Exited(0))), Box::new(held), None, None);
            let piece = pump.next();
            tokio::pin!(piece);
            tokio::select! {
                biased;
                piece = &mut piece => panic!("{piece:?}, and nothing was written"),
                () = std::future::ready(()) => {}
            }
            last_words.write_all(b"last words").await.unwrap();
            tokio::time::advance(2 * SILENCE).await;
            assert!(matches!(piece.await.unwrap(), Piece::Stdout(bytes) if bytes == "last words"));
        }
    }

    #[tokio::test]
    async fn a_box_that_lies_is_told_as_that() {
        let lie = || std::io::Error::other(BackendError::HostileGuest { what: "a lie".to_owned() });
        let control = Arc::new(Ended(Outcome::Exited(0)));
        let mut pump = Pump::new(control, Box::new(Broken(lie)), None, None);
        assert_eq!(pump.next().await.unwrap_err().code, ErrorCode::BoxFailed);
    }

    #[tokio::test]
    async fn a_box_that_ends_ends_its_command_and_output_is_never_silently_cut() {
        let reset = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let pump = |outcome| {
            Pump::new(
                Arc::new(Ended(outcome)),
                Box::new(Broken(reset)),
                Some(Box::new(tokio::io::empty())),
                None,
            )
        };
        assert!(matches!(pump(Outcome::BoxEnded).next().await, Ok(Piece::End(Outcome::BoxEnded))));
        assert_eq!(pump(Outcome::Exited(0)).next().await.unwrap_err().code, ErrorCode::BoxFailed);
    }
}
