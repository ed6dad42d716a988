//! The life of a machine's agent: it listens, knocks, is told what the machine is to be, and serves until the end.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use agentkernel_protocol::machine::{MachineSetup, ask_machine_setup};
use agentkernel_protocol::{say_failed, say_ready};
use tokio::sync::Notify;

use super::listener::{self, HostStream, Listener};
use super::{power, setup};
use crate::agent::{self, Agent};
use crate::children;
use crate::meeting::{Gate, Visitors, farewell};
use crate::options::{Options, StartError};
use crate::raw;

/// Never returns where the process is the first of a machine: the machine ends instead. (In a pid namespace, all of that
/// ends: reboot(2).)
pub(crate) fn run(options: &Options) -> Result<(), StartError> {
    if !rustix::process::getpid().is_init() {
        return Err(StartError::NotFirst);
    }
    let given = options.listen.map(raw::inherited).transpose().map_err(StartError::step("use --listen-fd"));
    let life = given.and_then(|given| {
        agent::hide()?;
        setup::bare().map_err(|reason| StartError::Setup { reason })?;
        agent::run_alone(live(given))
    });
    if let Err(failure) = life {
        raw::complain(&failure.to_string());
    }
    power::off()
}

async fn live(given: Option<OwnedFd>) -> Result<(), StartError> {
    let step = StartError::step("listen for the host");
    // What was given a socket is a part of somebody's machine, whose control groups are not ours.
    let lasting = given.is_none();
    let listener = match given {
        Some(socket) => Listener::given(socket).map_err(&step)?,
        None => {
            let listener = Listener::open().map_err(&step)?;
            tokio::task::spawn_local(async {
                if let Err(error) = listener::knock().await {
                    raw::complain(&format!("agentkernel-agent: the host doesn't hear the knock: {error}"));
                }
            });
            listener
        }
    };
    let (stream, setup, agent) = first(&listener, lasting).await?;
    serve(&listener, stream, &setup, Rc::new(agent)).await
}

/// Meets hosts until one has said what the machine is to be.
async fn first(listener: &Listener, lasting: bool) -> Result<(HostStream, MachineSetup, Agent), StartError> {
    loop {
        let mut stream = listener.accept().await.map_err(StartError::step("meet the host"))?;
        let result = match ask_machine_setup(&mut stream).await {
            Ok(setup) => setup::apply(&setup, lasting).map(|agent| (setup, agent)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error.to_string()),
            // It has gone meanwhile: another may come.
            Err(_) => continue,
        };
        match result {
            Ok((setup, mut agent)) => {
                agent.power_off = Some(Notify::new());
                // Where it has gone by now, the next who comes finds a machine that is set up.
                say_ready(&mut stream).await.ok();
                return Ok((stream, setup, agent));
            }
            Err(reason) => {
                // It ends all the same where nobody hears why.
                say_failed(&mut stream, &reason).await.ok();
                farewell(&mut stream).await;
                return Err(StartError::Setup { reason });
            }
        }
    }
}

/// Serves all who come, as in any box, until the machine is to end.
async fn serve(
    listener: &Listener,
    stream: HostStream,
    setup: &MachineSetup,
    agent: Rc<Agent>,
) -> Result<(), StartError> {
    let mut reaper = tokio::task::spawn_local(children::reap_all(Rc::clone(&agent.children)));
    let gate = Gate::new(setup.agent_capabilities | power::RIGHT, power::exceptions());
    let visitors = Visitors::new(Rc::clone(&agent), gate);
    let mut owner = visitors.receive(stream).await?;
    let ordered = async {
        match &agent.power_off {
            Some(order) => order.notified().await,
            None => std::future::pending().await,
        }
    };
    let mut ordered = std::pin::pin!(ordered);
    loop {
        tokio::select! {
            stream = listener.accept() => {
                let stream = stream.map_err(StartError::step("meet the host"))?;
                drop(visitors.receive(stream).await?);
            }
            _ = &mut owner, if setup.exit_with_stream => return Ok(()),
            () = &mut ordered => return Ok(()),
            failed = &mut reaper => return failed.unwrap_or(Ok(())),
        }
    }
}
