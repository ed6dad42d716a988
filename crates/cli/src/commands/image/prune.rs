//! `image prune`.

use agentkernel_image::{ImageSummary, PruneRequest};
use agentkernel_model::ImageId;
use serde::Serialize;

use super::list::familiar;
use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, print_json, print_text};
use crate::progress::bytes;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel image prune
  agentkernel image prune --all --dry-run
  agentkernel image prune --all

Removes images that have no name any more, interrupted downloads, and layers that no image needs; with
--all also images that have a name. What a sandbox was made from stays, running or not.
--json prints {images, layers, blobs, blob_bytes, partials, left_for_next}.")]
pub(crate) struct Args {
    /// Also images that have a name and that no sandbox was made from
    #[arg(short, long)]
    all: bool,
    /// Only say which images would go
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Json for Args {
    fn json(&self) -> bool {
        self.json
    }
}

/// What `--dry-run --json` prints.
#[derive(Serialize)]
struct Would<'a> {
    images: Vec<&'a ImageId>,
    unique_bytes: u64,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let store = application.images()?;
    let in_use = application.engine_without_recovery(&application.state_dir()?)?.images_in_use()?;
    if arguments.dry_run {
        let all = store.list()?;
        let tagged = |image: &ImageSummary| image.names.iter().any(|name| !name.contains('@'));
        let goes = |image: &&ImageSummary| !in_use.contains(&image.id) && (arguments.all || !tagged(image));
        let images: Vec<&ImageSummary> = all.iter().filter(goes).collect();
        let unique_bytes = images.iter().map(|image| image.unique_bytes).sum();
        if arguments.json {
            let images = images.iter().map(|image| &image.id).collect();
            print_json(&Would { images, unique_bytes })?;
            return Ok(0);
        }
        for image in &images {
            let name = image.names.first().map_or_else(|| "<none>".to_owned(), |name| familiar(name));
            print_text(&format!("{} {name}\n", image.id.short()))?;
        }
        print_text(&format!("Would remove {} images, {}\n", images.len(), bytes(unique_bytes)))?;
        return Ok(0);
    }
    let pruned = store.prune(&PruneRequest { all: arguments.all, in_use })?;
    if arguments.json {
        print_json(&pruned)?;
        return Ok(0);
    }
    for image in &pruned.images {
        print_text(&format!("{}\n", image.short()))?;
    }
    print_text(&format!(
        "Removed {} images, {} layers and {} blobs ({})\n",
        pruned.images.len(),
        pruned.layers,
        pruned.blobs,
        bytes(pruned.blob_bytes)
    ))?;
    if pruned.left_for_next {
        print_text("Layers and blobs were left: an image is being added now\n")?;
    }
    Ok(0)
}
