//! The engine's own images: used as they are, pulled by the engine where they are missing.

use std::collections::HashSet;
use std::sync::Arc;

use agentkernel_backend::{BackendError, Images, ReadyImage};
use agentkernel_image::{EngineLogin, Reference, engine_config, engine_login};
use agentkernel_model::{ImageConfig, ImageId, ImageRef, PullEvent, PullPolicy, PullProgress};
use async_trait::async_trait;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use crate::backend::Parts;
use crate::failure::{clean, failed, unless_missing, words};

/// How much of a layer's digest is told.
const SHORT: usize = 12;

/// The images of one engine.
pub(crate) struct EngineImages {
    parts: Arc<Parts>,
}

impl EngineImages {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }

    /// What `image` names in the engine now.
    pub(crate) async fn look_up(&self, image: &ImageRef) -> Result<Option<ReadyImage>, BackendError> {
        check_name(image)?;
        let engine = self.parts.engine().await?;
        let inspected = unless_missing(engine.docker.inspect_image(image.as_str()).await)
            .map_err(failed(format!("look up image {image}")))?;
        inspected.map(|inspected| ready(image, inspected)).transpose()
    }

    async fn pull(&self, image: &ImageRef, progress: &dyn PullProgress) -> Result<(), BackendError> {
        let reference: Reference =
            image.as_str().parse().map_err(|error| BackendError::runtime(format!("read {image}"), error))?;
        let engine = self.parts.engine().await?;
        progress.report(PullEvent::Resolving { reference: reference.to_string() });
        let (login, problem) = engine_login(&self.parts.settings.registries, &reference).await;
        if let Some(why) = problem {
            progress.report(PullEvent::Retry { why: format!("without credentials: {why}") });
        }
        let options = CreateImageOptionsBuilder::default()
            .from_image(&reference.name())
            .tag(&reference.wanted())
            .build();
        let credentials = login.map(|login| credentials(login, reference.registry()));
        let mut events = engine.docker.create_image(Some(options), None, credentials).boxed();
        let mut layers = Layers::default();
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| self.explain(image, &reference, &error))?;
            if let Some(event) = layers.event(event) {
                progress.report(event);
            }
        }
        Ok(())
    }

    /// What would work instead.
    fn explain(&self, image: &ImageRef, reference: &Reference, error: &Error) -> BackendError {
        let said = words(error);
        let lower = said.to_lowercase();
        let title = self.parts.kind.title();
        let denied =
            ["denied", "unauthorized", "authentication required"].iter().any(|it| lower.contains(it));
        let missing = ["not found", "manifest unknown", "no such image"].iter().any(|it| lower.contains(it));
        let fix = match (denied, missing) {
            (true, _) => format!(
                "check the name; if the image is private, log in with `{} login {}`",
                self.parts.kind.name(),
                reference.registry()
            ),
            (_, true) => format!("check the name and tag, or build it and tag it {image}"),
            _ => format!(
                "check the network of {title}'s machine, name a registry that it reaches, or load the image from a file \
                 with `{} load`",
                self.parts.kind.name()
            ),
        };
        let why = format!("image {reference} can't be pulled: {said}");
        if missing && !denied {
            return BackendError::NoImage { why, fix };
        }
        BackendError::Unavailable { backend: self.parts.name.to_string(), why, fix }
    }
}

#[async_trait]
impl Images for EngineImages {
    async fn find(&self, image: &ImageRef) -> Result<Option<ReadyImage>, BackendError> {
        self.look_up(image).await
    }

    async fn prepare(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: &dyn PullProgress,
    ) -> Result<ReadyImage, BackendError> {
        if policy != PullPolicy::Always
            && let Some(ready) = self.look_up(image).await?
        {
            return Ok(ready);
        }
        if policy == PullPolicy::Never {
            return Err(BackendError::NoImage {
                why: format!("image {image} is not in {} and may not be pulled", self.parts.kind.title()),
                fix: format!(
                    "allow it with --pull missing, or load it with `{} load`",
                    self.parts.kind.name()
                ),
            });
        }
        self.pull(image, progress).await?;
        let nowhere = || BackendError::NotFound { what: format!("image {image}, although it was pulled,") };
        self.look_up(image).await?.ok_or_else(nowhere)
    }
}

