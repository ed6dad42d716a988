//! The warm pool: a decorator over any backend that hands out boxes started earlier, each once, and the way in which one
//! process of a user gives such a box to another.

mod burials;
mod error;
mod key;
mod kind;
mod lane;
mod pool;
mod pooled_backend;
mod pooled_box;
mod refill;
mod settings;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod transit;

pub use error::{PoolError, TransitError};
pub use key::PoolKey;
pub use pool::Pool;
pub use settings::{PoolSettings, Template};
pub use status::{KindStatus, PoolStatus};
pub use transit::{PATH, TakeRequest, UPGRADE, ask};
