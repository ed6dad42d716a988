//! `image list`.

use agentkernel_image::{ImageSummary, Reference};
use agentkernel_model::ImageId;
use serde::Serialize;

use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, Style, Table, age_of, print_json, print_text, warn_line};
use crate::progress::bytes;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel image list
  agentkernel images
  agentkernel image ls --quiet
  agentkernel image list --json

SIZE is that of the files; layers that images share are kept once. --json prints an array of {id,
names, created, last_used, bytes, unique_bytes}.")]
pub(crate) struct Args {
    /// Print only ids
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
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
struct Entry<'a> {
    id: &'a ImageId,
    names: &'a [String],
    created: Option<&'a str>,
    last_used: Option<String>,
    bytes: u64,
    unique_bytes: u64,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let images = application.images()?.list()?;
    if arguments.json {
        print_json(&images.iter().map(entry).collect::<Vec<_>>())?;
    } else if arguments.quiet {
        print_text(&images.iter().map(|image| format!("{}\n", image.id)).collect::<String>())?;
    } else if images.is_empty() {
        warn_line("No images. Fetch one with: agentkernel image pull IMAGE");
    } else {
        print_text(&table(&images).render(Style::of(&application.environment)))?;
    }
    Ok(0)
}

fn entry(image: &ImageSummary) -> Entry<'_> {
    Entry {
        id: &image.id,
        names: &image.names,
        created: image.created.as_deref(),
        last_used: image.last_used.map(|time| humantime::format_rfc3339_seconds(time).to_string()),
        bytes: image.bytes,
        unique_bytes: image.unique_bytes,
    }
}

fn table(images: &[ImageSummary]) -> Table {
    let mut table = Table::new(["NAME", "ID", "SIZE", "CREATED"]);
    for image in images {
        let tagged = image.names.iter().map(|name| familiar(name)).filter(|name| !name.contains('@'));
        let mut names: Vec<String> = tagged.collect();
        if names.is_empty() {
            names.push("<none>".to_owned());
        }
        for name in names {
            table.row([
                (name, None),
                (image.id.short().to_owned(), None),
                (bytes(image.bytes), None),
                (image.created.as_deref().map_or_else(|| "-".to_owned(), age_of), None),
            ]);
        }
    }
    table
}

/// The name as people write it.
pub(super) fn familiar(name: &str) -> String {
    name.parse::<Reference>().map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}
