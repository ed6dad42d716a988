//! `image pull`.

use agentkernel_config::Overrides;
use agentkernel_image::Platform;
use agentkernel_model::{BackendName, ImageConfig, ImageId, ImageRef, PullPolicy};
use serde::Serialize;

use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, print_json, print_text};
use crate::outside::registry_settings;
use crate::progress::Progress;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel image pull alpine:3.20
  agentkernel image pull python:3.12-alpine node:22-alpine
  agentkernel image pull --platform linux/arm64 ghcr.io/owner/tool@sha256:0123...
  agentkernel image pull --backend podman alpine:3.20

What is here already isn't fetched again; an interrupted fetch goes on where it stopped. Logins are
those of `docker login`. Registries without TLS only where images.insecure names them.
--json prints an array of {name, id, config}.")]
pub(crate) struct Args {
    /// Names of images: `NAME[:TAG][@DIGEST]`, with the registry before it where that isn't docker.io
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<ImageRef>,
    /// Another platform than this machine's: OS/ARCHITECTURE[/VARIANT]
    #[arg(long, value_name = "PLATFORM", conflicts_with = "backend")]
    platform: Option<Platform>,
    /// Backend whose images are meant: docker or podman fetch into their own store [default: the one of native and firecracker]
    #[arg(short = 'B', long, value_name = "BACKEND")]
    backend: Option<BackendName>,
    /// Configuration file [default: agentkernel.toml of the current folder, where there is one]
    #[arg(short, long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// One image of `--json`.
#[derive(Serialize)]
struct Pulled {
    name: String,
    id: ImageId,
    config: ImageConfig,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let overrides = Overrides { backend: arguments.backend.clone(), ..Overrides::default() };
    let settings = application.settings(arguments.config.as_deref(), overrides)?;
    let mut done = Vec::new();
    for image in &arguments.images {
        let progress = Progress::new(&application.environment);
        let (id, config) = match &arguments.backend {
            Some(backend) => {
                let engine = application.engine_with(&settings).await?;
                let ready = engine.pull(backend, image, PullPolicy::Always, &progress).await?;
                (ready.id, ready.config)
            }
            None => {
                let store = application.images_with(&settings)?;
                let mut registry = registry_settings(&settings.outside, &application.environment);
                registry.platform.clone_from(&arguments.platform);
                let stored = store.prepare(image, PullPolicy::Always, &registry, &progress).await?;
                (stored.id, stored.config)
            }
        };
        drop(progress);
        if !arguments.json {
            print_text(&format!("{image} {}\n", id.short()))?;
        }
        done.push(Pulled { name: image.to_string(), id, config });
    }
    if arguments.json {
        print_json(&done)?;
    }
    Ok(0)
}
