//! How long it takes until an image from a registry can be used, from nothing: pulled, verified and unpacked.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::program::Program;
use super::result::{ImageReport, ImageRow, SecondRun, Skipped};
use super::settings::Settings;
use super::{machine, table};
use crate::command;
use crate::test::install_packages;
use crate::test_bed::{FOR_BED, Guard};
use crate::workspace::Workspace;

/// Runs before the first that counts.
const WARM_UPS: usize = 1;
/// A round takes seconds, not milliseconds.
const MOST_ROUNDS: usize = 10;

/// Someone who fetches the image.
struct Contender<'a> {
    row: ImageRow,
    /// Takes away what the last round left.
    clean: Box<dyn Fn() -> Result<()> + 'a>,
    /// Fetches and unpacks.
    fetch: Box<dyn Fn() -> Result<()> + 'a>,
}

/// Measures and writes the result and the table.
pub(crate) fn run(workspace: &Workspace, settings: &Settings) -> Result<bool> {
    install_packages(FOR_BED)?;
    if !command::succeeds(&mut workspace.cargo(&["build", "--release", "--locked", "--quiet"]))? {
        bail!("`cargo build --release` failed");
    }
    let agentkernel = Program::install(&workspace.binaries("release").join("agentkernel"))?;
    // One of its own: its engines must not have the image from elsewhere.
    let bed = Guard::start_own()?;
    let report = measure(workspace, settings.rounds.min(MOST_ROUNDS), &agentkernel, &bed)?;
    bed.stop()?;
    table::write_images(workspace, &report)?;
    Ok(report.second_run.is_none_or(|run| run.requests == 0))
}

fn measure(workspace: &Workspace, rounds: usize, agentkernel: &Program, bed: &Guard) -> Result<ImageReport> {
    let (taken_at, machine) = (machine::now(), machine::describe(&agentkernel.file()));
    let registry = bed.registry().context("the test bed has no registry")?;
    let image = format!("{registry}/agentkernel-test/debian:1");
    let layout = bed.file("oci/debian");
    let compressed_bytes = size(&layout)?;
    let unpacked_bytes = size(&bed.file("images/debian.docker.tar"))?;
    let settings = agentkernel.folder("agentkernel.toml");
    std::fs::write(&settings, format!("[images]\ninsecure = [{registry:?}]\n")).context("write settings")?;
    let ours = |words: &[&str]| {
        let mut command = agentkernel.command(words);
        command.env("AGENTKERNEL_CONFIG", &settings);
        command
    };

    let mut skipped = Vec::new();
    let mut contenders = Vec::new();
    for contender in [
        our_contender(agentkernel, &ours, &image),
        docker(bed, &image),
        podman(bed, &image),
        skopeo_and_umoci(agentkernel, &image),
    ] {
        match (0..WARM_UPS).try_for_each(|_| time(&contender).map(drop)) {
            Ok(()) => contenders.push(contender),
            Err(error) => {
                let why = format!("{error:#}");
                skipped.push(Skipped { what: contender.row.label.clone(), why });
            }
        }
    }
    for round in 0..rounds {
        println!("bench: images: round {} of {rounds}", round + 1);
        for contender in &mut contenders {
            let label = &contender.row.label;
            let sample = time(contender).with_context(|| format!("round {} of {label}", round + 1))?;
            contender.row.milliseconds.push(sample);
        }
    }
    let second_run =
        second_run(bed, rounds, &|| ours(&["run", "--image", &image, "--no-network", "--", "/bin/true"]));
    let second_run = second_run.map_err(|error| {
        skipped.push(Skipped { what: "a second run".to_owned(), why: format!("{error:#}") });
    });
    let commit = machine::commit(&workspace.root);
    Ok(ImageReport {
        taken_at,
        commit,
        machine,
        compressed_bytes,
        unpacked_bytes,
        rows: contenders.into_iter().map(|contender| contender.row).collect(),
        second_run: second_run.ok(),
        skipped,
    })
}

/// After this the filesystem has forgotten what the cleaning removed.
const FORGOTTEN: Duration = Duration::from_secs(6);

