//! What sandboxes that nobody uses cost the server: its memory, and the time of a list.

use std::time::{Duration, Instant};

use agentkernel_sdk::{AgentKernel, CreateRequest};
use anyhow::{Result, bail};

use super::super::program::Program;
use super::latency::since;
use super::process::Server;
use super::result::Idle;

const FEW: usize = 10;
const MANY: usize = 1000;
/// Made at the same time.
const AT_ONCE: usize = 8;
const LISTS: usize = 30;
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn measure(agentkernel: &Program) -> Result<Idle> {
    let server = Server::on_tcp(agentkernel.command(&[]), &agentkernel.folder("idle.log")).await?;
    let client = AgentKernel::builder()
        .base_url(format!("http://{}", server.client.address()))
        .timeout(PATIENCE)
        .build()?;
    let measured = with(&server, &client).await;
    let removed = each(&client, 0..MANY, async |client, name| Ok(client.remove_sandbox(&name).await?)).await;
    let idle = measured?;
    removed?;
    server.stop().await?;
    Ok(idle)
}

async fn with(server: &Server, client: &AgentKernel) -> Result<Idle> {
    let create = async |client: AgentKernel, name: String| {
        client.create_sandbox(&CreateRequest::new(name)).await?;
        Ok(())
    };
    each(client, 0..FEW, create).await?;
    let few_list_ms = lists(client, FEW).await?;
    let few_kib = server.resident_kib()?;
    let begun = Instant::now();
    each(client, FEW..MANY, create).await?;
    let create_seconds = begun.elapsed().as_secs_f64();
    let many_list_ms = lists(client, MANY).await?;
    let many_kib = server.resident_kib()?;
    Ok(Idle { few: FEW, many: MANY, few_kib, many_kib, few_list_ms, many_list_ms, create_seconds })
}

async fn lists(client: &AgentKernel, expected: usize) -> Result<Vec<f64>> {
    let mut milliseconds = Vec::new();
    for _ in 0..LISTS {
        let begun = Instant::now();
        let found = client.list_sandboxes(&[]).await?;
        milliseconds.push(since(begun));
        if found.len() != expected {
            bail!("the list has {} sandboxes of {expected}", found.len());
        }
    }
    Ok(milliseconds)
}

/// Does the work for each number, some at the same time.
async fn each<F: Future<Output = Result<()>> + 'static>(
    client: &AgentKernel,
    numbers: std::ops::Range<usize>,
    work: impl Fn(AgentKernel, String) -> F,
) -> Result<()> {
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            let mut running = tokio::task::JoinSet::new();
            for number in numbers {
                if running.len() == AT_ONCE
                    && let Some(done) = running.join_next().await
                {
                    done??;
                }
                running.spawn_local(work(client.clone(), format!("idle-{number}")));
            }
            while let Some(done) = running.join_next().await {
                done??;
            }
            Ok(())
        })
        .await
}
