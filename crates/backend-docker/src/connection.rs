//! The engine itself: found, asked what it is, and kept for as long as this process.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use agentkernel_model::{Feature, ImageId};
use bollard::Docker;
use bollard::models::{SystemInfo, SystemVersion};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::address::{Address, Candidate, candidates};
use crate::facts::{Facts, OwnLimits};
use crate::failure::words;
use crate::http::{self, Answer};
use crate::note::Note;
use crate::ping::{Listener, ping};
use crate::{EngineEnvironment, EngineKind, mounts};

/// The oldest API that has all that a box needs (private control group namespaces: Docker 20.10).
const OLDEST_API: (u32, u32) = (1, 40);

/// How long an engine may take to answer.
const TIMEOUT_SECONDS: u64 = 120;

/// How long one that is reached by TCP may take to say what it is: a machine that isn't there answers nothing at all.
const FAR_ANSWER: Duration = Duration::from_secs(10);

/// How long what was learnt of an engine is taken for true while the same process listens on the same socket.
const FACTS_LIFE: Duration = Duration::from_secs(600);

/// Where it is kept, below the backend's folder.
const FACTS_FILE: &str = "engine.json";

/// An engine that answers.
pub(crate) struct Connected {
    pub(crate) docker: Docker,
    pub(crate) facts: Facts,
    /// What the next process may be spared to ask, until it is kept.
    learnt: Mutex<Option<Listener>>,
    /// Where it listens.
    pub(crate) address: Address,
    /// The OCI runtime of boxes there; the engine's own default where it is `None`.
    pub(crate) runtime: Option<String>,
}

/// Facts as they are kept.
#[derive(Serialize, Deserialize)]
struct Known {
    listener: Listener,
    facts: Facts,
}

impl Connected {
    /// Asks by hand, where that can be done: `None` where it can't.
    pub(crate) async fn get(&self, target: &str) -> Option<std::io::Result<Answer>> {
        let Address::Unix(socket) = &self.address else { return None };
        let asked = async {
            let mut stream = UnixStream::connect(socket).await?;
            let answer = http::get(&mut stream, target).await?;
            answer.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
        };
        Some(asked.await)
    }

    /// What a box that starts from `image` notes of it.
    pub(crate) fn note(&self, image: Option<&ImageId>) -> Note {
        Note {
            address: self.address.clone(),
            engine: self.facts.id.clone(),
            runtime: self.runtime.clone(),
            image: image.cloned(),
        }
    }

    /// Whether it is used as `note` says.
    pub(crate) fn is_at(&self, note: &Note) -> bool {
        self.address == note.address && self.runtime == note.runtime
    }

    /// Keeps what was learnt below `folder`, which exists, for the next process. Once: written again it would look fresh
    /// for ever, and two tasks that start boxes at the same time would write the same file.
    pub(crate) fn remember(&self, folder: &Path) -> std::io::Result<()> {
        let learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(listener) = learnt else { return Ok(()) };
        let bytes = serde_json::to_vec(&Known { listener, facts: self.facts.clone() })?;
        let fresh = folder.join(format!("{FACTS_FILE}.{}", std::process::id()));
        std::fs::write(&fresh, bytes)?;
        std::fs::rename(fresh, folder.join(FACTS_FILE))
    }
}

/// What an earlier process learnt of `listener`, where that isn't too long ago.
fn recall(folder: &Path, listener: &Listener) -> Option<Facts> {
    let path = folder.join(FACTS_FILE);
    let age = SystemTime::now().duration_since(std::fs::metadata(&path).ok()?.modified().ok()?).ok()?;
    let known: Known = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (age < FACTS_LIFE && known.listener == *listener).then_some(known.facts)
}

/// Why there is no engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotReady {
    pub(crate) why: String,
    pub(crate) fix: String,
}

/// The engine that `note` names and no other. What an earlier process learnt is looked for in `folder`.
pub(crate) async fn connect_to(
    kind: EngineKind,
    caller: u32,
    note: &Note,
    folder: &Path,
) -> Result<Connected, NotReady> {
    let candidate = Candidate::named(note.address.clone(), "the sandbox's record");
    let place = place(&candidate);
    let nothing = || NotReady { why: format!("nothing is at {place}"), fix: kind.start_hint().to_owned() };
    let tried = try_candidate(kind, caller, &candidate, folder).await;
    let connected = tried.map_err(|not_ready| not_ready.unwrap_or_else(nothing))?;
    Ok(Connected { runtime: note.runtime.clone(), ..connected })
}