/// Cleans up, then takes the time of the fetching alone.
fn time(contender: &Contender<'_>) -> Result<f64> {
    (contender.clean)().context("clean up before")?;
    // What the cleaning has the disk do is not for the fetching to wait for.
    command::output(&mut Command::new("sync"))?;
    // sleep: ext4 steps over the inodes of files that were removed in the last five seconds, one by one, for each new file
    std::thread::sleep(FORGOTTEN);
    let begun = Instant::now();
    (contender.fetch)()?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

fn row(id: &str, label: &str, does: &str) -> ImageRow {
    let (id, label, does) = (id.to_owned(), format!("`{label}`"), does.to_owned());
    ImageRow { id, label, does, milliseconds: Vec::new() }
}

fn our_contender<'a>(
    agentkernel: &'a Program,
    ours: &'a dyn Fn(&[&str]) -> Command,
    image: &'a str,
) -> Contender<'a> {
    Contender {
        row: row("agentkernel", "agentkernel image pull IMAGE", "verified, unpacked into overlay layers"),
        clean: Box::new(move || {
            ours(&["image", "remove", image]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            remove(agentkernel.state().join("images"))
        }),
        fetch: Box::new(move || command::output(&mut ours(&["image", "pull", image])).map(drop)),
    }
}

fn docker<'a>(bed: &'a Guard, image: &'a str) -> Contender<'a> {
    Contender {
        row: row("docker", "docker pull IMAGE", "verified, unpacked into overlay2"),
        clean: Box::new(move || remove_images(&|| bed.docker(), image)),
        fetch: Box::new(move || command::output(bed.docker().args(["pull", "--quiet", image])).map(drop)),
    }
}

fn podman<'a>(bed: &'a Guard, image: &'a str) -> Contender<'a> {
    Contender {
        row: row("podman", "podman pull IMAGE", "verified, unpacked into overlay"),
        clean: Box::new(move || remove_images(&|| bed.podman(), image)),
        fetch: Box::new(move || command::output(bed.podman().args(["pull", "--quiet", image])).map(drop)),
    }
}

fn skopeo_and_umoci<'a>(agentkernel: &'a Program, image: &'a str) -> Contender<'a> {
    let folder = agentkernel.folder("umoci");
    let (layout, bundle) = (folder.join("layout"), folder.join("bundle"));
    Contender {
        row: row(
            "skopeo-umoci",
            "skopeo copy docker://IMAGE oci:L:1 && umoci unpack --image L:1 B",
            "verified, unpacked into one folder",
        ),
        clean: Box::new(move || {
            remove(folder.clone())?;
            std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))
        }),
        fetch: Box::new(move || {
            let mut copy = Command::new("skopeo");
            copy.args(["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{image}")]);
            command::output(copy.arg(format!("oci:{}:1", layout.display())))?;
            let mut unpack = Command::new("umoci");
            unpack.args(["unpack", "--image", &format!("{}:1", layout.display())]).arg(&bundle);
            command::output(&mut unpack).map(drop)
        }),
    }
}

/// Every name of the image: one that stays would keep its layers.
fn remove_images(client: &dyn Fn() -> Command, image: &str) -> Result<()> {
    let names = [image, "agentkernel-test/debian:1", "localhost/agentkernel-test/debian:1"];
    for name in names.into_iter().chain(["docker.io/agentkernel-test/debian:1"]) {
        if command::output(client().args(["image", "inspect", name])).is_ok() {
            command::output(client().args(["rmi", "--force", name]))?;
        }
    }
    Ok(())
}

/// Runs on the image that is here now, counting what the registry is asked meanwhile.
fn second_run(bed: &Guard, rounds: usize, run: &dyn Fn() -> Command) -> Result<SecondRun> {
    let requests = || -> Result<usize> {
        let log = std::fs::read_to_string(bed.file("registry.log")).context("read the registry's log")?;
        Ok(log.lines().filter(|line| line.contains(" HTTP/1.1\" ")).count())
    };
    let before = requests()?;
    if before == 0 {
        bail!("the registry's log shows no requests at all, not even those of the pulls");
    }
    let mut milliseconds = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        command::output(&mut run())?;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(SecondRun { milliseconds, requests: requests()? - before })
}

fn remove(folder: PathBuf) -> Result<()> {
    command::output(Command::new("rm").arg("-rf").arg(folder)).map(drop)
}

/// Bytes of a file or of all files below a folder.
fn size(path: &std::path::Path) -> Result<u64> {
    let printed =
        command::output(Command::new("du").args(["--apparent-size", "--bytes", "--summarize"]).arg(path))?;
    printed.split_whitespace().next().context("du printed nothing")?.parse().context("read what du printed")
}
