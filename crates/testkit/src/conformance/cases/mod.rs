//! The cases, by what they are about. Commands inside boxes keep to what both GNU and busybox systems have.

pub(super) mod archives;
pub(super) mod detached;
pub(super) mod ending;
pub(super) mod environment;
pub(super) mod ephemeral;
pub(super) mod exec;
pub(super) mod files;
pub(super) mod images;
pub(super) mod limits;
pub(super) mod links;
pub(super) mod mounts;
pub(super) mod network;
pub(super) mod persistent;
pub(super) mod ports;
pub(super) mod root;
pub(super) mod snapshots;
pub(super) mod streams;
pub(super) mod terminal;
pub(super) mod users;
