//! A machine with this program in it, and what the host looks like around it.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{Backend, EphemeralBox, Guest};
use agentkernel_model::{BoxPath, ByteString, EnvVar, ExecRequest, Mib, Outcome, SandboxSpec};
use agentkernel_testkit::conformance::{Done, collect, within};
use agentkernel_testkit::plain_spec;
use libtest_mimic::{Failed, Trial};

use crate::bed;
use crate::inside::MARK;

/// `Ok`: what held it back. `Err`: how it got through.
pub(crate) type Verdict = Result<String, String>;

/// Where the attacker's program is in its box.
const PROBE: &str = "/tmp/probe";

/// The host's side of one trial.
pub(crate) struct Stage {
    state: tempfile::TempDir,
    backend: Arc<dyn Backend>,
}

/// A box with the attacker in it.
pub(crate) struct Live {
    pub(crate) guest: Arc<dyn Guest>,
    made: Box<dyn EphemeralBox>,
}

impl Stage {
    async fn new() -> Result<Self, String> {
        let (state, settings) = bed::prepare().await?;
        let backend = bed::open(state.path(), &settings);
        Ok(Self { state, backend })
    }

    /// The smallest machine that such code would be given, with changes.
    pub(crate) async fn launch(&self, change: impl FnOnce(&mut SandboxSpec)) -> Result<Live, String> {
        let images = self.backend.images().ok_or("no images")?;
        let ready = images.find(&bed::image()).await.map_err(|error| error.to_string())?;
        let mut spec = SandboxSpec {
            image: bed::image(),
            image_id: Some(ready.ok_or("the bed's image is not here")?.id),
            hostname: "escape".to_owned(),
            ..plain_spec(self.backend.name())
        };
        spec.resources.memory = Some(Mib(256));
        spec.resources.pids = Some(64);
        change(&mut spec);
        let made = self.backend.launch(&spec).await.map_err(|error| format!("no box: {error}"))?;
        let live = Live { guest: made.guest(), made };
        live.bring_attacker().await?;
        Ok(live)
    }

    /// The folders that machines work in.
    pub(crate) fn rooms(&self) -> Vec<PathBuf> {
        let boxes = std::fs::read_dir(self.state.path().join("firecracker/boxes")).into_iter().flatten();
        boxes.flatten().map(|entry| entry.path()).collect()
    }

    /// Names of all files of all machines.
    pub(crate) fn files_of_machines(&self) -> Vec<PathBuf> {
        self.rooms().iter().flat_map(|room| below(room)).collect()
    }

    /// The images' files and what is in them.
    pub(crate) fn images(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = below(&self.state.path().join("images")).into_iter().filter(|path| path.is_file());
        files.map(|path| (path.clone(), std::fs::read(&path).unwrap_or_default())).collect()
    }

    /// Processes that work in a machine's folder: their numbers. One that was jailed has that folder as its root, which from
    /// outside only its file tells.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let folders: HashSet<(u64, u64)> =
            self.files_of_machines().iter().filter_map(|path| file(path)).collect();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let here = |id: &u32| {
            let folder = PathBuf::from(format!("/proc/{id}/cwd"));
            std::fs::read_link(&folder).is_ok_and(|path| path.starts_with(self.state.path()))
                || file(&folder).is_some_and(|folder| folders.contains(&folder))
        };
        ids.filter(here).collect()
    }

    /// Files that a machine may hold: its own, and the images.
    pub(crate) fn files(&self) -> HashSet<(u64, u64)> {
        let all = ["firecracker", "images"].map(|folder| below(&self.state.path().join(folder)));
        all.iter().flatten().filter_map(|path| file(path)).collect()
    }

    /// What is still there of machines once all have ended.
    fn remains(&self) -> Vec<String> {
        let files = self.files_of_machines().into_iter().map(|path| path.display().to_string());
        files.chain(self.processes().into_iter().map(|id| format!("process {id}"))).collect()
    }
}

