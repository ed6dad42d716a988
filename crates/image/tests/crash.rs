//! Killed at any moment, and many at once: the store is valid, the next attempt finishes, and after a prune nothing is left
//! over. Processes are this very test program, told by its environment what to do.

#![cfg(test)]

#[expect(dead_code, reason = "of the crafted streams only some are needed here")]
#[path = "crafted/streams.rs"]
mod crafted;
#[expect(dead_code, reason = "of what the registry can do wrong nothing is needed here")]
#[path = "registry/fake.rs"]
mod fake;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkernel_image::{
    Direct, ImageError, ImageStore, ImportRequest, ImportSource, PruneRequest, RegistrySettings,
};
use agentkernel_model::{ImageConfig, ImageRef, PullPolicy};
use crafted::{Tar, docker_archive, gzip, oci_members};
use fake::Fake;

/// For a child: what to do, and with what.
const CHILD: &str = "AGENTKERNEL_IMAGE_TEST_CHILD";

const NAME: &str = "team/app:1";

/// Layers large enough that a kill hits each step: several files, folders and chunks each.
fn layers() -> Vec<Vec<u8>> {
    let noise = |seed: u32, length: u32| -> Vec<u8> {
        (0..length).map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
    };
    (0..3u32)
        .map(|layer| {
            (0..20u32)
                .fold(Tar::default(), |tar, number| {
                    let path = format!("d{layer}/e{}/f{number}", number % 5);
                    tar.file(&path, &noise(layer * 100 + number, 8_000))
                })
                .end()
        })
        .collect()
}

/// In memory where that is possible: what a killed process wrote is there all the same, and hundreds of stores are made.
fn temporary_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(state: &Path) -> ImageStore {
    ImageStore::open(state, Arc::new(Direct::new()))
}

fn settings(registry: &str) -> RegistrySettings {
    RegistrySettings {
        insecure: BTreeSet::from([registry.to_owned()]),
        platform: Some("linux/amd64".parse().unwrap()),
        ..RegistrySettings::default()
    }
}

fn import(store: &ImageStore, archive: &Path) -> Result<(), ImageError> {
    let request = ImportRequest {
        source: ImportSource::Path(archive.to_owned()),
        names: vec![NAME.parse().unwrap()],
        config: ImageConfig::default(),
        platform: Some("linux/amd64".parse().unwrap()),
    };
    store.import(request).map(drop)
}

fn block(store: &ImageStore) {
    let image = store.find(&NAME.parse().unwrap()).unwrap().unwrap();
    let block = store.block_image(&image.id).unwrap();
    assert_eq!(block.path.metadata().unwrap().len(), block.bytes);
}

async fn pull(store: &ImageStore, registry: &str) -> Result<(), ImageError> {
    let image: ImageRef = format!("{registry}/{NAME}").parse().unwrap();
    store.prepare(&image, PullPolicy::Missing, &settings(registry), &()).await.map(drop)
}

/// Not a test: what a child does.
#[tokio::test]
async fn child() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let parts: Vec<&str> = what.split('|').collect();
    let store = open(Path::new(parts[0]));
    match parts[1] {
        "import" => import(&store, Path::new(parts[2])).unwrap(),
        "block" => {
            import(&store, Path::new(parts[2])).unwrap();
            block(&store);
        }
        "pull" => pull(&store, parts[2]).await.unwrap(),
        "churn" => churn(&store, parts[2], parts[3].parse().unwrap()).await,
        other => panic!("{other}"),
    }
}

fn spawn(state: &Path, what: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--test-threads=1", "--nocapture"])
        .env(CHILD, format!("{}|{what}", state.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[track_caller]
fn succeeds(mut child: Child) {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
}

/// All files below a store but locks, and what folders hold them.
fn listing(state: &Path) -> BTreeMap<PathBuf, u64> {
    let (mut found, mut waiting) = (BTreeMap::new(), vec![state.to_owned()]);
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                waiting.push(path.clone());
            }
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name != "lock" && !name.starts_with(".lock-") {
                let size = if metadata.is_dir() { 0 } else { metadata.len() };
                found.insert(path.strip_prefix(state).unwrap().to_owned(), size);
            }
        }
    }
    found
}

