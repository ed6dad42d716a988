//! A server's life: it serves until a signal or a request ends it, and then finishes what it has begun.

use std::sync::Arc;
use std::time::Duration;

use agentkernel_audit::{AuditLog, Entry};
use agentkernel_mcp::{HttpService, McpSettings};
use agentkernel_server::guard::guarded;
use agentkernel_server::{Closing, Listener, api_router, mounted, serve, shutdown_route, take_route};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::Composed;
use super::notify::tell_systemd;
use crate::application::Application;
use crate::output::CliError;

/// How long answers that are written, and those who listen to events, keep the server when all work is done.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long boxes that wait may take to end.
const BURIAL: Duration = Duration::from_secs(20);

/// Serves at `doors`; `ready` is called once. Returns when everything has ended.
pub(crate) async fn serve_until_told(
    application: &Application,
    composed: Composed,
    doors: Vec<Listener>,
    ready: impl FnOnce() -> Result<(), CliError>,
) -> Result<(), CliError> {
    let Composed { service, pool, guard, local, limits, audit, drain_timeout } = composed;
    // Before anybody can be told that we are there.
    let mut signals = Signals::listen()?;
    let asked = Arc::new(Notify::new());
    let by_request = Arc::clone(&asked);
    let mcp = McpSettings { version: env!("CARGO_PKG_VERSION"), list_aliases: true };
    let router = mounted(api_router(service.clone()), "/mcp", HttpService::new(service.clone(), mcp));
    let router = router.merge(shutdown_route(Arc::new(move || by_request.notify_one())));
    let router = router.merge(take_route(pool.clone()));
    let (closing, told) = watch::channel(Closing::Open);
    let mut serving = tokio::spawn(serve(doors, guarded(router, guard), limits, local, told));
    note(&audit, "server_started");
    ready()?;
    tell_systemd(&application.environment, "READY=1");

    tokio::select! {
        () = signals.next() => {}
        () = asked.notified() => {}
    }
    tell_systemd(&application.environment, "STOPPING=1");
    tracing::info!("ending: no new work is taken, and what runs has {} s", drain_timeout.as_secs_f32());
    service.begin_shutdown();
    closing.send_replace(Closing::Draining);
    let patient = async {
        if service.drained(drain_timeout).await {
            // What is still open listens to something that never ends.
            tokio::time::timeout(FAREWELL, &mut serving).await.is_ok()
        } else {
            tracing::warn!("commands are still running: they end with the server");
            false
        }
    };
    let done = tokio::select! {
        done = patient => done,
        () = signals.next() => false,
    };
    closing.send_replace(Closing::Now);
    if !done {
        serving.await.map_err(|error| CliError::io("serve", std::io::Error::other(error)))?;
    }
    let buried = async { tokio::time::timeout(BURIAL, pool.close()).await.is_ok() };
    let buried = tokio::select! {
        buried = buried => buried,
        () = signals.next() => false,
    };
    if !buried {
        tracing::warn!("sandboxes that waited are left to the next command, which clears them away");
    }
    note(&audit, "server_ended");
    audit.sync()?;
    Ok(())
}

/// Between these two entries of one process there was a server: an end that is missing was none in order.
fn note(audit: &AuditLog, kind: &'static str) {
    let entry =
        Entry::new(kind).user("local").field("action", kind).field("version", env!("CARGO_PKG_VERSION"));
    if let Err(error) = audit.record(&entry) {
        tracing::error!(%error, "{kind} is not in the audit log");
    }
}

/// What ends a server: Ctrl-C, and what systemd and kill(1) send.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(|source| CliError::io("listen for signals", source));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
