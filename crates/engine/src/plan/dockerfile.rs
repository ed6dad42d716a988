//! Which Dockerfile is built, from what, and what the result is called.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use agentkernel_backend::BuildRequest;
use agentkernel_config::{BuildSettings, Environment, Settings};

use super::PlanError;

/// The names that are looked for, in this order.
const NAMES: [&str; 6] = [
    "Dockerfile",
    "dockerfile",
    "Dockerfile.dev",
    "Dockerfile.development",
    "Dockerfile.prod",
    "Dockerfile.production",
];

/// The longest Dockerfile.
const LIMIT_BYTES: u64 = 1 << 20;

/// Completes what is to be built. Reads the Dockerfile, which names the result together with everything else that is
/// asked for; that the context has changed is for the builder to see.
pub(crate) fn build_request(
    build: &BuildSettings,
    settings: &Settings,
    environment: &Environment,
) -> Result<BuildRequest, PlanError> {
    let path = match &build.dockerfile {
        Some(path) => path.clone(),
        None => find(build.context.as_deref().unwrap_or(&environment.cwd))?,
    };
    let context = build.context.clone().or_else(|| path.parent().map(Path::to_owned)).unwrap_or_default();
    let Ok(dockerfile) = path.strip_prefix(&context) else {
        return Err(PlanError::DockerfileOutside { dockerfile: path, context });
    };
    let unreadable = |source| PlanError::Dockerfile { path: path.clone(), source };
    let mut content = Vec::new();
    let file = std::fs::File::open(&path).map_err(unreadable)?;
    let read = file.take(LIMIT_BYTES + 1).read_to_end(&mut content).map_err(unreadable)?;
    if read as u64 > LIMIT_BYTES {
        return Err(unreadable(std::io::Error::other("it is longer than 1 MiB")));
    }
    let project = match &settings.name {
        Some(name) => name.to_string(),
        None => context.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let mut hasher = DefaultHasher::new();
    (&content, &context, &build.target, &build.args).hash(&mut hasher);
    let tag = format!("agentkernel-{}:{}", repository(&project), &format!("{:016x}", hasher.finish())[..12]);
    Ok(BuildRequest {
        dockerfile: dockerfile.to_owned(),
        context,
        target: build.target.clone(),
        args: build.args.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        no_cache: build.no_cache,
        tag,
    })
}

fn find(folder: &Path) -> Result<PathBuf, PlanError> {
    let found = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| PlanError::NoDockerfile { folder: folder.to_owned(), names: NAMES.join(", ") })
}

/// A name that an image's can hold: lower-case letters and digits with single dashes in between.
fn repository(project: &str) -> String {
    let words = project.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let plain = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    if plain.is_empty() { "project".to_owned() } else { plain.chars().take(63).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_give_names_that_images_can_have() {
        for (project, name) in
            [("My Project.rs", "my-project-rs"), ("a__b", "a-b"), ("", "project"), ("...", "project")]
        {
            assert_eq!(repository(project), name);
        }
    }
}