/// What is listed can be used, whole.
fn check(store: &ImageStore) {
    for image in store.list().unwrap() {
        let rootfs = store.rootfs(&image.id).unwrap();
        let files: u64 = rootfs.layers.iter().map(|layer| listing(layer).values().sum::<u64>()).sum();
        assert_eq!(files, 3 * 20 * 8_000, "{image:?}");
    }
    store.usage().unwrap();
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn serve(fake: &Fake, layers: &[Vec<u8>]) {
    for (name, bytes) in oci_members("x", layers, "{}") {
        if let Some(hex) = name.strip_prefix("blobs/sha256/") {
            let manifest = "application/vnd.oci.image.manifest.v1+json";
            if bytes.starts_with(b"{\"schemaVersion\"") {
                fake.put("/v2/team/app/manifests/1", manifest, &bytes);
                fake.put(&format!("/v2/team/app/manifests/sha256:{hex}"), manifest, &bytes);
            }
            fake.put(&format!("/v2/team/app/blobs/sha256:{hex}"), "application/octet-stream", &bytes);
        }
    }
}

/// What a store holds after `what` was done undisturbed, and how long that takes.
fn undisturbed(folder: &Path, what: &str) -> (BTreeMap<PathBuf, u64>, Duration) {
    let mut duration = Duration::MAX;
    for round in 0..3 {
        let begun = Instant::now();
        succeeds(spawn(&folder.join(format!("whole{round}")), what));
        duration = duration.min(begun.elapsed());
    }
    let whole = folder.join("whole0");
    open(&whole).prune(&PruneRequest::default()).unwrap();
    let expected = listing(&whole);
    assert!(expected.len() > 3 * 20, "{expected:?}");
    (expected, duration)
}

/// Removes all. A child that a test beside this one has just forked holds our leases until it executes its program.
fn prune_all(store: &ImageStore) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !store.list().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "an image is still held");
        store.prune(&PruneRequest { all: true, ..PruneRequest::default() }).unwrap();
    }
}

/// Starts a child and kills it after `moment`; whether it was still at work.
fn killed(state: &Path, what: &str, moment: Duration) -> bool {
    let mut child = spawn(state, what);
    let deadline = Instant::now() + moment;
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        std::hint::spin_loop();
    }
    let at_work = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    at_work
}

/// Kills `what` at `times` random moments while it is at work; `finish` is the next attempt.
async fn killed_at_random(what: &str, times: usize, finish: impl AsyncFn(&ImageStore)) {
    let dir = temporary_folder();
    let (expected, mut duration) = undisturbed(dir.path(), what);
    let mut random = Random(0x0dd_ba11 + u64::from(std::process::id()));
    println!("{what}: takes {duration:?}, seed {}", random.0);
    let (mut kills, mut attempts) = (0, 0);
    while kills < times {
        attempts += 1;
        assert!(attempts < 4 * times, "only {kills} of {attempts} were killed at work");
        let state = dir.path().join(format!("state{attempts}"));
        let moment = Duration::from_micros(random.below(duration.as_micros() as u64));
        match killed(&state, what, moment) {
            true => kills += 1,
            false => duration = duration.min(moment.max(Duration::from_millis(5))),
        }
        let store = open(&state);
        check(&store);
        finish(&store).await;
        check(&store);
        assert_eq!(store.list().unwrap().len(), 1);
        let pruned = store.prune(&PruneRequest::default()).unwrap();
        assert!(pruned.images.is_empty() && !pruned.left_for_next, "{pruned:?}");
        assert_eq!(listing(&state), expected, "killed after {moment:?}");
        prune_all(&store);
        let left: Vec<_> = listing(&state).into_iter().filter(|(_, size)| *size > 0).collect();
        assert!(left.is_empty(), "{left:?}");
        std::fs::remove_dir_all(&state).unwrap();
    }
    println!("{what}: {kills} of {attempts} were killed at work");
}

