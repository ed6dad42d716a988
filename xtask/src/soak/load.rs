//! Clients without pause: each does one verb after the other, on a connection of its own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use agentkernel_sdk::AgentKernel;

use super::tally::{Tally, Trouble};
use super::verbs::{VERBS, Worker};

/// How many clients keep each backend busy: more than the machine has cores, so that something always waits.
const NATIVE_CLIENTS: u64 = 24;
const DOCKER_CLIENTS: u64 = 8;
/// How long any answer may take at saturation. One that takes longer is a client that hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// A verb is several requests; one that takes longer hangs.
const HANGS: Duration = Duration::from_secs(180);
/// Between two looks at whether a dead server has come back.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether the server is there, for telling a cut from a failure.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Counts up with each kill.
    pub(super) deaths: Cell<u32>,
    pub(super) dead: Cell<bool>,
}

/// What to do.
pub(super) struct Load<'a> {
    pub(super) address: String,
    pub(super) backend: &'a str,
    pub(super) duration: Duration,
}

impl Load<'_> {
    /// Does it; `life` where somebody kills the server meanwhile.
    pub(super) async fn run(&self, life: Option<Rc<Life>>) -> Tally {
        let tally = Rc::new(RefCell::new(Tally::default()));
        let clients = if self.backend == "docker" { DOCKER_CLIENTS } else { NATIVE_CLIENTS };
        let tasks = tokio::task::LocalSet::new();
        for number in 0..clients {
            let client =
                AgentKernel::builder().base_url(format!("http://{}", self.address)).timeout(PATIENCE).build();
            let client = match client {
                Ok(client) => client,
                Err(error) => {
                    tally.borrow_mut().add("client", Err(Trouble::Wrong(error.to_string())), false);
                    continue;
                }
            };
            let worker = Worker::new(client, self.backend, number);
            let end = Instant::now() + self.duration;
            tasks.spawn_local(work(worker, end, life.clone().unwrap_or_default(), Rc::clone(&tally)));
        }
        tasks.await;
        tally.take()
    }
}

async fn work(mut worker: Worker, end: Instant, life: Rc<Life>, tally: Rc<RefCell<Tally>>) {
    while Instant::now() < end {
        if life.dead.get() {
            // sleep: until the server is started again
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let deaths = life.deaths.get();
        let verb = VERBS[worker.choose(VERBS.len())];
        let ended = match tokio::time::timeout(HANGS, worker.perform(verb)).await {
            Ok(ended) => ended,
            Err(_) => Err(Trouble::Wrong(format!("not done after {} s", HANGS.as_secs()))),
        };
        let killed = life.deaths.get() != deaths;
        tally.borrow_mut().add(verb.name(), ended, killed);
    }
}
