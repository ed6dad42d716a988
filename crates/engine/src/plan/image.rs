//! Which root filesystem a sandbox starts from.
//!
//! What is named is used. Where nothing is named, a backend that can't show the host's own system takes the image of the
//! command's or the project's language. A backend that can show it does so unless the language's image is here already,
//! or the host has no such program: the network is touched only in that last case.

use std::path::PathBuf;

use agentkernel_backend::{BackendError, Images, ReadyImage};
use agentkernel_model::{Feature, ImageConfig, ImageRef};

use super::host_program::{Whereabouts, whereabouts};
use super::{ImageChoice, PlanError, PlanRequest};
use crate::EngineError;
use crate::runtime::{Detected, Order, detect, detect_command, image_of};

/// The image by its name, before anything is fetched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) image: ImageRef,
    pub(super) because: String,
}

/// Chooses. Touches no network, and looks into the project's folder only where that can matter.
pub(super) async fn choose(request: &PlanRequest<'_>, tools: &[PathBuf]) -> Result<Named, EngineError> {
    let settings = request.settings;
    if let Some(image) = &settings.image {
        return Ok(Named { image: image.clone(), because: "as named".to_owned() });
    }
    if let Some(runtime) = settings.runtime {
        return named(image_of(runtime), format!("for runtime {}, as named", runtime.as_str()));
    }
    let capabilities = request.backend.capabilities();
    if !capabilities.has(Feature::HostImage) {
        return of_language(&detected(request));
    }
    match request.backend.images().filter(|_| capabilities.has(Feature::OciImages)) {
        Some(images) => host_or_language(request, images, tools).await,
        None => Ok(host(&format!("backend {} runs the host's own system", request.backend.name()))),
    }
}

async fn host_or_language(
    request: &PlanRequest<'_>,
    images: &dyn Images,
    tools: &[PathBuf],
) -> Result<Named, EngineError> {
    let program = request.command.as_ref().and_then(|command| command.program());
    let place = program.map(|program| whereabouts(program, tools));
    if place == Some(Whereabouts::OnHost) {
        // The folder says nothing about a program that its own name doesn't say.
        let language = program.and_then(|program| detect_command(std::slice::from_ref(program)));
        return Ok(match here(images, language.as_ref()).await? {
            Some(image) => image,
            None => host("the host has the program"),
        });
    }
    let language = Some(detected(request)).filter(Detected::is_known);
    if let Some(image) = here(images, language.as_ref()).await? {
        return Ok(image);
    }
    match (place, language) {
        (Some(Whereabouts::Elsewhere), Some(language)) => of_language(&language),
        (Some(Whereabouts::InProject), _) => Ok(host("the program is a file of the project")),
        (Some(_), None) => Ok(host("no language is known of the program or the folder")),
        _ => Ok(host("no command is known")),
    }
}

/// The language's image where it needs no fetching.
async fn here(images: &dyn Images, language: Option<&Detected>) -> Result<Option<Named>, EngineError> {
    let Some(language) = language else { return Ok(None) };
    let mut named = of_language(language)?;
    if images.find(&named.image).await?.is_none() {
        return Ok(None);
    }
    named.because.push_str("; it is here already");
    Ok(Some(named))
}

fn detected(request: &PlanRequest<'_>) -> Detected {
    let program = request.command.as_ref().and_then(|command| command.program());
    let order = if request.command.is_some() { Order::CommandFirst } else { Order::ProjectFirst };
    detect(program.map(std::slice::from_ref), &request.environment.cwd, order)
}

fn of_language(language: &Detected) -> Result<Named, EngineError> {
    named(language.image, format!("for runtime {}: {}", language.runtime.as_str(), language.because))
}

fn named(image: &str, because: String) -> Result<Named, EngineError> {
    Ok(Named { image: image.parse().map_err(PlanError::from)?, because })
}

fn host(because: &str) -> Named {
    Named { image: ImageRef::host(), because: because.to_owned() }
}

/// Makes sure that the image is here. Image `host` always is, and says nothing about commands.
pub(super) async fn prepare(
    request: &PlanRequest<'_>,
    named: Named,
) -> Result<(ImageChoice, Option<ReadyImage>), EngineError> {
    let Named { image, because } = named;
    let name = image.to_string();
    let images = match request.backend.images() {
        Some(images) if !image.is_host() => images,
        _ => return Ok((ImageChoice { name, id: None, because }, None)),
    };
    let pull = request.settings.outside.images.pull;
    let named = request.settings.image.is_some();
    let ready = images.prepare(&image, pull, request.progress).await.map_err(|error| {
        let (absent, why, fix) = match error {
            BackendError::NoImage { why, fix } => (true, why, fix),
            BackendError::Unavailable { why, fix, .. } => (false, why, fix),
            other => return other.into(),
        };
        let because = if named { String::new() } else { format!(" (it was chosen {because})") };
        EngineError::NoImage { absent, why, because, fix }
    })?;
    Ok((ImageChoice { name, id: Some(ready.id.clone()), because }, Some(ready)))
}

/// What an image that says nothing says.
pub(super) fn config_of(ready: Option<&ReadyImage>) -> ImageConfig {
    ready.map(|ready| ready.config.clone()).unwrap_or_default()
}
