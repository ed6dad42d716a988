//! `image import`.

use std::path::PathBuf;

use agentkernel_backend::OutputStream;
use agentkernel_config::Overrides;
use agentkernel_image::{ImageStore, ImportRequest, ImportSource, Imported, Platform, Reference};
use agentkernel_model::{BackendName, BoxPath, ByteString, ImageConfig, ImageRef, UserSpec};
use tokio::io::AsyncWriteExt;

use super::list::familiar;
use crate::application::Application;
use crate::arguments::parse_variable;
use crate::commands::Json;
use crate::output::{CliError, print_json, print_text};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel image import saved.tar
  docker save my-tool | agentkernel image import -
  agentkernel image import docker:my-tool:1
  agentkernel image import oci-layout/ --name my-tool:1
  agentkernel image import rootfs.tar.gz --name tiny:1 --entrypoint /bin/app --env MODE=safe

Understood are docker save archives, OCI layouts (folder or tar) and tar files of a root folder, each
plain or compressed with gzip or zstd. --json prints an array of {id, names}.")]
pub(crate) struct Args {
    /// File, folder, - for standard input, or docker:IMAGE or podman:IMAGE for that engine's own
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Name of the image; needed where the source names none, else instead of it; may be repeated
    #[arg(short, long = "name", value_name = "NAME[:TAG]")]
    names: Vec<Reference>,
    /// Which of several platforms in the source: OS/ARCHITECTURE[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Program that commands are given to, where the source is a root folder
    #[arg(long, value_name = "PROGRAM", help_heading = "Root folders only")]
    entrypoint: Option<ByteString>,
    /// Command, where the source is a root folder; may be repeated, a word each
    #[arg(
        long = "command",
        value_name = "WORD",
        allow_hyphen_values = true,
        help_heading = "Root folders only"
    )]
    command: Vec<ByteString>,
    /// Environment variable, where the source is a root folder; may be repeated
    #[arg(short, long = "env", value_name = "NAME=VALUE", help_heading = "Root folders only")]
    env: Vec<std::ffi::OsString>,
    /// Folder where commands start, where the source is a root folder
    #[arg(short, long, value_name = "PATH", help_heading = "Root folders only")]
    workdir: Option<BoxPath>,
    /// User who runs commands, where the source is a root folder
    #[arg(short, long, value_name = "USER", help_heading = "Root folders only")]
    user: Option<UserSpec>,
    /// Configuration file [default: agentkernel.toml of the current folder, where there is one]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
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
    let settings = application.settings(arguments.config.as_deref(), Overrides::default())?;
    let store = application.images_with(&settings)?;
    let config = ImageConfig {
        entrypoint: arguments.entrypoint.iter().cloned().collect(),
        command: arguments.command.clone(),
        env: arguments.env.iter().map(|flag| parse_variable(flag)).collect::<Result<_, _>>()?,
        workdir: arguments.workdir.clone(),
        user: arguments.user.clone(),
    };
    let request = |source| ImportRequest {
        source,
        names: arguments.names.clone(),
        config: config.clone(),
        platform: arguments.platform.clone(),
    };
    let imported = match engine_image(&arguments.source)? {
        Some((backend, image)) => {
            let overrides = Overrides { backend: Some(backend.clone()), ..Overrides::default() };
            let settings = application.settings(arguments.config.as_deref(), overrides)?;
            let engine = application.engine_with(&settings).await?;
            let archive = engine.export_image(&backend, &image).await?;
            import_stream(&store, archive, request).await?
        }
        None if arguments.source == "-" => {
            blocking(&store, request(ImportSource::Stream(Box::new(std::io::stdin())))).await?
        }
        None => {
            let path = application.environment.absolute(&PathBuf::from(&arguments.source));
            blocking(&store, request(ImportSource::Path(path))).await?
        }
    };
    if arguments.json {
        print_json(&imported)?;
        return Ok(0);
    }
    for image in &imported {
        let names: Vec<String> = image.names.iter().map(|name| familiar(name)).collect();
        let names = if names.is_empty() { "<none>".to_owned() } else { names.join(" ") };
        print_text(&format!("{names} {}\n", image.id.short()))?;
    }
    Ok(0)
}

/// The engine and image of `docker:IMAGE`; a file of that name is meant by `./docker:...`.
fn engine_image(source: &str) -> Result<Option<(BackendName, ImageRef)>, CliError> {
    let Some((engine, image)) = source.split_once(':') else { return Ok(None) };
    if !["docker", "podman"].contains(&engine) {
        return Ok(None);
    }
    let wrong = |error: String| CliError::usage(format!("{source}: {error}"));
    let backend = engine.parse().map_err(|error| wrong(format!("{error}")))?;
    let image = image.parse().map_err(|error: agentkernel_model::ImageError| wrong(error.to_string()))?;
    Ok(Some((backend, image)))
}

async fn blocking(store: &ImageStore, request: ImportRequest) -> Result<Vec<Imported>, CliError> {
    let store = store.clone();
    let done = tokio::task::spawn_blocking(move || store.import(request)).await;
    let done = done.map_err(|source| CliError::io("import the image", std::io::Error::other(source)))?;
    Ok(done?)
}

/// Takes an archive in that comes as a stream. The store reads it on a thread of its own, from a pipe.
pub(crate) async fn import_stream(
    store: &ImageStore,
    mut archive: OutputStream,
    request: impl FnOnce(ImportSource) -> ImportRequest,
) -> Result<Vec<Imported>, CliError> {
    let failed = |source| CliError::io("hand the archive to the image store", source);
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let mut writer = tokio::net::unix::pipe::Sender::from_owned_fd(writer.into()).map_err(failed)?;
    let importing = blocking(store, request(ImportSource::Stream(Box::new(reader))));
    let copying = async {
        let copied = tokio::io::copy(&mut archive, &mut writer).await;
        let ended = writer.shutdown().await;
        drop(writer);
        copied.and(ended)
    };
    let (imported, copied) = tokio::join!(importing, copying);
    match (imported, copied) {
        // A broken pipe is only the echo of the store's own error.
        (Ok(_), Err(source)) => Err(failed(source)),
        (imported, _) => imported,
    }
}
