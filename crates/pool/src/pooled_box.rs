//! A box out of the pool, as its one user has it.

use std::sync::Arc;

use agentkernel_backend::{BackendError, EndSignal, EphemeralBox, Guest, HandOver};
use agentkernel_model::Isolation;
use async_trait::async_trait;

use crate::burials::Burials;
use crate::kind::Made;

pub(crate) struct PooledBox {
    /// `None` once it is given back or away.
    made: Option<Made>,
    /// Kept apart, since a reference must be had at any time.
    isolation: Isolation,
    warm: bool,
    burials: Burials,
}

impl PooledBox {
    pub(crate) fn new(made: Made, warm: bool, burials: Burials) -> Self {
        Self { isolation: made.isolation().clone(), made: Some(made), warm, burials }
    }

    /// The box itself, as if it had never been out.
    pub(crate) fn into_inner(mut self) -> Option<Made> {
        self.made.take()
    }
}

fn gone() -> BackendError {
    BackendError::BoxEnded { why: "it was given back".to_owned() }
}

#[async_trait]
impl EphemeralBox for PooledBox {
    fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    fn guest(&self) -> Arc<dyn Guest> {
        match &self.made {
            Some(made) => made.guest(),
            // Only what takes the box by value empties it.
            None => agentkernel_backend::AgentGuest::connect(tokio::io::empty()),
        }
    }

    async fn ready(&mut self) -> Result<(), BackendError> {
        self.made.as_mut().ok_or_else(gone)?.ready().await
    }

    fn end(&self) -> Option<EndSignal> {
        self.made.as_ref()?.end()
    }

    async fn hand_over(mut self: Box<Self>) -> Result<HandOver, Box<dyn EphemeralBox>> {
        let Some(made) = self.made.take() else { return Err(self) };
        match made.hand_over().await {
            Ok(handed) => Ok(handed),
            Err(made) => {
                self.made = Some(made);
                Err(self)
            }
        }
    }

    fn is_warm(&self) -> bool {
        self.warm
    }

    /// Returns at once unless many are on their way: the rest is done behind the user's back, and by recovery where that
    /// fails.
    async fn destroy(mut self: Box<Self>) -> Result<(), BackendError> {
        if let Some(made) = self.made.take() {
            self.burials.add_in_turn(made).await;
        }
        Ok(())
    }

    async fn leave(self: Box<Self>) -> Result<(), BackendError> {
        self.destroy().await
    }
}

impl Drop for PooledBox {
    fn drop(&mut self) {
        if let Some(made) = self.made.take() {
            self.burials.add(made);
        }
    }
}