#[tokio::test]
async fn imports_survive_kill_at_50_random_moments() {
    let dir = temporary_folder();
    let archive = dir.path().join("image.tar");
    std::fs::write(&archive, docker_archive(NAME, &layers(), "{}")).unwrap();
    let what = format!("import|{}", archive.display());
    killed_at_random(&what, 50, async |store| import(store, &archive).unwrap()).await;
}

#[tokio::test]
async fn block_images_survive_kill_at_50_random_moments() {
    let dir = temporary_folder();
    let archive = dir.path().join("image.tar");
    std::fs::write(&archive, docker_archive(NAME, &layers(), "{}")).unwrap();
    let what = format!("block|{}", archive.display());
    killed_at_random(&what, 50, async |store| {
        import(store, &archive).unwrap();
        block(store);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_survive_kill_at_100_random_moments() {
    let fake = Fake::start().await;
    serve(&fake, &layers());
    let what = format!("pull|{}", fake.name);
    killed_at_random(&what, 100, async |store| pull(store, &fake.name).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_that_pull_the_same_do_the_work_once() {
    let fake = Fake::start().await;
    serve(&fake, &layers());
    let dir = temporary_folder();
    let children: Vec<_> = (0..8).map(|_| spawn(dir.path(), &format!("pull|{}", fake.name))).collect();
    tokio::task::spawn_blocking(move || children.into_iter().for_each(succeeds)).await.unwrap();
    check(&open(dir.path()));
    for layer in layers() {
        let digest = agentkernel_image::Digest::of(&gzip(&layer)).to_string();
        assert_eq!(fake.seen(&digest).len(), 1, "each layer is fetched by one of them");
    }
    let reports = listing(dir.path()).into_keys().filter(|path| path.to_string_lossy().contains(".report-"));
    assert_eq!(reports.count(), 3);
}

/// Pulls, uses, removes and prunes, again and again, beside others who do the same.
async fn churn(store: &ImageStore, registry: &str, seed: u64) {
    let image: ImageRef = format!("{registry}/{NAME}").parse().unwrap();
    let mut random = Random(seed);
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        match random.below(6) {
            0 => match store.remove(&image, &BTreeSet::new(), true) {
                Ok(_) | Err(ImageError::InUse { .. } | ImageError::Missing { .. }) => {}
                Err(error) => panic!("{error}"),
            },
            1 => drop(store.prune(&PruneRequest { all: true, ..PruneRequest::default() }).unwrap()),
            _ => {
                let id =
                    store.prepare(&image, PullPolicy::Missing, &settings(registry), &()).await.unwrap().id;
                match store.rootfs(&id) {
                    Ok(rootfs) => {
                        let bytes = |layer: &PathBuf| listing(layer).values().sum::<u64>();
                        let files: u64 = rootfs.layers.iter().map(bytes).sum();
                        assert_eq!(files, 3 * 20 * 8_000, "what is held stays whole");
                    }
                    // Removed between the two.
                    Err(ImageError::Missing { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                match store.block_image(&id) {
                    Ok(block) => assert_eq!(block.path.metadata().unwrap().len(), block.bytes),
                    Err(ImageError::Missing { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_that_add_use_and_remove_hurt_nobody() {
    let fake = Fake::start().await;
    serve(&fake, &layers());
    let dir = temporary_folder();
    let children: Vec<_> =
        (1..=8).map(|seed| spawn(dir.path(), &format!("churn|{}|{}", fake.name, seed * 7919))).collect();
    tokio::task::spawn_blocking(move || children.into_iter().for_each(succeeds)).await.unwrap();
    let store = open(dir.path());
    check(&store);
    let pruned = store.prune(&PruneRequest { all: true, ..PruneRequest::default() }).unwrap();
    assert!(!pruned.left_for_next);
    let left: Vec<_> = listing(dir.path()).into_iter().filter(|(_, size)| *size > 0).collect();
    assert!(left.is_empty(), "{left:?}");
}