/// Refuses an engine that has come to where another made the box.
pub(crate) fn same(engine: &Connected, note: &Note) -> Result<(), NotReady> {
    match (&engine.facts.id, &note.engine) {
        (Some(id), Some(noted)) if id != noted => Err(NotReady {
            why: format!(
                "the {} that listens at {} now is not the one that the sandbox was made on",
                engine.facts.kind.title(),
                engine.address
            ),
            fix: "have that one listen there again".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The first engine of `kind` that answers. What an earlier process learnt is looked for in `folder`.
pub(crate) async fn connect(
    kind: EngineKind,
    environment: &EngineEnvironment,
    folder: &Path,
) -> Result<Connected, NotReady> {
    let mut reason = None;
    for candidate in candidates(kind, environment) {
        match try_candidate(kind, environment.uid, &candidate, folder).await {
            Ok(connected) => return Ok(connected),
            // A place where somebody named an engine, or where something is, tells more than an empty one.
            Err(Some(not_ready)) => drop(reason.get_or_insert(not_ready)),
            Err(None) => {}
        }
    }
    let title = kind.title();
    Err(reason.unwrap_or_else(|| NotReady {
        why: format!("no {title} socket was found"),
        fix: format!("install {title}, or {}", kind.start_hint()),
    }))
}

/// `None` where there is nothing at all, or something else that nobody named.
async fn try_candidate(
    kind: EngineKind,
    caller: u32,
    candidate: &Candidate,
    folder: &Path,
) -> Result<Connected, Option<NotReady>> {
    let version = bollard::API_DEFAULT_VERSION;
    let (docker, listener, near) = match &candidate.address {
        Address::Unix(path) => {
            let mut stream = reach(kind, path, candidate).await?;
            // 0: of another process namespace, which has other files as well (unix(7), SO_PEERCRED).
            let near = stream.peer_cred().is_ok_and(|peer| peer.pid() != Some(0));
            let greeting =
                ping(&mut stream).await.map_err(|error| silent(kind, candidate, &error.to_string()))?;
            let nobody = "what listens there is no engine";
            let greeting = greeting.ok_or_else(|| silent(kind, candidate, nobody))?;
            other_kind(kind, greeting.kind(), candidate)?;
            let listener = Listener::of(path, &stream, greeting).ok();
            let shown = path.display().to_string();
            (
                Docker::connect_with_unix(&shown, TIMEOUT_SECONDS, version),
                listener,
                near.then_some(path.as_path()),
            )
        }
        Address::Tcp { host, certificates: None } => {
            (Docker::connect_with_http(host, TIMEOUT_SECONDS, version), None, None)
        }
        Address::Tcp { host, certificates: Some(folder) } => {
            let [key, certificate, authority] =
                ["key.pem", "cert.pem", "ca.pem"].map(|name| folder.join(name));
            let docker =
                Docker::connect_with_ssl(host, &key, &certificate, &authority, TIMEOUT_SECONDS, version);
            (docker, None, None)
        }
        Address::Unusable { why } => {
            let why = format!("{} names what can't be used: {why}", candidate.origin);
            return Err(Some(NotReady { why, fix: "change it, or name another --backend".to_owned() }));
        }
    };
    let docker = docker.map_err(|error| silent(kind, candidate, &words(&error)))?;
    let address = candidate.address.clone();
    if let Some(facts) = listener.as_ref().and_then(|listener| recall(folder, listener)) {
        let facts = Facts { caller, ..facts };
        return Ok(Connected { docker, facts, learnt: Mutex::new(None), address, runtime: None });
    }
    let questions = async { tokio::try_join!(docker.version(), docker.info()) };
    let patience = match &address {
        Address::Tcp { .. } => FAR_ANSWER,
        _ => http::PATIENCE,
    };
    let answers = timeout(patience, questions).await;
    let answers = answers.map_err(|_| silent(kind, candidate, "it is silent"))?;
    let (version, info) = answers.map_err(|error| silent(kind, candidate, &words(&error)))?;
    other_kind(kind, kind_of(&version), candidate)?;
    let mut facts = facts(kind, caller, near, &version, &info);
    if let Some(listener) = &listener {
        facts.own_limits = OwnLimits {
            open_files: listener.limit("Max open files"),
            processes: listener.limit("Max processes"),
        };
    }
    check(&facts, &version, &place(candidate)).map_err(Some)?;
    Ok(Connected { docker, facts, learnt: Mutex::new(listener), address, runtime: None })
}

fn silent(kind: EngineKind, candidate: &Candidate, why: &str) -> Option<NotReady> {
    let why = format!("{} at {} doesn't answer: {why}", kind.title(), place(candidate));
    Some(NotReady { why, fix: kind.start_hint().to_owned() })
}

fn other_kind(kind: EngineKind, found: EngineKind, candidate: &Candidate) -> Result<(), Option<NotReady>> {
    if found == kind {
        return Ok(());
    }
    Err(candidate.named.then(|| NotReady {
        why: format!("{} is {}, not {}", place(candidate), found.title(), kind.title()),
        fix: format!("use --backend {}", found.name()),
    }))
}

fn place(candidate: &Candidate) -> String {
    candidate.address.to_string()
}

/// A connection to who listens on a socket, or why there is none.
async fn reach(kind: EngineKind, path: &Path, candidate: &Candidate) -> Result<UnixStream, Option<NotReady>> {
    use std::io::ErrorKind;
    let title = kind.title();
    let shown = path.display();
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(stream),
        Err(error) if error.kind() == ErrorKind::NotFound && !candidate.named => Err(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Some(NotReady {
            why: format!("you may not use {title}'s socket {shown}"),
            fix: match kind {
                EngineKind::Docker => {
                    "add yourself to the group docker (`sudo usermod -aG docker $USER`, then log in again; members of \
                     it are as good as root), or use rootless Docker"
                }
                EngineKind::Podman => "use your own Podman: `systemctl --user start podman.socket`",
            }
            .to_owned(),
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Some(NotReady {
            why: format!("{} names {shown}, which does not exist", candidate.origin),
            fix: kind.start_hint().to_owned(),
        })),
        Err(error) => Err(Some(NotReady {
            why: format!("{title} doesn't run: {shown}: {error}"),
            fix: kind.start_hint().to_owned(),
        })),
    }
}

/// Podman names itself among its components; everything else is a Docker.
fn kind_of(version: &SystemVersion) -> EngineKind {
    let components = version.components.as_deref().unwrap_or_default();
    match components.iter().any(|component| component.name.to_lowercase().contains("podman")) {
        true => EngineKind::Podman,
        false => EngineKind::Docker,
    }
}

fn facts(
    kind: EngineKind,
    caller: u32,
    socket: Option<&Path>,
    version: &SystemVersion,
    info: &SystemInfo,
) -> Facts {
    let options = info.security_options.as_deref().unwrap_or_default();
    let has = |name: &str| {
        options.iter().any(|option| option.split(',').any(|part| part == format!("name={name}")))
    };
    let own_kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let same_kernel = info.kernel_version.as_ref().is_none_or(|kernel| *kernel == own_kernel);
    let owner = socket.and_then(mounts::owner_of);
    let mut runtimes: Vec<String> = info.runtimes.iter().flatten().map(|(name, _)| name.clone()).collect();
    runtimes.sort_unstable();
    let rootless = has("rootless") || (kind == EngineKind::Podman && owner.is_some_and(|owner| owner != 0));
    let cgroups = info.cgroup_version.map_or_else(|| "1".to_owned(), |version| version.to_string());
    // Podman without root leaves every limit aside on control groups v1, and only its log says so.
    let silent = kind == EngineKind::Podman && rootless && cgroups == "1";
    let missing_limits = [
        (Feature::MemoryLimit, info.memory_limit),
        (Feature::CpuLimit, info.cpu_cfs_quota),
        (Feature::PidsLimit, info.pids_limit),
    ]
    .into_iter()
    .filter_map(|(feature, kept)| (silent || kept == Some(false)).then_some(feature))
    .collect();
    Facts {
        kind,
        id: info.id.clone().filter(|id| kind == EngineKind::Docker && !id.is_empty()),
        version: version.version.clone().unwrap_or_else(|| "of unknown version".to_owned()),
        api: version.api_version.clone().unwrap_or_default(),
        local: socket.is_some() && same_kernel,
        rootless,
        user_namespace: has("userns") || rootless,
        cgroups,
        default_runtime: info
            .default_runtime
            .clone()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "runc".into()),
        runtimes,
        memory_bytes: info.mem_total.and_then(|total| u64::try_from(total).ok()).unwrap_or(1 << 30),
        own_limits: OwnLimits::default(),
        missing_limits,
        caller,
    }
}

/// What no box could be made with.
fn check(facts: &Facts, version: &SystemVersion, place: &str) -> Result<(), NotReady> {
    let number = |text: &str| {
        Some(text.split_once('.'))
            .flatten()
            .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)))
    };
    let title = facts.kind.title();
    if number(&facts.api).is_none_or(|api| api < OLDEST_API) {
        return Err(NotReady {
            why: format!("{title} {} at {place} is too old: its API is {:?}", facts.version, facts.api),
            fix: format!(
                "install {} or later",
                match facts.kind {
                    EngineKind::Docker => "Docker 20.10",
                    EngineKind::Podman => "Podman 3.4",
                }
            ),
        });
    }
    if version.os.as_deref().is_some_and(|os| os != "linux") {
        return Err(NotReady {
            why: format!(
                "{title} at {place} runs containers of {}",
                version.os.as_deref().unwrap_or_default()
            ),
            fix: "switch it to Linux containers".to_owned(),
        });
    }
    let own = if cfg!(target_arch = "aarch64") { ["arm64", "aarch64"] } else { ["amd64", "x86_64"] };
    if let Some(arch) = version.arch.as_deref()
        && !own.contains(&arch)
    {
        return Err(NotReady {
            why: format!(
                "{title} at {place} is a machine of another kind ({arch}) than this program's ({})",
                own[0]
            ),
            fix: "use an engine of the same kind".to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_an_engine_cannot_keep_are_known_before() {
        let limits = |kind, info: &str, socket: Option<&Path>| {
            let info = serde_json::from_str(info).unwrap();
            facts(kind, 0, socket, &version("x", "1.41"), &info).missing_limits
        };
        let without = r#"{"CgroupVersion":"1","MemoryLimit":true,"PidsLimit":false,"CpuCfsQuota":true}"#;
        assert_eq!(limits(EngineKind::Docker, without, None), [Feature::PidsLimit]);
        let rootless =
            r#"{"CgroupVersion":"1","MemoryLimit":true,"SecurityOptions":["name=seccomp","name=rootless"]}"#;
        assert_eq!(limits(EngineKind::Podman, rootless, None).len(), 3);
        assert_eq!(limits(EngineKind::Podman, &rootless.replace(r#""1""#, r#""2""#), None), []);
    }

    fn version(component: &str, api: &str) -> SystemVersion {
        let text = format!(
            r#"{{"Components":[{{"Name":"{component}","Version":"1"}}],"Version":"1","ApiVersion":"{api}","Os":"linux"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn boxes_that_start_at_the_same_time_keep_what_was_learnt_once() {
        let folder = tempfile::tempdir().unwrap();
        let listener = serde_json::from_str(
            r#"{"path":"/x","inode":1,"changed":1,"pid":1,"started":1,"greeting":{"server":"Docker/1","api":"1.41"}}"#,
        );
        let engine = Connected {
            docker: Docker::connect_with_http("localhost:1", 1, bollard::API_DEFAULT_VERSION).unwrap(),
            facts: Facts::for_tests(EngineKind::Docker),
            learnt: Mutex::new(listener.unwrap()),
            address: Address::Unix("/nowhere".into()),
            runtime: None,
        };
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(|| engine.remember(folder.path()))).collect();
            all.into_iter().for_each(|one| one.join().unwrap().unwrap());
        });
        assert!(folder.path().join(FACTS_FILE).exists());
        std::fs::remove_file(folder.path().join(FACTS_FILE)).unwrap();
        engine.remember(folder.path()).unwrap();
        assert!(!folder.path().join(FACTS_FILE).exists(), "old facts don't become fresh ones");
    }

    #[test]
    fn podman_behind_dockers_socket_is_seen() {
        assert_eq!(kind_of(&version("Engine", "1.41")), EngineKind::Docker);
        assert_eq!(kind_of(&version("Podman Engine", "1.41")), EngineKind::Podman);
    }

    #[test]
    fn an_old_api_is_refused_with_its_fix() {
        for api in ["1.24", "1.39", "", "x"] {
            let facts = Facts { api: api.to_owned(), ..Facts::for_tests(EngineKind::Docker) };
            let refused = check(&facts, &version("Engine", api), "here").unwrap_err();
            assert!(refused.why.contains("too old") && refused.fix.contains("20.10"), "{refused:?}");
        }
        let facts = Facts::for_tests(EngineKind::Docker);
        for api in ["1.40", "1.53", "2.0"] {
            let facts = Facts { api: api.to_owned(), ..facts.clone() };
            assert_eq!(check(&facts, &version("Engine", api), "here"), Ok(()));
        }
    }

    #[tokio::test]
    async fn nothing_there_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let named = |path: &Path| EngineEnvironment {
            docker_host: Some(format!("unix://{}", path.display())),
            ..EngineEnvironment::default()
        };
        let missing = folder.path().join("none.sock");
        let not_ready = connect(EngineKind::Docker, &named(&missing), folder.path()).await.err().unwrap();
        assert!(not_ready.why.contains("does not exist"), "{not_ready:?}");
        let dead = folder.path().join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        let not_ready = connect(EngineKind::Docker, &named(&dead), folder.path()).await.err().unwrap();
        assert!(not_ready.why.contains("doesn't run"), "{not_ready:?}");
        assert!(not_ready.fix.contains("systemctl start docker"), "{not_ready:?}");
    }
}
