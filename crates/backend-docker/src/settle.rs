//! Requests of the dead: an engine goes on with what it was asked for after the one who asked was killed, and the container
//! appears when everybody has already looked for it.

use std::collections::HashMap;
use std::time::Duration;

use agentkernel_backend::BackendError;
use agentkernel_model::ImageId;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::backend::Parts;
use crate::boot::{describe, remove};
use crate::connection::Connected;
use crate::failure::{failed, status, words};
use crate::owner::{self, container_name};

/// How long an engine may take to make a container.
const LONGEST_MAKING: Duration = Duration::from_secs(60);

/// How often it is looked for while it is being made.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until no container by the name of box `id` is going to appear by itself: who can take the name knows that
/// nobody else is making one, and whoever comes later is refused it for so long. What there is then, is found as ever.
pub(crate) async fn settle(
    parts: &Parts,
    engine: &Connected,
    id: &str,
    image: &ImageId,
) -> Result<(), BackendError> {
    let name = container_name(id);
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let settled = timeout(LONGEST_MAKING, async {
        loop {
            ticks.tick().await;
            let options = CreateContainerOptionsBuilder::default().name(&name).build();
            match engine.docker.create_container(Some(options), placeholder(parts, id, image)).await {
                Ok(made) => return remove(engine, &made.id).await,
                // It is being made, and may yet fail; or it has come, or is somebody else's.
                Err(error) if is_taken(&error) => {
                    if describe(engine, &name).await?.is_some() {
                        return Ok(());
                    }
                }
                // Without its image, nobody else can have made one.
                Err(error) if status(&error) == Some(404) => return Ok(()),
                Err(error) => return Err(failed("look for a container that is being made")(error)),
            }
        }
    });
    let never = || {
        BackendError::runtime("wait for a container", format!("{name} has been in the making for a minute"))
    };
    settled.await.unwrap_or_else(|_| Err(never()))
}

/// Somebody has the name, perhaps only for a container that is being made.
fn is_taken(error: &bollard::errors::Error) -> bool {
    status(error) == Some(409) || words(error).contains("already in use")
}

/// Never started, and removed by its labels if this process dies, too.
fn placeholder(parts: &Parts, id: &str, image: &ImageId) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_string()),
        entrypoint: Some(vec!["/nothing".to_owned()]),
        network_disabled: Some(true),
        labels: Some(HashMap::from([
            (owner::ID.to_owned(), id.to_owned()),
            (owner::OWNER.to_owned(), parts.owner.as_str().to_owned()),
        ])),
        host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    }
}
