//! SIGKILL for the server, again and again, while clients use it.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use agentkernel_sdk::RunRequest;
use anyhow::{Context, Result, bail};

use super::load::{Life, Load};
use super::tally::Tally;
use super::{Settings, Target};
use crate::bench::Server;

/// Loads the server for the whole time and kills it so often at even distances. Returns what came of the verbs, and the
/// server that was started last.
pub(super) async fn during(
    target: &Target<'_>,
    log: &Path,
    server: Server,
    settings: &Settings,
) -> Result<(Tally, Server)> {
    let life = Rc::new(Life::default());
    let address = server.client.address();
    let load = Load { address, backend: target.backend, duration: settings.duration };
    let pause = settings.duration / (settings.kills + 1);
    let killing = kill_and_start(target, log, server, settings.kills, pause, &life);
    let (mut tally, server) = tokio::join!(load.run(Some(Rc::clone(&life))), killing);
    tally.kills = life.deaths.get();
    Ok((tally, server?))
}

async fn kill_and_start(
    target: &Target<'_>,
    log: &Path,
    mut server: Server,
    kills: u32,
    pause: Duration,
    life: &Life,
) -> Result<Server> {
    for number in 1..=kills {
        // sleep: the load goes on for a while before each kill
        tokio::time::sleep(pause).await;
        if !server.is_alive()? {
            bail!("the server has ended by itself: {}", server.last_words());
        }
        life.dead.set(true);
        life.deaths.set(number);
        let port = server.port()?;
        server.kill()?;
        server = Server::on_port(target.program(), port, log)
            .await
            .with_context(|| format!("start after kill {number}"))?;
        let mut request = RunRequest::new(["echo", "again"]);
        request.backend = Some(target.backend.to_owned());
        request.image = super::verbs::image(target.backend);
        let result = server
            .client
            .run(&request)
            .await
            .with_context(|| format!("the first run after kill {number}"))?;
        if result.stdout != "again\n" {
            bail!("the first run after kill {number} printed {:?}", result.stdout);
        }
        println!("soak: kill {number} of {kills}: serves again");
        life.dead.set(false);
    }
    Ok(server)
}
