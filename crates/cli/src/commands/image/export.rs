//! `image export`.

use std::io::Write;
use std::path::PathBuf;

use agentkernel_image::{Exported, ImageStore};
use agentkernel_model::ImageRef;

use crate::application::Application;
use crate::commands::Json;
use crate::output::{CliError, print_json};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel image export alpine:3.20 -o alpine.tar
  agentkernel image export alpine:3.20 | docker load
  agentkernel image export tool:1 tool:2 --output both.tar --json

The archive is an OCI layout with docker save's manifest.json beside: docker load, podman load, skopeo
and image import take it. Layers go out as they came. --json prints an array of {id, names}.")]
pub(crate) struct Args {
    /// Names or ids of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<ImageRef>,
    /// File to write [default: standard output, which must not be a terminal]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print what was written as JSON
    #[arg(long, requires = "output")]
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
    let Some(output) = &arguments.output else {
        if application.environment.interactive_stdout {
            return Err(CliError::usage("an archive is nothing for a terminal: give -o FILE, or a pipe"));
        }
        write(&store, &arguments.images, &mut std::io::stdout().lock())?;
        return Ok(0);
    };
    let path = application.environment.absolute(output);
    let failed = |source| CliError::io(format!("write {}", path.display()), source);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(name);
    let mut file = std::fs::File::create_new(&partial).map_err(failed)?;
    let written = write(&store, &arguments.images, &mut file)
        .and_then(|exported| file.sync_all().map(|()| exported).map_err(failed))
        .and_then(|exported| std::fs::rename(&partial, &path).map(|()| exported).map_err(failed));
    let exported = match written {
        Ok(exported) => exported,
        Err(error) => {
            // Half an archive looks like a whole one.
            if let Err(left) = std::fs::remove_file(&partial) {
                tracing::warn!(error = %left, path = %partial.display(), "a half-written archive stays");
            }
            return Err(error);
        }
    };
    if arguments.json {
        print_json(&exported)?;
    }
    Ok(0)
}

fn write(store: &ImageStore, images: &[ImageRef], sink: &mut dyn Write) -> Result<Vec<Exported>, CliError> {
    let mut buffered = std::io::BufWriter::with_capacity(1 << 20, sink);
    let exported = store.export(images, &mut buffered)?;
    buffered.flush().map_err(|source| CliError::io("write the archive", source))?;
    Ok(exported)
}
