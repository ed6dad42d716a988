//! `daemon stop`.

use std::path::Path;
use std::time::Duration;

use agentkernel_sdk::AgentKernel;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::application::Application;
use crate::arguments::parse_duration;
use crate::output::{CliError, print_text};
use crate::serving::{DaemonLock, socket_path};

/// How long the daemon may take unless it is told otherwise: what runs has 30 s, and boxes must be ended.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long its answer to the request may take.
const ANSWER: Duration = Duration::from_secs(5);

/// The arguments.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel daemon stop

It waits until the daemon has ended: commands that run by it have its --drain-timeout. Sandboxes that
were created go on running, those that were kept ready are removed.")]
pub(crate) struct Args {
    /// How long to wait for its end
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// Runs it.
pub(crate) async fn run(arguments: &Args, application: &Application) -> Result<u8, CliError> {
    let stopped = stop(&application.state_dir()?, arguments.timeout).await?;
    print_text(if stopped { "the daemon has stopped\n" } else { "no daemon runs\n" })?;
    Ok(0)
}

/// Stops it and waits for its end; whether there was one.
pub(super) async fn stop(state_dir: &Path, timeout: Option<Duration>) -> Result<bool, CliError> {
    let look = |source| CliError::io("look at the daemon's lock", source);
    let Some(holder) = DaemonLock::holder(state_dir).map_err(look)? else { return Ok(false) };
    let client = AgentKernel::unix(socket_path(state_dir)).timeout(ANSWER).build()?;
    if let Err(error) = client.shutdown().await {
        tracing::debug!(%error, "the daemon doesn't answer; it gets a signal instead");
        terminate(state_dir, holder.pid).map_err(|source| CliError::io("end the daemon", source))?;
    }
    let folder = state_dir.to_owned();
    let ended = tokio::task::spawn_blocking(move || DaemonLock::wait_until_free(&folder));
    let patience = timeout.unwrap_or(PATIENCE);
    match tokio::time::timeout(patience, ended).await {
        Ok(Ok(Ok(()))) => Ok(true),
        Ok(Ok(Err(source))) => Err(look(source)),
        Ok(Err(error)) => Err(look(std::io::Error::other(error))),
        Err(_) => {
            let process = holder.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            Err(CliError::usage(format!(
                "the daemon{process} has been told to end and still runs after {} s: commands may be running; wait, \
                 or kill it, which loses nothing but them",
                patience.as_secs()
            )))
        }
    }
}

/// SIGTERM to the process that holds the lock: one that starts or hangs answers nothing.
fn terminate(state_dir: &Path, pid: Option<u32>) -> std::io::Result<()> {
    let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) else {
        return Ok(());
    };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    // Asked again with the handle in hand: the number can't have come to mean another process while it held the lock.
    let same = DaemonLock::holder(state_dir)?.is_some_and(|holder| {
        holder.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) == Some(pid)
    });
    if same {
        match pidfd_send_signal(&process, Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