/// A name that could be taken for another path of the API.
fn check_name(image: &ImageRef) -> Result<(), BackendError> {
    let odd =
        image.as_str().split('/').any(|part| part.is_empty() || part.chars().all(|letter| letter == '.'));
    match odd || image.is_host() {
        true => Err(BackendError::Invalid { what: format!("{image} is not the name of an OCI image") }),
        false => Ok(()),
    }
}

/// An engine's description, which is an image's own word.
pub(crate) fn ready(image: &ImageRef, inspected: ImageInspect) -> Result<ReadyImage, BackendError> {
    let odd = |why: String| BackendError::Invalid { what: format!("image {image} can't be used: {why}") };
    let id = inspected.id.unwrap_or_default();
    let id = if id.contains(':') { id } else { format!("sha256:{id}") };
    let id: ImageId = id.parse().map_err(|_| odd(format!("its id {:?} is none", clean(&id))))?;
    let config = match inspected.config {
        None => ImageConfig::default(),
        Some(config) => {
            let value = serde_json::to_value(config).map_err(|error| odd(error.to_string()))?;
            engine_config(&value).map_err(odd)?
        }
    };
    Ok(ReadyImage { id, config })
}

fn credentials(login: EngineLogin, registry: &str) -> DockerCredentials {
    let (username, password) = login.password.unzip();
    DockerCredentials {
        username,
        password,
        identitytoken: login.identity_token,
        registrytoken: login.registry_token,
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    }
}

/// The layers that were told of.
#[derive(Default)]
struct Layers {
    begun: HashSet<String>,
}

impl Layers {
    /// Our form of what an engine tells.
    fn event(&mut self, info: CreateImageInfo) -> Option<PullEvent> {
        let id: String = clean(&info.id?).chars().take(SHORT).collect();
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        match info.status?.as_str() {
            "Already exists" => Some(PullEvent::LayerPresent { id }),
            "Pull complete" => Some(PullEvent::LayerDone { id }),
            "Downloading" => {
                let detail = info.progress_detail.unwrap_or_default();
                let done = number(detail.current);
                match self.begun.insert(id.clone()) {
                    true => Some(PullEvent::Layer { id, done, total: number(detail.total) }),
                    false => Some(PullEvent::Progress { id, done }),
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(text: &str) -> ImageInspect {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn images_are_described_by_strangers() {
        let image: ImageRef = "x:1".parse().unwrap();
        let id = "a".repeat(64);
        let text = format!(r#"{{"Id":"sha256:{id}","Config":{{"Cmd":["sh"],"Env":["A=b"],"User":"me"}}}}"#);
        let found = ready(&image, inspected(&text)).unwrap();
        assert_eq!(found.id.hex(), id);
        assert_eq!(found.config.command, ["sh".into()]);
        // Podman's form.
        assert_eq!(ready(&image, inspected(&format!(r#"{{"Id":"{id}"}}"#))).unwrap().id.hex(), id);
        for bad in [r#"{"Id":"sha256:../../x"}"#.to_owned(), "{}".to_owned(), text.replace("A=b", "=")] {
            assert!(ready(&image, inspected(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_do_not_lead_elsewhere_in_the_api() {
        for bad in ["a/../../containers/x", "a//b", "a/./b", "host"] {
            assert!(check_name(&bad.parse().unwrap()).is_err(), "{bad}");
        }
        for good in ["a", "a.b/c:1", "localhost:5000/x/y@sha256", "sha256:abc"] {
            assert!(check_name(&good.parse().unwrap()).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_pull_is_told_layer_by_layer() {
        let mut layers = Layers::default();
        let mut event = |text: &str| layers.event(serde_json::from_str(text).unwrap());
        assert_eq!(event(r#"{"status":"Pulling from library/x","id":"latest"}"#), None);
        let down =
            r#"{"status":"Downloading","id":"0123456789abcdef","progressDetail":{"current":5,"total":9}}"#;
        let id = || "0123456789ab".to_owned();
        assert_eq!(event(down), Some(PullEvent::Layer { id: id(), done: 5, total: 9 }));
        assert_eq!(event(down), Some(PullEvent::Progress { id: id(), done: 5 }));
        let done = r#"{"status":"Pull complete","id":"0123456789ab"}"#;
        assert_eq!(event(done), Some(PullEvent::LayerDone { id: id() }));
        assert_eq!(event(r#"{"status":"Status: done"}"#), None);
    }
}
