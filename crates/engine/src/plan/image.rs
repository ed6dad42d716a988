//! Which root filesystem a sandbox starts from.

use std::path::Path;

use agentkernel_config::Settings;
use agentkernel_model::{ByteString, Capabilities, Feature, ImageRef};

use super::PlanError;
use crate::runtime::{Order, detect, image_of};

/// The image, and what to tell the user about the choice.
pub(super) fn choose(
    settings: &Settings,
    backend: &str,
    capabilities: &Capabilities,
    command: Option<&[ByteString]>,
    project: &Path,
) -> Result<(ImageRef, Vec<String>), PlanError> {
    if let Some(image) = &settings.image {
        return Ok((image.clone(), vec![format!("image {image} (as named)")]));
    }
    let (language, image, because) = match settings.runtime {
        Some(runtime) => (runtime, image_of(runtime), "as named".to_owned()),
        None => {
            let order = if command.is_some() { Order::CommandFirst } else { Order::ProjectFirst };
            let detected = detect(command, project, order);
            (detected.runtime, detected.image, detected.because)
        }
    };
    let runtime = format!("runtime {} ({because})", language.as_str());
    if capabilities.has(Feature::HostImage) && !capabilities.has(Feature::OciImages) {
        let host = format!("image host (backend {backend} runs the host's own system)");
        return Ok((ImageRef::host(), vec![runtime, host]));
    }
    let image: ImageRef = image.parse()?;
    let chosen = format!("image {image} (for that runtime)");
    Ok((image, vec![runtime, chosen]))
}
