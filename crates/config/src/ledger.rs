//! The account of every decision made while the sources are merged.

use std::fmt::Display;

use crate::source::{Offers, Sourced};
use crate::{Effective, Origin};

/// What was decided so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    entries: Vec<Effective>,
}

impl Ledger {
    /// Notes one decision.
    pub(crate) fn note(&mut self, key: &'static str, value: impl Display, origin: Origin) {
        self.entries.push(Effective { key, value: value.to_string(), origin });
    }

    /// Takes the strongest offer, else the fallback; notes which.
    pub(crate) fn decide<T: Display>(
        &mut self,
        key: &'static str,
        offers: Offers<T>,
        fallback: Sourced<T>,
    ) -> Sourced<T> {
        let decided = offers.strongest().unwrap_or(fallback);
        self.note(key, &decided.value, decided.origin.clone());
        decided
    }

    /// Takes the strongest offer, if any; notes it, or `absent` as the default.
    pub(crate) fn decide_optional<T: Display>(
        &mut self,
        key: &'static str,
        offers: Offers<T>,
        absent: &str,
    ) -> Option<T> {
        match offers.strongest() {
            Some(Sourced { value, origin }) => {
                self.note(key, &value, origin);
                Some(value)
            }
            None => {
                self.note(key, absent, Origin::Default);
                None
            }
        }
    }

    /// All decisions, in the order they were made.
    pub(crate) fn into_entries(self) -> Vec<Effective> {
        self.entries
    }
}
