//! Engines that don't see this machine's files and sockets: the agent's program is brought to them, and they carry the
//! bytes.

use std::collections::HashMap;
use std::time::Duration;

use agentkernel_backend::BackendError;
use agentkernel_model::SandboxSpec;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions, VolumeCreateRequest,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use tokio::io::AsyncReadExt;

use crate::backend::Parts;
use crate::boot::{Boot, pass_gate};
use crate::connection::Connected;
use crate::failure::{failed, status};
use crate::hijacked::Hijacked;
use crate::program::Way;
use crate::{owner, places, program};

/// Who the relay is in a box: nobody. An engine gives what it starts for root all that the agent was given at first, the
/// right over the network among it; and root of the box could have put a program of its own in the relay's place.
const RELAY_USER: &str = "65534:65534";

/// For messages.
const REACH: &str = "reach the sandbox's agent";

/// How an engine's report begins that its runtime could not start a process: it comes where the process's output would.
const ENGINE_WORDS: &str = "OCI runtime";

/// How often a relay is started before that is an error.
const RELAY_STARTS: u32 = 5;

/// How much more is read of an end that isn't the agent's, and for how long.
const MAX_LAST_WORDS: u64 = 4096;
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The id of the container that carries the program for box `id`.
pub(crate) fn carrier_id(id: &str) -> String {
    format!("{id}-carrier")
}

/// The engine's volume with the agent's program, filled where this machine hasn't done so yet. Boxes see it read-only:
/// what one of them wrote there, the next would run.
pub(crate) async fn program_volume(
    parts: &Parts,
    engine: &Connected,
    spec: &SandboxSpec,
    id: &str,
) -> Result<String, BackendError> {
    let agent = parts.agent()?;
    let version = agent.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let volume = format!("agentkernel-agent-{}-{version}", parts.owner.as_str());
    let known = engine.docker.inspect_volume(&volume).await;
    let marker = parts.folder().join(format!("{volume}.filled"));
    // One for each engine: another's volume may be half filled.
    let filled = std::fs::read_to_string(&marker).unwrap_or_default();
    let place = engine.address.to_string();
    if known.is_ok() && filled.lines().any(|line| line == place) {
        return Ok(volume);
    }
    let step = "bring the agent to the engine";
    let request = VolumeCreateRequest { name: Some(volume.clone()), ..VolumeCreateRequest::default() };
    engine.docker.create_volume(request).await.map_err(failed(step))?;
    let image = spec.image_id.as_ref().map(ToString::to_string);
    // Never started: it only lends its mount.
    let carrier = ContainerCreateBody {
        image,
        entrypoint: Some(vec![program::PROGRAM_IN_VOLUME.to_owned()]),
        network_disabled: Some(true),
        labels: Some(HashMap::from([
            (owner::ID.to_owned(), carrier_id(id)),
            (owner::OWNER.to_owned(), parts.owner.as_str().to_owned()),
        ])),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![Mount {
                typ: Some(MountType::VOLUME),
                source: Some(volume.clone()),
                target: Some(program::PROGRAM_VOLUME.to_owned()),
                // Else an empty volume begins with what the image has there, and every later box would start it.
                volume_options: Some(MountVolumeOptions {
                    no_copy: Some(true),
                    ..MountVolumeOptions::default()
                }),
                ..Mount::default()
            }]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    // By a name, so that it is found if this process dies.
    let name = owner::container_name(&carrier_id(id));
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let carrier = engine.docker.create_container(Some(options), carrier).await.map_err(failed(step))?.id;
    let archive =
        archive(agentkernel_agent_binary::AGENT).map_err(|source| BackendError::runtime(step, source))?;
    let uploaded = async {
        // A link of the image's could take the upload elsewhere, and leave the volume to something else.
        places::check(engine, &carrier, Way::Engine).await?;
        let options = UploadToContainerOptionsBuilder::default().path(program::PROGRAM_VOLUME).build();
        let body = bollard::body_full(archive.into());
        engine.docker.upload_to_container(&carrier, Some(options), body).await.map_err(failed(step))
    };
    let uploaded = uploaded.await;
    // With the volumes that the image declares.
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    engine.docker.remove_container(&carrier, Some(options)).await.map_err(failed(step))?;
    uploaded?;
    std::fs::write(&marker, format!("{filled}{place}\n"))
        .map_err(|source| BackendError::runtime(step, source))?;
    Ok(volume)
}

/// The agent's program as a tar stream of one file.
fn archive(program: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o555);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "agent", program)?;
    builder.into_inner()
}

/// The standard streams of a container's first process, before it is started.
pub(crate) async fn attach(engine: &Connected, container: &str) -> Result<Hijacked, BackendError> {
    let options =
        AttachContainerOptionsBuilder::default().stream(true).stdin(true).stdout(true).stderr(true).build();
    let attached = engine.docker.attach_container(container, Some(options)).await;
    let attached = attached.map_err(failed("attach to a container"))?;
    Ok(Hijacked::new(attached.output, attached.input))
}

