//! `setup firecracker`: get Firecracker, its jailer and a guest kernel, or say what is missing.

use std::path::PathBuf;

use agentkernel_backends::provision::{InstallRequest, MANIFEST, Part, PartState, Source, install, survey};
use agentkernel_config::{Overrides, Settings};

use crate::application::Application;
use crate::output::{CliError, Style, print_text};
use crate::outside::{firecracker_settings, registry_settings};
use crate::progress::Progress;

use super::command::part_lines;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  agentkernel setup firecracker
  agentkernel setup firecracker --from /media/usb/firecracker
  agentkernel setup firecracker --from https://mirror.example/firecracker --sha256 9f86d081884c7d65...

Nobody's files are known here: you say where they come from. The folder or mirror holds SHA256SUMS, as
`sha256sum` writes it, and the files firecracker-ARCH, jailer-ARCH and vmlinux-ARCH (ARCH is x86_64 or
aarch64), and vhost-device-vsock-ARCH if you want it. Each must be what SHA256SUMS says, Firecracker 1.12
or later, and the kernel whole; then they are put into the state directory, else nothing changes. An
interrupted fetch goes on where it stopped. Without --from it only says what is there and what is missing.

Exit codes: 0 machines can be made; 1 something is missing; 125 nothing was installed.")]
pub(crate) struct Args {
    /// Folder, or its address on a web server (https:// or http://), to install from
    #[arg(long, value_name = "FOLDER|URL")]
    from: Option<String>,
    /// SHA-256 of SHA256SUMS, from who runs the mirror; needed for an address
    #[arg(long, value_name = "HEX", requires = "from")]
    sha256: Option<String>,
    /// Only say what is there and what is missing; changes nothing
    #[arg(long, conflicts_with = "from")]
    check: bool,
    /// Configuration file [default: agentkernel.toml of the current folder, where there is one]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs it.
pub(crate) async fn run(arguments: Args, application: &Application) -> Result<u8, CliError> {
    let settings = application.settings(arguments.config.as_deref(), Overrides::default())?;
    let folder = settings.state_dir.join("firecracker");
    if let Some(from) = &arguments.from {
        let request = InstallRequest {
            source: source(from, application, &settings),
            manifest_sha256: arguments.sha256.clone(),
            folder: folder.clone(),
        };
        // The folder of all, private, and with its mark.
        application.engine_without_recovery(&settings.state_dir)?;
        let progress = Progress::of_files(&application.environment);
        let installed = install(&request, &progress).await?;
        drop(progress);
        let mut text = String::new();
        for (part, path, was_there) in &installed.parts {
            let how = if *was_there { "is here already" } else { "installed" };
            let version =
                if *part == Part::Firecracker { format!(" {}", installed.version) } else { String::new() };
            text.push_str(&format!("{}{version}: {how}: {}\n", part.name(), path.display()));
        }
        print_text(&text)?;
    }
    let parts = survey(&firecracker_settings(&settings.outside.microvm), &folder).await;
    let ready = parts.iter().all(|part| part.state.is_ok());
    let mut text = part_lines(&parts, Style::of(&application.environment));
    text.push_str(&verdict(&parts, &arguments, &folder));
    print_text(&text)?;
    Ok(u8::from(!ready))
}

/// An address or a folder.
fn source(from: &str, application: &Application, settings: &Settings) -> Source {
    match from.contains("://") {
        true => Source::Mirror {
            address: from.to_owned(),
            settings: Box::new(registry_settings(&settings.outside, &application.environment)),
        },
        false => Source::Folder(application.environment.absolute(from.as_ref())),
    }
}

fn verdict(parts: &[PartState], arguments: &Args, folder: &std::path::Path) -> String {
    if parts.iter().all(|part| part.state.is_ok()) {
        return "\nReady. Try: agentkernel run --backend firecracker --image alpine:3.20 -- echo hello\n"
            .to_owned();
    }
    if arguments.from.is_some() {
        return "\nInstalled, and no machine can be made yet: see above.\n".to_owned();
    }
    let required = Part::ALL.iter().filter(|part| part.is_required()).map(|part| part.file());
    format!(
        "\nNo machine can be made yet. Programs are looked for in {} and in the PATH, the kernel as {}.\nTo install them, \
         put {} and {MANIFEST} into a folder, and give it with --from.\n",
        folder.join("bin").display(),
        Part::Kernel.place(folder).display(),
        required.collect::<Vec<_>>().join(", "),
    )
}
