//! Putting a server together: engine, pool, service, guard and doors; and its end.

mod compose;
mod doors;
mod end;
mod lock;
mod log_file;
mod notify;

pub(crate) use compose::{Composed, compose, open_audit};
pub(crate) use doors::{audit_folder, exposure, given_sockets, log_path, open_tcp, open_unix, socket_path};
pub(crate) use end::serve_until_told;
pub(crate) use lock::{DaemonLock, Holder};
pub(crate) use log_file::{open_log, rotate_now_and_then};
