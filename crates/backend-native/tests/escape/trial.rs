//! One attempt as a test: a box of the profile, the attempt in it, and a look at the host.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use agentkernel_backend::{Backend, Guest, Lifetime, Probe, requirements};
use agentkernel_backend_native::NativeBackend;
use agentkernel_model::{
    Access, BoxPath, ByteString, EnvVar, ExecRequest, Feature, ImageRef, Mib, Mount, NetworkAccess, Outcome,
    Profile, SandboxSpec, TtySize,
};
use agentkernel_sys::capability::CapabilitySet;
use agentkernel_testkit::conformance::{Done, collect, within};
use libtest_mimic::{Failed, Trial};

use crate::as_user;
use crate::attempt::{Attempt, Verdict};
use crate::hostile_image;
use crate::inside::MARK;
use crate::stage::Stage;
use crate::table::attempts;

/// Where boxes see this program.
pub(crate) const PROBE: &str = "/mnt/probe";

/// A box with an attempt under way, as the outside part of attempts sees it.
pub(crate) struct Live<'a> {
    pub(crate) guest: &'a dyn Guest,
    pub(crate) stage: &'a Stage,
    pub(crate) spec: &'a SandboxSpec,
}

impl Live<'_> {
    /// A request for a command with the clues.
    pub(crate) fn request(&self, argv: &[&str]) -> ExecRequest {
        let mut env = vec![EnvVar { name: "PATH".into(), value: "/usr/local/bin:/usr/bin:/bin".into() }];
        let capabilities = CapabilitySet::from_names(self.spec.profile.linux_capabilities());
        for (name, value) in [
            ("ESCAPE_PROFILE", self.spec.profile.to_string()),
            ("ESCAPE_CAPABILITIES", format!("{:x}", capabilities.expect("known names").0)),
        ] {
            env.push(EnvVar { name: name.into(), value: value.into() });
        }
        env.extend(self.stage.clues().into_iter().map(|(name, value)| EnvVar { name, value }));
        ExecRequest {
            argv: argv.iter().map(|argument| ByteString::from(*argument)).collect(),
            env,
            workdir: BoxPath::new("/").expect("a path"),
            user: None,
            stdin: false,
            tty: None,
            timeout: Some(Duration::from_secs(60)),
            detached_log_limit: None,
        }
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, request: &ExecRequest) -> Result<Done, String> {
        let execution = within("the start of a command", self.guest.exec(request)).await;
        Ok(collect(execution.map_err(|error| format!("{:?}: {error}", request.argv))?).await)
    }

    /// Whether the box still works.
    pub(crate) async fn is_alive(&self) -> Verdict {
        let done = self.run(&self.request(&["echo", "alive"])).await?;
        match done.stdout == b"alive\n" {
            true => Ok("the box goes on".to_owned()),
            false => Err(format!("the box no longer works: {done:?}")),
        }
    }
}

/// Every attempt for every profile, as this user and, where this is root, as ordinary ones; and the controls.
pub(crate) fn all() -> Vec<Trial> {
    let root = rustix::process::geteuid().is_root();
    let mut trials = Vec::new();
    let kind = if root { "root" } else { "user" };
    for attempt in attempts() {
        for profile in attempt.profiles.iter().filter(|_| !attempt.image_only) {
            let name = format!("{profile}::{}", attempt.name);
            if root {
                trials.extend(as_user::trials(&name, *profile));
            }
            trials.push(Trial::test(format!("{kind}::{name}"), move || run(attempt, *profile, Root::Host)));
        }
        if attempt.goes_on_images() {
            let name = format!("image::{}", attempt.name);
            if root {
                trials.extend(as_user::trials(&name, Profile::Moderate));
            }
            trials.push(Trial::test(format!("{kind}::{name}"), move || {
                run(attempt, Profile::Moderate, Root::HostileImage)
            }));
        }
        if attempt.control {
            trials.push(Trial::test(format!("control::{}", attempt.name), move || control(attempt)));
        }
    }
    trials
}

