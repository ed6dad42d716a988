//! Where a server listens.

use std::path::{Path, PathBuf};

use agentkernel_config::{Environment, Settings};
use agentkernel_server::{
    Listener, Protection, addresses, bind_tcp, bind_unix, check_exposure, handed_over, listeners_of, load_tls,
};
use agentkernel_sys::inherited::take_inherited;

use super::compose::keys;
use crate::output::CliError;

/// The first descriptor that systemd hands over (sd_listen_fds(3)).
const FIRST_GIVEN: i32 = 3;

/// The daemon's socket.
pub(crate) fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("daemon/agentkernel.sock")
}

/// The folder of the audit log.
pub(crate) fn audit_folder(state_dir: &Path) -> PathBuf {
    state_dir.join("daemon/audit")
}

/// The log of a daemon in the background.
pub(crate) fn log_path(state_dir: &Path) -> PathBuf {
    state_dir.join("daemon/daemon.log")
}

/// Refuses addresses that others reach unless what keeps them out is there. Returns whether no key is needed at all,
/// because somebody said so.
pub(crate) fn exposure(settings: &Settings, key_waived: bool, tls_waived: bool) -> Result<bool, CliError> {
    let protection = Protection {
        key: keys(settings).is_configured(),
        tls: settings.api.tls.is_some(),
        key_waived,
        tls_waived,
    };
    let mut exposed = false;
    for address in addresses(&settings.api.host)? {
        check_exposure(address, protection)?;
        exposed |= !address.to_canonical().is_loopback();
    }
    Ok(exposed && !protection.key && key_waived)
}

/// Opens host and port of the settings.
pub(crate) async fn open_tcp(settings: &Settings) -> Result<Vec<Listener>, CliError> {
    let tls = match &settings.api.tls {
        Some(files) => Some(load_tls(&files.certificate, &files.key)?),
        None => None,
    };
    let sockets = bind_tcp(&addresses(&settings.api.host)?, settings.api.port).await?;
    Ok(sockets.into_iter().map(|listener| Listener::Tcp { listener, tls: tls.clone() }).collect())
}

/// Opens the daemon's socket. The caller holds the daemon's lock.
pub(crate) fn open_unix(state_dir: &Path) -> Result<Listener, CliError> {
    let (listener, file) = bind_unix(&socket_path(state_dir))?;
    Ok(Listener::Unix { listener, file: Some(file) })
}

/// The sockets that systemd opened for us; none where it didn't start us.
pub(crate) fn given_sockets(
    environment: &Environment,
    settings: &Settings,
) -> Result<Vec<Listener>, CliError> {
    let text = |name| environment.var(name).and_then(std::ffi::OsStr::to_str);
    let count = handed_over(text("LISTEN_PID"), text("LISTEN_FDS"), std::process::id());
    if count == 0 {
        return Ok(Vec::new());
    }
    let fail = |source| CliError::io("take the sockets that systemd opened", source);
    let tls = match &settings.api.tls {
        Some(files) => Some(load_tls(&files.certificate, &files.key)?),
        None => None,
    };
    let numbers = FIRST_GIVEN..FIRST_GIVEN + i32::try_from(count).unwrap_or(0);
    let sockets = numbers.map(take_inherited).collect::<std::io::Result<Vec<_>>>().map_err(fail)?;
    listeners_of(sockets, tls.as_ref()).map_err(fail)
}