/// The way to the agent of a container that runs, by a relay that the engine starts there. The agent does its set-up
/// first, where it still has to.
pub(crate) async fn reach(boot: &Boot<'_>, container: &str) -> Result<Hijacked, BackendError> {
    let mut tried = 1;
    loop {
        let mut stream = relay(boot.engine, container).await?;
        match pass(&mut stream, boot).await {
            // The relay never ran, so nothing has been asked of the agent. Engines that are busy fail to start a process
            // now and then, and succeed the next time.
            Err(Passing::NotStarted { words }) if tried < RELAY_STARTS => {
                tracing::debug!(words, tried, "the engine did not start the relay");
                tried += 1;
            }
            passed => return passed.map(|()| stream).map_err(BackendError::from),
        }
    }
}

/// A relay in a container that runs.
async fn relay(engine: &Connected, container: &str) -> Result<Hijacked, BackendError> {
    let words = [program::PROGRAM_IN_VOLUME, "--relay", program::SOCKET].map(str::to_owned);
    let request = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        user: Some(RELAY_USER.to_owned()),
        // Else the sandbox's own, which nobody may not be let into, or which is gone.
        working_dir: Some("/".to_owned()),
        cmd: Some(words.into()),
        ..CreateExecOptions::default()
    };
    let exec = engine.docker.create_exec(container, request).await;
    let exec = exec.map_err(|error| match status(&error) {
        Some(409) => BackendError::BoxEnded { why: "its container has stopped".to_owned() },
        _ => failed(REACH)(error),
    })?;
    match engine.docker.start_exec(&exec.id, None::<StartExecOptions>).await.map_err(failed(REACH))? {
        StartExecResults::Attached { output, input } => Ok(Hijacked::new(output, input)),
        StartExecResults::Detached => Err(BackendError::runtime(REACH, "the engine gave no stream")),
    }
}

/// Why an agent was not reached.
pub(crate) enum Passing {
    /// The engine did not start what would have spoken, and said why in the place of its output.
    NotStarted {
        /// The engine's words.
        words: String,
    },
    /// Anything else.
    Failed(BackendError),
}

impl From<Passing> for BackendError {
    fn from(passing: Passing) -> Self {
        match passing {
            Passing::NotStarted { words } => Self::runtime(REACH, words),
            Passing::Failed(error) => error,
        }
    }
}

/// Lets the agent at the other end do its set-up; a failure says what the other end complained of.
pub(crate) async fn pass(stream: &mut Hijacked, boot: &Boot<'_>) -> Result<(), Passing> {
    match pass_gate(stream, boot.setup()).await {
        Ok(()) => Ok(()),
        Err(error @ (BackendError::BoxEnded { .. } | BackendError::HostileGuest { .. })) => {
            Err(explain(stream, error).await)
        }
        Err(error) => Err(Passing::Failed(error)),
    }
}

/// What is behind `error`, by the last words of the other end.
async fn explain(stream: &mut Hijacked, error: BackendError) -> Passing {
    let mut rest = Vec::new();
    // What was said last may still be on its way; one that goes on and on is not listened to.
    let mut last_words = (&mut *stream).take(MAX_LAST_WORDS);
    let reading = last_words.read_to_end(&mut rest);
    if tokio::time::timeout(LAST_WORDS, reading).await.is_err() {
        tracing::debug!("the other end of a relay goes on");
    }
    match error {
        // Neither the agent nor its relay ever begins with these (see `agentkernel_protocol`'s gate); both Docker and
        // Podman begin so where the runtime below them fails.
        BackendError::HostileGuest { .. } if stream.opening().starts_with(ENGINE_WORDS) => {
            Passing::NotStarted { words: stream.opening() }
        }
        BackendError::BoxEnded { why } => {
            let complaint = stream.complaint();
            let why = if complaint.is_empty() { why } else { complaint };
            Passing::Failed(BackendError::BoxEnded { why })
        }
        error => Passing::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use bollard::container::LogOutput;

    use super::*;

    async fn explained(said: &[&'static str], error: BackendError) -> Passing {
        let items: Vec<_> =
            said.iter().map(|text| Ok(LogOutput::StdOut { message: (*text).into() })).collect();
        let output = Box::pin(futures_util::stream::iter(items));
        let mut stream = Hijacked::new(output, Box::pin(tokio::io::sink()));
        // What the gate has read before it gave up.
        assert_eq!(stream.read_u8().await.unwrap(), said[0].as_bytes()[0]);
        explain(&mut stream, error).await
    }

    #[tokio::test]
    async fn an_engine_that_starts_nothing_is_told_from_a_box_that_lies() {
        let hostile = || BackendError::HostileGuest { what: "x".to_owned() };
        let words = ["OCI runtime exec ", "failed: no room\r\n"];
        let Passing::NotStarted { words } = explained(&words, hostile()).await else {
            panic!("an engine's failure")
        };
        assert_eq!(words, "OCI runtime exec failed: no room");
        for said in [["O", "ther"], ["X", "OCI runtime"]] {
            let other = explained(&said, hostile()).await;
            assert!(matches!(other, Passing::Failed(BackendError::HostileGuest { .. })), "{said:?}");
        }
    }
}