/// The attempt made on the host itself: there it must get through, or leave its mark.
fn control(attempt: &'static Attempt) -> Result<(), Failed> {
    let mut stage = Stage::new()?;
    if let Some(bait) = attempt.bait {
        bait(&mut stage);
    }
    let mut command = Command::new(std::env::current_exe()?);
    for (name, value) in stage.clues() {
        command.env(name.as_os_str(), value.as_os_str());
    }
    let output = command.args([MARK, attempt.name]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.starts_with("THROUGH") || !stage.harm().is_empty() {
        return Ok(());
    }
    Err(Failed::from(format!("nothing holds it back here, and still it says: {said}")))
}

fn skipped(name: &str, why: &str) -> Result<(), Failed> {
    use std::io::Write;
    writeln!(std::io::stderr(), "SKIPPED: {name}: {why}").map_err(Failed::from)
}

/// Says what held an attempt back, where `ESCAPE_EXPLAIN` asks for it: for people who judge the attempts.
fn explain(name: &str, held_back_by: &str) -> Result<(), Failed> {
    use std::io::Write;
    if std::env::var_os("ESCAPE_EXPLAIN").is_none() {
        return Ok(());
    }
    writeln!(std::io::stderr(), "{name}: {held_back_by}").map_err(Failed::from)
}

/// What the box starts from.
#[derive(Clone, Copy)]
enum Root {
    Host,
    HostileImage,
}

fn run(attempt: &'static Attempt, profile: Profile, root: Root) -> Result<(), Failed> {
    let state = tempfile::Builder::new().prefix("agentkernel-state-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut stage = Stage::new()?;
    if let Some(bait) = attempt.bait {
        bait(&mut stage);
    }
    let verdict = runtime.block_on(async {
        let backend = NativeBackend::open(state.path(), hostile_image::settings());
        let backend = backend.map_err(|error| error.to_string())?;
        if let Probe::NotReady { why, fix } = backend.probe().await {
            return Ok(Err(format!("the native backend is not ready: {why}; {fix}")));
        }
        let missing = attempt.needs.iter().find_map(|feature| backend.capabilities().why_missing(*feature));
        if let Some(why) = missing {
            return Ok(Err(why.to_owned()));
        }
        let mut spec = spec(profile, &backend, &stage);
        if let Root::HostileImage = root {
            if !Path::new("/bin/busybox").exists() {
                return Ok(Err("busybox (Debian package busybox-static) is not installed".to_owned()));
            }
            hostile_image::prepare(state.path(), &stage, &mut spec, attempt.image_only)?;
        }
        in_box(attempt, &backend, &spec, &stage).await.map(Ok)
    });
    if let Root::HostileImage = root {
        hostile_image::remove(state.path())?;
    }
    let mut harm = stage.harm();
    harm.extend(changed_agent(state.path(), stage.folder()).err());
    match verdict {
        Err(through) => Err(Failed::from(format!("{through}; the host: {harm:?}"))),
        Ok(_) if !harm.is_empty() => Err(Failed::from(format!("the host was harmed: {harm:?}"))),
        Ok(Err(why)) => skipped(attempt.name, &why),
        Ok(Ok(held_back_by)) => explain(attempt.name, &held_back_by),
    }
}

/// The installed agent against a fresh one.
fn changed_agent(state_dir: &Path, scratch: &Path) -> Result<(), String> {
    let installed = state_dir.join("agent");
    if !installed.exists() {
        return Ok(());
    }
    let fresh =
        agentkernel_agent_binary::install(&scratch.join("agent")).map_err(|error| error.to_string())?;
    let used = agentkernel_agent_binary::install(&installed).map_err(|error| error.to_string())?;
    let read = |path: &Path| std::fs::read(path).map_err(|error| error.to_string());
    if read(&fresh)? == read(&used)? {
        Ok(())
    } else {
        Err("the guest agent's program was changed".to_owned())
    }
}

/// The profile as the command line would make it, without what the machine lacks, and the probe.
fn spec(profile: Profile, backend: &NativeBackend, stage: &Stage) -> SandboxSpec {
    let grants = profile.grants();
    let box_path = |path| BoxPath::new(path).expect("a path");
    let mut spec = SandboxSpec {
        backend: backend.name().clone(),
        image: ImageRef::host(),
        image_id: None,
        profile,
        network: grants.network,
        read_only_root: grants.read_only,
        mounts: vec![
            Mount {
                source: std::env::current_exe().expect("this program's path"),
                target: box_path(PROBE),
                access: Access::ReadOnly,
            },
            Mount { source: stage.shared(), target: box_path("/mnt/shared"), access: Access::ReadWrite },
            Mount { source: stage.read_only(), target: box_path("/mnt/readonly"), access: Access::ReadOnly },
        ],
        ports: Vec::new(),
        env: Vec::new(),
        workdir: box_path("/workspace"),
        user: None,
        resources: profile.resources(),
        allow_unlimited: false,
        hostname: "escape".to_owned(),
        agent: None,
        labels: std::collections::BTreeMap::new(),
    };
    // Bounded in every profile, so that bombs have something to run into.
    spec.resources.memory = spec.resources.memory.or(Some(Mib(512)));
    spec.resources.disk = Some(Mib(64));
    spec.resources.pids = Some(128);
    for feature in requirements(&spec, Lifetime::Ephemeral) {
        if backend.capabilities().has(feature) {
            continue;
        }
        match feature {
            Feature::Network => spec.network = NetworkAccess::None,
            Feature::MemoryLimit => spec.resources.memory = None,
            Feature::CpuLimit => spec.resources.cpus = None,
            Feature::PidsLimit => spec.resources.pids = None,
            Feature::DiskLimit => spec.resources.disk = None,
            // Whatever else is missing, the backend will say so.
            _ => {}
        }
    }
    spec
}

async fn in_box(attempt: &Attempt, backend: &NativeBackend, spec: &SandboxSpec, stage: &Stage) -> Verdict {
    let made = backend.launch(spec).await.map_err(|error| format!("no box: {error}"))?;
    let guest = made.guest();
    let live = Live { guest: &*guest, stage, spec };
    let verdict = both(attempt, &live).await;
    let destroyed = within("the end of the box", made.destroy()).await;
    destroyed.map_err(|error| format!("the box could not be destroyed: {error}"))?;
    verdict
}

async fn both(attempt: &Attempt, live: &Live<'_>) -> Verdict {
    let mut held_back = Vec::new();
    if attempt.inside.is_some() {
        let mut request = live.request(&[PROBE, MARK, attempt.name]);
        request.tty = attempt.tty.then_some(TtySize { rows: 24, columns: 80 });
        held_back.push(report(&live.run(&request).await?)?);
    }
    if let Some(outside) = attempt.outside {
        held_back.push(outside(live).await?);
    }
    Ok(held_back.join("; "))
}

/// What the inside said: its last line, and an exit status that agrees.
fn report(done: &Done) -> Verdict {
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    let last =
        output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned();
    match (done.outcome, last.strip_prefix("HELD: "), last.strip_prefix("THROUGH: ")) {
        (Outcome::Exited(0), Some(by), _) => Ok(by.to_owned()),
        (_, _, Some(how)) => Err(format!("it got through: {how}")),
        _ => Err(format!("the attempt did not say how it went: {done:?}")),
    }
}
