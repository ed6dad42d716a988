//! `image usage`.

use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, print_json, print_text};
use crate::progress::bytes;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel image usage
  agentkernel image usage --json

--json prints {images, layers, layer_bytes, shared_bytes, blob_bytes, partial_bytes, block_bytes,
total_bytes, max_bytes}. The limit is images.max_size of the configuration.")]
pub(crate) struct Args {
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
    let settings = application.settings(None, agentkernel_config::Overrides::default())?;
    let usage = application.images_with(&settings)?.usage()?;
    if arguments.json {
        print_json(&usage)?;
        return Ok(0);
    }
    let limit = usage.max_bytes.map_or_else(|| "none".to_owned(), bytes);
    let rows = [
        ("images", usage.images.to_string()),
        ("layers", usage.layers.to_string()),
        ("unpacked", bytes(usage.layer_bytes)),
        ("  of it shared", bytes(usage.shared_bytes)),
        ("as fetched", bytes(usage.blob_bytes)),
        ("block devices", bytes(usage.block_bytes)),
        ("interrupted", bytes(usage.partial_bytes)),
        ("total", bytes(usage.total_bytes)),
        ("limit", limit),
    ];
    print_text(&rows.map(|(key, value)| format!("{key:<15} {value}\n")).concat())?;
    Ok(0)
}