/// Which file it is: on which device, and which there.
pub(crate) fn file(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// All files below `folder`, which may be a link.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        if is_folder {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

impl Live {
    /// This program without what debuggers need, which is most of it.
    async fn bring_attacker(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        let own = std::env::current_exe().map_err(failed)?;
        let folder = tempfile::tempdir().map_err(failed)?;
        let slim = folder.path().join("probe");
        let stripped = Command::new("strip").arg("-o").arg(&slim).arg(&own).status();
        let program = if stripped.is_ok_and(|status| status.success()) { slim } else { own };
        let content = std::fs::read(program).map_err(failed)?;
        let path = BoxPath::new(PROBE).map_err(|error| error.to_string())?;
        let write = self.guest.write_file(&path, Some(0o755), Box::new(std::io::Cursor::new(content)));
        within("the attacker on its way", write).await.map(drop).map_err(|error| error.to_string())
    }

    /// Makes the attempts of a name, in one process.
    pub(crate) async fn attempt(&self, name: &str) -> Verdict {
        report(&self.run(&[PROBE, MARK, name]).await?)
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, argv: &[&str]) -> Result<Done, String> {
        let request = ExecRequest {
            argv: argv.iter().map(|argument| ByteString::from(*argument)).collect(),
            env: vec![EnvVar { name: "PATH".into(), value: "/usr/local/bin:/usr/bin:/bin".into() }],
            workdir: BoxPath::new("/").map_err(|error| error.to_string())?,
            user: None,
            stdin: false,
            tty: None,
            timeout: Some(Duration::from_secs(60)),
            detached_log_limit: None,
        };
        let execution = within("the start of a command", self.guest.exec(&request)).await;
        Ok(collect(execution.map_err(|error| format!("{argv:?}: {error}"))?).await)
    }

    /// Whether the box still works.
    pub(crate) async fn is_alive(&self) -> Verdict {
        let done = self.run(&["echo", "alive"]).await?;
        match done.stdout == b"alive\n" {
            true => Ok("the box goes on".to_owned()),
            false => Err(format!("the box no longer works: {done:?}")),
        }
    }

    /// Ends it, whatever is left of it.
    pub(crate) async fn end(self) -> Result<(), String> {
        let destroyed = within("the end of the box", self.made.destroy()).await;
        destroyed.map_err(|error| format!("the box could not be ended: {error}"))
    }
}

/// What the inside said: its last line, and an exit status that agrees.
fn report(done: &Done) -> Verdict {
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    let last = output.lines().next_back().unwrap_or_default().trim().to_owned();
    match (done.outcome, last.strip_prefix("HELD: "), last.strip_prefix("THROUGH: ")) {
        (Outcome::Exited(0), Some(by), _) => Ok(by.to_owned()),
        (_, _, Some(how)) => Err(format!("it got through: {how}")),
        _ => Err(format!("the attempt did not say how it went: {done:?}")),
    }
}

/// A trial on a stage of its own, after which nothing may be left.
pub(crate) fn trial<Done>(name: &'static str, test: fn(Arc<Stage>) -> Done) -> Trial
where
    Done: Future<Output = Verdict> + 'static,
{
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stage = match runtime.block_on(Stage::new()) {
            Ok(stage) => Arc::new(stage),
            Err(why) => return say(&format!("SKIPPED: {name}: {why}")),
        };
        let verdict = runtime.block_on(test(Arc::clone(&stage)));
        drop(runtime);
        let held = verdict.map_err(Failed::from)?;
        let remains = stage.remains();
        if !remains.is_empty() {
            return Err(Failed::from(format!("left behind: {remains:?}")));
        }
        if std::env::var_os("ESCAPE_EXPLAIN").is_some() {
            say(&format!("{name}: {held}"))?;
        }
        Ok(())
    })
}

fn say(text: &str) -> Result<(), Failed> {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{text}").map_err(Failed::from)
}
