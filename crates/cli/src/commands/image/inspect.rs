//! `image inspect`.

use std::fmt::Write;

use agentkernel_image::{ImageDetails, ImageError};
use agentkernel_model::ImageRef;

use super::list::familiar;
use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, print_json, print_text};
use crate::progress::bytes;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel image inspect alpine:3.20
  agentkernel image inspect 0123456789ab --json

--json prints an array of {names, id, config, manifest, platform, created, layers, bytes}.")]
pub(crate) struct Args {
    /// Names or ids of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<ImageRef>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let store = application.images()?;
    let mut found = Vec::new();
    for image in &arguments.images {
        let details = store.inspect(image)?;
        found.push(details.ok_or_else(|| ImageError::Missing { image: image.to_string() })?);
    }
    if arguments.json {
        print_json(&found)?;
    } else {
        let texts: Vec<String> = found.iter().map(lines).collect();
        print_text(&texts.join("\n"))?;
    }
    Ok(0)
}

fn lines(details: &ImageDetails) -> String {
    let (image, config) = (&details.image, &details.image.config);
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // Writing into a String can't fail.
        if writeln!(text, "{key:<13} {value}").is_err() {
            tracing::debug!(key, "a line is missing");
        }
    };
    line("id", image.id.to_string());
    for name in &details.names {
        line("name", familiar(name));
    }
    if let Some(platform) = &image.platform {
        line("platform", platform.to_string());
    }
    if let Some(created) = &image.created {
        line("created", created.clone());
    }
    line("size", bytes(details.bytes));
    line("layers", image.layers.len().to_string());
    line("entrypoint", words(&config.entrypoint));
    line("command", words(&config.command));
    line("workdir", config.workdir.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string));
    line("user", config.user.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string));
    for variable in &config.env {
        line("variable", format!("{}={}", variable.name.to_lossy(), variable.value.to_lossy()));
    }
    text
}

fn words(words: &[agentkernel_model::ByteString]) -> String {
    if words.is_empty() {
        return "-".to_owned();
    }
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ")
}
