//! Requests to what serves them.

use std::rc::Rc;

use agentkernel_protocol::{
    Accepted, Channel, Event, Failure, FailureKind, Request, State, Stream, encode_record,
};
use tokio::io::AsyncWriteExt;

use crate::agent::Agent;
use crate::failure::failure;
use crate::{execution, log, machine, port, worker};

/// Serves one channel to its end.
pub(crate) async fn serve(agent: Rc<Agent>, accepted: Accepted) {
    let Accepted { channel, request } = accepted;
    let result = match request {
        Ok(request) => dispatch(&agent, &channel, request).await,
        Err(error) => {
            let why = format!("the sandbox's agent doesn't know this request: {error}");
            Err(failure(FailureKind::Invalid, why))
        }
    };
    if let Err(failure) = result {
        // Nobody is left to tell where this fails.
        channel.send(&Event::Failed(failure)).await.ok();
    }
}

async fn dispatch(agent: &Rc<Agent>, channel: &Channel, request: Request) -> Result<(), Failure> {
    match request {
        Request::Exec(exec) => execution::run(agent, channel, &exec).await,
        Request::Executions => executions(agent, channel).await,
        Request::Kill { id, signal } => {
            agent.all_commands().find(&id)?.signal(signal)?;
            done(channel).await
        }
        Request::Wait { id } => wait(agent, channel, &id).await,
        Request::Logs { id, offset, follow } => {
            let entry = agent.all_commands().find(&id)?;
            log::send(channel, &entry, offset, follow).await
        }
        Request::OrderedLog { id, offset, follow } => {
            let entry = agent.all_commands().find(&id)?;
            log::send_ordered(channel, &entry, offset, follow).await
        }
        Request::Connect { port } => port::connect(channel, port).await,
        Request::Processes => processes(agent, channel).await,
        Request::PowerOff { grace_ms } => machine::power_off(agent, channel, grace_ms).await,
        request @ (Request::StandStill | Request::GoOn(_)) => {
            machine::pass_on(agent, channel, &request).await
        }
        request => worker::run(agent, channel, request).await,
    }
}

/// By a worker, where there is room for one; in a box that is full of processes, which is when one looks, by the agent.
async fn processes(agent: &Rc<Agent>, channel: &Channel) -> Result<(), Failure> {
    match worker::run(agent, channel, Request::Processes).await {
        Err(error) if error.kind == FailureKind::NoRoom => {}
        other => return other,
    }
    channel.send(&Event::Ready).await.ok();
    let mut writer = channel.writer(Stream::Output);
    if writer.write_all(&crate::files::process_records()).await.is_ok() {
        writer.finish();
        channel.send(&Event::Done).await.ok();
    }
    Ok(())
}

async fn done(channel: &Channel) -> Result<(), Failure> {
    channel.send(&Event::Done).await.ok();
    Ok(())
}

async fn executions(agent: &Rc<Agent>, channel: &Channel) -> Result<(), Failure> {
    channel.send(&Event::Ready).await.ok();
    let mut writer = channel.writer(Stream::Output);
    for entry in agent.all_commands().all() {
        let mut record = Vec::new();
        encode_record(&entry.describe(), &mut record);
        if writer.write_all(&record).await.is_err() {
            return Ok(());
        }
    }
    writer.finish();
    done(channel).await
}

async fn wait(agent: &Rc<Agent>, channel: &Channel, id: &str) -> Result<(), Failure> {
    let mut state = agent.all_commands().find(id)?.state.subscribe();
    tokio::select! {
        state = state.wait_for(|state| *state != State::Running) => {
            let state = state.map_or(State::Lost, |state| *state);
            channel.send(&Event::Ended(state)).await.ok();
        }
        // The client doesn't speak here; it only goes.
        _ = channel.receive::<Event>() => {}
    }
    Ok(())
}
