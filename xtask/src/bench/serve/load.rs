//! A hundred clients at once, each on a connection of its own, one run after the other.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use agentkernel_sdk::{AgentKernel, RunRequest};
use anyhow::Result;

use super::super::program::Program;
use super::latency::{hello, since};
use super::process::Server;
use super::result::Load;

const AT_ONCE: usize = 100;
/// Each client's runs for each run that the settings name: a hundred connections need some time to be busy.
const RUNS_EACH: usize = 20;
const FAILURES_SHOWN: usize = 5;
/// Longer than any queue here.
const PATIENCE: Duration = Duration::from_secs(120);

/// `runs` times twenty, a hundred at once.
pub(super) async fn measure(agentkernel: &Program, runs: usize) -> Result<Load> {
    let server = Server::on_tcp(agentkernel.command(&[]), &agentkernel.folder("load.log")).await?;
    let client = AgentKernel::builder()
        .base_url(format!("http://{}", server.client.address()))
        .timeout(PATIENCE)
        .build()?;
    // The pool learns the kind, and each connection is opened, before time is taken.
    drop(clients(&client, AT_ONCE).await);
    let total = runs * RUNS_EACH;
    let begun = Instant::now();
    let mut done = clients(&client, total).await;
    let seconds = begun.elapsed().as_secs_f64();
    server.stop().await?;
    let failed = done.failures.len();
    done.failures.truncate(FAILURES_SHOWN);
    Ok(Load {
        runs: total,
        at_once: AT_ONCE,
        seconds,
        failed,
        warm: done.warm,
        milliseconds: done.milliseconds,
        failures: done.failures,
    })
}

#[derive(Default)]
struct Done {
    begun: usize,
    warm: usize,
    milliseconds: Vec<f64>,
    failures: Vec<String>,
}

async fn clients(client: &AgentKernel, total: usize) -> Done {
    let done = Rc::new(RefCell::new(Done::default()));
    let tasks = tokio::task::LocalSet::new();
    for _ in 0..AT_ONCE {
        tasks.spawn_local(one_client(client.clone(), Rc::clone(&done), total));
    }
    tasks.await;
    done.take()
}

async fn one_client(client: AgentKernel, done: Rc<RefCell<Done>>, total: usize) {
    loop {
        {
            let mut done = done.borrow_mut();
            if done.begun == total {
                return;
            }
            done.begun += 1;
        }
        let begun = Instant::now();
        let answered = client.run(&RunRequest::new(["/bin/echo", "hello"])).await;
        let taken = since(begun);
        let checked = answered.map_err(anyhow::Error::from).and_then(|result| {
            hello(&result)?;
            Ok(result.warm)
        });
        let mut done = done.borrow_mut();
        match checked {
            Ok(warm) => {
                done.milliseconds.push(taken);
                done.warm += usize::from(warm);
            }
            Err(error) => done.failures.push(format!("{error:#}")),
        }
    }
}
