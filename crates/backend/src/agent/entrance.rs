//! The one way into a box without a record: unspoken until its guest is first asked for.

use std::sync::{Arc, Mutex, PoisonError};

use super::{AgentGuest, UnspokenAgent};
use crate::{BackendError, EndSignal, Guest};

/// An [`UnspokenAgent`], or the guest that speaks to it.
pub struct Entrance {
    state: Mutex<State>,
    /// Where the box has no users but root: the backend's name and why.
    root_only: Option<(String, String)>,
}

enum State {
    Unspoken(UnspokenAgent),
    Spoken(Arc<dyn Guest>),
    /// Between the two, while nobody else can look.
    Turning,
}

impl Entrance {
    /// Over `agent`.
    pub fn new(agent: UnspokenAgent) -> Self {
        Self { state: Mutex::new(State::Unspoken(agent)), root_only: None }
    }

    /// Over `agent` of a box whose user namespace has root alone: see [`AgentGuest::connect_for_root_only`].
    pub fn for_root_only(agent: UnspokenAgent, backend: &str, why: &str) -> Self {
        Self { root_only: Some((backend.to_owned(), why.to_owned())), ..Self::new(agent) }
    }

    /// By a guest that speaks already.
    pub fn spoken(guest: Arc<dyn Guest>) -> Self {
        Self { state: Mutex::new(State::Spoken(guest)), root_only: None }
    }

    /// The guest: the same at every call. Must be called within a tokio runtime.
    pub fn guest(&self) -> Arc<dyn Guest> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let guest: Arc<dyn Guest> = match std::mem::replace(&mut *state, State::Turning) {
            State::Spoken(guest) => guest,
            State::Unspoken(agent) => match &self.root_only {
                None => AgentGuest::connect(agent),
                Some((backend, why)) => AgentGuest::connect_for_root_only(agent, backend, why),
            },
            // A panic while it turned: nobody holds the stream any more, so the box is gone.
            State::Turning => AgentGuest::connect(tokio::io::empty()),
        };
        *state = State::Spoken(Arc::clone(&guest));
        guest
    }

    /// Waits until the agent serves, where nobody speaks to it yet.
    pub async fn ready(&mut self) -> Result<(), BackendError> {
        match self.state.get_mut().unwrap_or_else(PoisonError::into_inner) {
            State::Unspoken(agent) => agent.greeted().await,
            State::Spoken(_) | State::Turning => Ok(()),
        }
    }

    /// When the agent hangs up, where nobody speaks to it yet.
    pub fn end(&self) -> Option<EndSignal> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Unspoken(agent) => {
                agent.end().inspect_err(|error| tracing::debug!(%error, "a box's end can't be watched")).ok()
            }
            State::Spoken(_) | State::Turning => None,
        }
    }

    /// Whether nobody has spoken to the agent.
    pub fn is_unspoken(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Unspoken(_))
    }

    /// The agent, where nobody has spoken to it.
    pub fn into_unspoken(self) -> Option<UnspokenAgent> {
        match self.state.into_inner().unwrap_or_else(PoisonError::into_inner) {
            State::Unspoken(agent) => Some(agent),
            State::Spoken(_) | State::Turning => None,
        }
    }
}
