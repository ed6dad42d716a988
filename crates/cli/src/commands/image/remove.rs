//! `image remove`.

use agentkernel_engine::Engine;
use agentkernel_image::{ImageError, ImageStore};
use agentkernel_model::ImageRef;

use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, print_json, print_text};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel image remove alpine:3.20
  agentkernel image rm --force 0123456789ab

Of an image with several names only the one that is given goes. An image that a sandbox was made from
stays, with --force too. --json prints an array of {names, image, layers, blob_bytes}.")]
pub(crate) struct Args {
    /// Names or ids of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<ImageRef>,
    /// Remove an image that is given by its id with all its names
    #[arg(short, long)]
    force: bool,
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
    let engine = application.engine_without_recovery(&application.state_dir()?)?;
    let mut removed = Vec::new();
    for image in &arguments.images {
        let result = store.remove(image, &engine.images_in_use()?, arguments.force);
        let one = match result {
            Err(ImageError::InUse { image: shown }) => {
                let id = store.find(image)?.map(|found| found.id);
                let users = id.map_or_else(|| Ok(Vec::new()), |id| engine.users_of_image(&id))?;
                let Some(user) = users.first() else {
                    return Err(kept_by_snapshot(&store, &engine, image, shown)?);
                };
                return Err(CliError::usage(format!(
                    "image {shown} stays: sandbox {user} was made from it; remove that first with agentkernel remove {user}"
                )));
            }
            other => other?,
        };
        if !arguments.json {
            let gone = one.names.iter().map(|name| super::list::familiar(name));
            let gone = gone.chain(one.image.iter().map(ToString::to_string));
            print_text(&gone.map(|name| format!("{name}\n")).collect::<String>())?;
        }
        removed.push(one);
    }
    if arguments.json {
        print_json(&removed)?;
    }
    Ok(0)
}

/// Why an image stays that no sandbox needs: a snapshot's source was made from it.
fn kept_by_snapshot(
    store: &ImageStore,
    engine: &Engine,
    image: &ImageRef,
    shown: String,
) -> Result<CliError, CliError> {
    let id = store.find(image)?.map(|found| found.id);
    let users = id.map_or_else(|| Ok(Vec::new()), |id| engine.snapshots_of_image(&id))?;
    let Some(user) = users.first() else { return Ok(ImageError::InUse { image: shown }.into()) };
    Ok(CliError::usage(format!(
        "image {shown} stays: snapshot {user} needs it; remove that first with agentkernel snapshot remove {user}"
    )))
}
