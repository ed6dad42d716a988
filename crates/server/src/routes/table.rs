//! Which handlers there are.

use agentkernel_service::Service;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    archive, events, exec, executions, files, folders, images, machine, pool, ports, run, sandboxes, server,
    snapshots, terminals,
};

/// The groups of routes, in the order in which people read about them.
pub(crate) const TAGS: &[(&str, &str)] = &[
    ("run", "One command in a sandbox of its own, which is removed when it has ended."),
    ("sandboxes", "Sandboxes that stay."),
    (
        "snapshots",
        "Sandboxes that stand still, and copies of running ones. Only backend firecracker has them.",
    ),
    ("commands", "Commands in a sandbox: answered whole, streamed, over a WebSocket, or detached."),
    ("terminals", "Terminals in a sandbox, which live on when their client has gone."),
    ("files", "Files in a sandbox. Paths are resolved inside of it and can't leave it."),
    ("ports", "TCP ports of a sandbox."),
    ("machine", "Backends, images and the warm pool."),
    ("server", "The server itself."),
];

/// All routes with their documentation.
pub(crate) fn all() -> OpenApiRouter<Service> {
    OpenApiRouter::default()
        .routes(routes!(run::run))
        .routes(routes!(run::run_stream))
        .routes(routes!(run::run_batch))
        .routes(routes!(sandboxes::list_sandboxes, sandboxes::create_sandbox))
        .routes(routes!(sandboxes::get_sandbox, sandboxes::remove_sandbox))
        .routes(routes!(sandboxes::start_sandbox))
        .routes(routes!(sandboxes::stop_sandbox))
        .routes(routes!(snapshots::pause_sandbox))
        .routes(routes!(snapshots::resume_sandbox))
        .routes(routes!(snapshots::fork_sandbox))
        .routes(routes!(snapshots::list_snapshots, snapshots::take_snapshot))
        .routes(routes!(snapshots::get_snapshot, snapshots::remove_snapshot))
        .routes(routes!(snapshots::restore_snapshot))
        .routes(routes!(sandboxes::sandbox_logs))
        .routes(routes!(sandboxes::list_processes))
        .routes(routes!(exec::exec))
        .routes(routes!(exec::exec_stream))
        .routes(routes!(exec::exec_connect))
        .routes(routes!(executions::list_executions, executions::start_execution))
        .routes(routes!(executions::get_execution))
        .routes(routes!(executions::kill_execution))
        .routes(routes!(executions::execution_logs))
        .routes(routes!(terminals::list_terminals, terminals::open_terminal))
        .routes(routes!(terminals::attach_terminal, terminals::close_terminal))
        .routes(routes!(files::read_file, files::write_file, files::remove_file))
        .routes(routes!(folders::stat))
        .routes(routes!(folders::list_directory))
        .routes(routes!(folders::make_directory))
        .routes(routes!(archive::read_archive, archive::write_archive))
        .routes(routes!(ports::list_ports))
        .routes(routes!(ports::connect_port))
        .routes(routes!(machine::backends))
        .routes(routes!(images::list_images))
        .routes(routes!(images::pull_image))
        .routes(routes!(pool::pool_status))
        .routes(routes!(pool::warm_pool))
        .routes(routes!(pool::drain_pool))
        .routes(routes!(server::health))
        .routes(routes!(server::version))
        .routes(routes!(server::stats))
        .routes(routes!(server::metrics))
        .routes(routes!(server::audit))
        .routes(routes!(events::events))
        .routes(routes!(server::openapi_document))
        .routes(routes!(server::docs))
}
