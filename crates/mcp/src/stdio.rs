//! The server on standard input and output: one JSON-RPC message a line.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use agentkernel_service::{Caller, Service};
use rmcp::serve_server;
use rmcp::service::{QuitReason, ServerInitializeError};
use rmcp::transport::io::stdio_pipes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinError;

use crate::McpSettings;
use crate::caller::Callers;
use crate::handler::Handler;

/// How long the end of commands and their sandboxes is waited for. They take milliseconds; containers take longer.
const FAREWELL: Duration = Duration::from_secs(20);

/// Why the server ended otherwise than by the end of its input.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The first message was neither `initialize` nor one that needs none, or the answer could not be written.
    #[error("the client did not begin as the model context protocol has it")]
    Beginning {
        /// What came.
        #[source]
        source: Box<ServerInitializeError>,
    },
    /// A bug of ours.
    #[error("the server's own task failed; please report this")]
    Task {
        /// How.
        #[source]
        source: JoinError,
    },
}

/// Serves standard input and output until the input ends or `stop` completes. Commands that still run then get a few
/// seconds at the end of input, and none after `stop`; they are gone when this returns.
pub async fn serve_stdio(
    service: Service,
    caller: Caller,
    settings: McpSettings,
    stop: impl Future<Output = ()>,
) -> Result<(), StdioError> {
    let (input, output) = stdio_pipes();
    serve(service, caller, settings, input, output, stop).await
}

/// The same over any two streams.
pub async fn serve(
    service: Service,
    caller: Caller,
    settings: McpSettings,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
    stop: impl Future<Output = ()>,
) -> Result<(), StdioError> {
    let handler = Handler::new(service.clone(), Callers::One(caller), settings);
    let result = talk(handler, input, output, stop).await;
    service.begin_shutdown();
    if !service.drained(FAREWELL).await {
        tracing::warn!("not all sandboxes are gone yet; the next agentkernel command clears them away");
    }
    result
}

async fn talk(
    handler: Handler,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
    stop: impl Future<Output = ()>,
) -> Result<(), StdioError> {
    let mut stop = pin!(stop);
    let begun = tokio::select! {
        begun = serve_server(handler, (input, output)) => begun,
        () = &mut stop => return Ok(()),
    };
    let running = match begun {
        Ok(running) => running,
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(source) => return Err(StdioError::Beginning { source: Box::new(source) }),
    };
    let token = running.cancellation_token();
    let mut ended = pin!(running.waiting());
    let reason = tokio::select! {
        reason = &mut ended => reason,
        () = &mut stop => {
            token.cancel();
            ended.await
        }
    };
    match reason {
        Ok(QuitReason::JoinError(source)) | Err(source) => Err(StdioError::Task { source }),
        Ok(_) => Ok(()),
    }
}
