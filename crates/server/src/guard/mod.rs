//! Who may talk to the server at all: host and origin, then the key, then its scope. What passes carries a
//! [`agentkernel_service::Caller`] in its extensions; what doesn't is answered here, counted and written down.

mod credentials;
mod denials;
mod door;
mod hosts;
mod key_ring;
mod layer;
#[cfg(test)]
mod tests;

pub use denials::{DenialSink, Denied};
pub use door::Door;
pub use hosts::{HostRules, InvalidHost};
pub use key_ring::KeyRing;
pub use layer::{Guard, GuardSettings, guarded};
