//! A bed for the length of one task. It is kept by a process of its own, which takes it down when the task ends in
//! whatever way: it waits for the end of its standard input, which the kernel brings about also for a killed task.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::place::{PODMAN, Place, REGISTRY, Variables, parse, shown};
use super::{bed, docker, podman, processes, remains, removal};

const MISSING: &str = "missing: ";
const READY: &str = "ready";
/// How the names of all variables begin.
const VARIABLE: &str = "AGENTKERNEL_TEST_";

/// A bed that a guard keeps, or one that was there before and stays.
pub(crate) struct Guard {
    place: Place,
    pub(crate) variables: Variables,
    /// Components that could not be brought up, with why.
    pub(crate) missing: Vec<(String, String)>,
    /// `None` where the bed was there before.
    keeper: Option<Child>,
}

impl Guard {
    /// Uses the bed that somebody started by hand, or brings one up for this process. Beds of runs that were killed
    /// together with their guards are removed.
    pub(crate) fn start() -> Result<Self> {
        let by_hand = Place::by_hand();
        if let Some(variables) = bed::running(&by_hand)? {
            println!("test bed: {} is up already and will stay", by_hand.folder.display());
            return Ok(Self { place: by_hand, variables, missing: Vec::new(), keeper: None });
        }
        Self::start_own()
    }

    /// Brings one up for this process, whatever else is up.
    pub(crate) fn start_own() -> Result<Self> {
        remove_abandoned()?;
        let place = Place::of_this_process();
        let mut keeper = Command::new(std::env::current_exe().context("find this program")?)
            .args(["test-bed", "guard", "--folder"])
            .arg(&place.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the guard of the test bed")?;
        let mut lines = BufReader::new(keeper.stdout.take().context("no pipe")?);
        let (mut text, mut missing) = (String::new(), Vec::new());
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                let status = keeper.wait()?;
                bail!("the guard of the test bed ended with {status}");
            }
            match line.trim_end().strip_prefix(MISSING) {
                Some(what) => {
                    missing.extend(what.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())))
                }
                None if line.trim_end() == READY => break,
                None if line.starts_with(VARIABLE) => text.push_str(&line),
                None => print!("{line}"),
            }
        }
        Ok(Self { place, variables: parse(&text), missing, keeper: Some(keeper) })
    }

    /// What is in its engines now.
    pub(crate) fn remains(&self) -> std::collections::BTreeSet<String> {
        remains::in_engines(&self.place, &self.variables)
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    /// `docker` for its Docker.
    pub(crate) fn docker(&self) -> Command {
        docker::client(&self.place)
    }

    /// `podman` on the storage of its Podman.
    pub(crate) fn podman(&self) -> Command {
        podman::client(&self.place)
    }

    /// The socket of its Podman.
    pub(crate) fn podman_socket(&self) -> Option<&str> {
        self.variable(PODMAN)
    }

    /// Host and port of its plain registry.
    pub(crate) fn registry(&self) -> Option<&str> {
        self.variable(REGISTRY)
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Takes it down, where it was brought up for this process, and waits for that.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut keeper) = self.keeper.take() else { return Ok(()) };
        drop(keeper.stdin.take());
        let status = keeper.wait().context("wait for the guard of the test bed")?;
        if !status.success() || self.place.folder.exists() {
            bail!("the guard of the test bed ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("xtask: {error:#}");
        }
    }
}

/// The guard's own process: brings the bed up, tells, waits, takes it down.
pub(crate) fn keep(place: &Place) -> Result<bool> {
    let started = bed::start(place)?;
    let mut told = shown(&started.variables);
    for (what, why) in &started.missing {
        told.push_str(&format!("{MISSING}{what}: {}\n", why.replace('\n', " ")));
    }
    told.push_str(READY);
    told.push('\n');
    // Whoever asked may be gone already: then there is nobody to tell, and the bed ends at once.
    let mut stdout = std::io::stdout();
    let is_heard = stdout.write_all(told.as_bytes()).and_then(|()| stdout.flush()).is_ok();
    if is_heard {
        std::io::stdin().read_to_end(&mut Vec::new()).context("wait for the end of the task")?;
    }
    removal::remove(place)?;
    Ok(true)
}

/// Removes the beds of runs whose guard is dead, and the one by hand where nothing of it is alive.
fn remove_abandoned() -> Result<()> {
    let by_hand =
        Some(Place::by_hand()).filter(|place| place.folder.exists() && processes::of(place).is_empty());
    for place in Place::of_runs().into_iter().chain(by_hand) {
        if !has_guard(&place) {
            println!("test bed: removing what was left in {}", place.folder.display());
            processes::signal("TERM", &processes::of(&place))?;
            removal::remove(&place)?;
        }
    }
    Ok(())
}

/// Whether a process keeps this bed: a guard has its folder as last argument.
fn has_guard(place: &Place) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let folder = place.folder.display().to_string();
    entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok()).any(|line| {
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.windows(3).any(|w| w == [b"guard".as_slice(), b"--folder", folder.as_bytes()])
    })
}
