//! The backend on real engines, those of the test bed (`cargo xtask test-bed`). A test whose engine isn't there says so.
#![cfg(test)]

mod bed;
mod builds;
mod coexistence;
mod conformance;
mod far;
mod hardening;
mod kept_logs;
mod kills;
mod speed;
mod stand_in;
mod traps;
mod two_engines;
