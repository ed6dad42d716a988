//! Sessions over HTTP, and how many there may be.
//!
//! Clients of protocol versions before 2026-07-28 open a session and often forget to close it. Each is a task and some
//! memory, so there is a bound: the one that was used longest ago is closed for a new one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError,
};
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId, SessionManager};

/// The most sessions at the same time.
const MOST_SESSIONS: usize = 1_000;

/// The sessions of one server.
pub struct Sessions {
    inner: LocalSessionManager,
    most: usize,
    used: Mutex<HashMap<SessionId, Instant>>,
}

impl Sessions {
    /// Sessions that end when nothing was said in them for `idle`, which must be longer than any command may be silent.
    pub(crate) fn new(idle: Duration) -> Self {
        Self::at_most(MOST_SESSIONS, idle)
    }

    fn at_most(most: usize, idle: Duration) -> Self {
        let mut inner = LocalSessionManager::default();
        inner.session_config.keep_alive = Some(idle);
        Self { inner, most, used: Mutex::default() }
    }

    fn used(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Instant>> {
        // Times only: a panic elsewhere can't have left them half written.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self, id: &SessionId) {
        if let Some(time) = self.used().get_mut(id) {
            *time = Instant::now();
        }
    }

    /// Notes a new session; returns the one that must go for it.
    fn admit(&self, id: &SessionId) -> Option<SessionId> {
        let mut used = self.used();
        let oldest = used.iter().min_by_key(|(_, time)| **time).map(|(id, _)| id.clone());
        let goes = oldest.filter(|_| used.len() >= self.most);
        if let Some(goes) = &goes {
            used.remove(goes);
        }
        used.insert(id.clone(), Instant::now());
        goes
    }
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let (id, transport) = self.inner.create_session().await?;
        if let Some(goes) = self.admit(&id) {
            tracing::warn!(most = self.most, "too many sessions: the one used longest ago is closed");
            self.inner.close_session(&goes).await?;
        }
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.inner.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.used().remove(id);
        self.inner.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.touch(id);
        self.inner.create_stream(id, message).await
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        self.touch(id);
        self.inner.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.touch(id);
        self.inner.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.touch(id);
        self.inner.resume(id, last_event_id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_session_that_was_used_longest_ago_goes_for_a_new_one() {
        let sessions = Sessions::at_most(2, Duration::from_secs(60));
        let (first, _first) = sessions.create_session().await.unwrap();
        let (second, _second) = sessions.create_session().await.unwrap();
        sessions.touch(&first);
        let (third, _third) = sessions.create_session().await.unwrap();
        for (id, there) in [(&first, true), (&second, false), (&third, true)] {
            assert_eq!(sessions.has_session(id).await.unwrap(), there);
        }
        sessions.close_session(&first).await.unwrap();
        assert_eq!(sessions.used().len(), 1);
    }
}
