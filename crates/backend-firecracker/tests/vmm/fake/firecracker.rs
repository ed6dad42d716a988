//! The fake Firecracker's process.

use std::sync::{Arc, Mutex};

use tokio::net::UnixListener;

use super::api::{self, Served};
use super::plan::{Plan, Wrong};
use super::state::{State, VERSION};
use super::{options, value};

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    if arguments == ["--version"] {
        println!("Firecracker v{VERSION}\n\nSupported snapshot data format versions: v8.0.0");
        return Ok(());
    }
    // The real jailer says what time it took.
    let times = ["--start-time-us", "--start-time-cpu-us", "--parent-cpu-time-us"];
    let with_value = [&["--id", "--api-sock", "--level"][..], &times].concat();
    let found = options(arguments, &with_value, &[])?;
    value(&found, "--id")?;
    let socket = value(&found, "--api-sock")?.to_owned();
    run(&socket)
}

/// In the working directory.
pub(super) fn run(socket: &str) -> Result<(), String> {
    let plan = Plan::read();
    match plan.fault_at("start") {
        Some(Wrong::Die) => return Err("\x1b[1mno KVM here".to_owned()),
        Some(Wrong::Hang) => loop {
            std::thread::park();
        },
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let listener = UnixListener::bind(socket).map_err(|error| error.to_string())?;
        serve(listener, plan).await;
        Ok(())
    })
}

/// For ever.
pub(crate) async fn serve(listener: UnixListener, plan: Plan) {
    let state = Mutex::new(State::new(&plan));
    let served = Arc::new(Served { plan, state });
    while let Ok((stream, _)) = listener.accept().await {
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            // A client that goes away is no fault of the server's.
            api::serve(served, stream).await.unwrap_or_default();
        });
    }
}
