//! Restored machines of a real Firecracker: nothing of one is another's. In the bed firecracker-svm alone, since only a KVM
//! that is a real one runs them: `AGENTKERNEL_TEST_VMM=firecracker`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test's own failures, and what it measured")]

mod bed;
mod world;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use agentkernel_backend::{Backend, BoxRecord, EphemeralBox, Guest};
use agentkernel_model::{ExecRequest, Mib, NetworkAccess, Resources, SandboxSpec};
use agentkernel_testkit::conformance::{eventually, script, shell};
use agentkernel_testkit::plain_spec;

use crate::world::{HOST, World};

/// What no two machines share, each on a line of its own; the random bytes first.
const IDENTITY: &str = "head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n'; echo; cat /etc/machine-id; hostname; \
                        cat /proc/sys/kernel/random/uuid";

/// How far a clock may be off where all of a machine, its host's clock too, is emulated.
const CLOCK_SECONDS: i64 = 10;

struct Scene {
    backend: Arc<dyn Backend>,
    state: tempfile::TempDir,
}

/// `None` where there is no Firecracker: says why.
async fn scene() -> Option<Scene> {
    if !bed::has_real_firecracker() {
        println!(
            "SKIPPED: AGENTKERNEL_TEST_VMM is not firecracker; `cargo xtask microvm-bed firecracker-svm` runs it"
        );
        return None;
    }
    match bed::prepare().await {
        Ok((state, settings)) => Some(Scene { backend: bed::open(state.path(), &settings), state }),
        Err(why) => {
            println!("SKIPPED: {why}");
            None
        }
    }
}

impl Scene {
    async fn spec(&self, hostname: &str) -> SandboxSpec {
        let images = self.backend.images().unwrap();
        let ready = images.find(&bed::image()).await.unwrap().unwrap();
        SandboxSpec {
            image: bed::image(),
            image_id: Some(ready.id),
            hostname: hostname.to_owned(),
            // The bed's files lie in its memory.
            resources: Resources { memory: Some(Mib(128)), ..Resources::default() },
            ..plain_spec(self.backend.name())
        }
    }

    async fn launch(&self, hostname: &str) -> Box<dyn EphemeralBox> {
        let begun = Instant::now();
        let made = self.backend.launch(&self.spec(hostname).await).await.unwrap();
        println!("{hostname}: ready after {:?}", begun.elapsed());
        made
    }

    /// Each template's note, and when it was used last.
    fn templates(&self) -> Vec<(String, SystemTime)> {
        let folder = self.state.path().join("firecracker/templates");
        let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let note =
            |path: &Path| std::fs::metadata(path.join("template.json")).and_then(|meta| meta.modified());
        let mut all: Vec<_> = found
            .filter(|entry| entry.file_name() != "making")
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, note(&entry.path()).ok()?)))
            .collect();
        all.sort();
        all
    }
}

async fn seconds(guest: &dyn Guest) -> i64 {
    shell(guest, "date +%s").await.trim().parse().unwrap()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test]
async fn restored_boxes_share_nothing() {
    let Some(scene) = scene().await else { return };
    let first = scene.launch("first").await;
    eventually("a template", async || scene.templates().len() == 1).await;
    let made = scene.templates();
    let (second, third) = (scene.launch("second").await, scene.launch("third").await);
    let used = scene.templates();
    assert!(used.len() == 1 && used[0].1 > made[0].1, "the template was used: {used:?}");
    let mut seen = HashSet::new();
    for (made, hostname) in [(&first, "first"), (&second, "second"), (&third, "third")] {
        let guest = made.guest();
        let begun = Instant::now();
        let told = shell(&*guest, IDENTITY).await;
        println!("{hostname}: told after {:?}: {told}", begun.elapsed());
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!((lines.len(), lines[2]), (4, hostname));
        for line in lines {
            assert!(seen.insert(line.to_owned()), "{line} is another's");
        }
        let (before, inside) = (now(), seconds(&*guest).await);
        assert!((before - CLOCK_SECONDS..=now() + CLOCK_SECONDS).contains(&inside), "{before} {inside}");
    }
    for made in [first, second, third] {
        made.destroy().await.unwrap();
    }
    let reclaimed = scene.backend.reclaim(&[]).await.unwrap();
    assert!(reclaimed.objects.is_empty(), "{reclaimed:?}");
}

#[tokio::test]
async fn a_damaged_template_is_made_again() {
    let Some(scene) = scene().await else { return };
    scene.launch("first").await.destroy().await.unwrap();
    eventually("a template", async || scene.templates().len() == 1).await;
    let [(name, _)] = &scene.templates()[..] else { unreachable!() };
    let folder = scene.state.path().join("firecracker/templates").join(name);
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 3] = [
        ("state", |path| std::fs::File::options().write(true).open(path).unwrap().set_len(1000).unwrap()),
        ("memory", |path| std::fs::File::options().write(true).open(path).unwrap().set_len(1 << 20).unwrap()),
        ("state", |path| {
            use std::os::unix::fs::FileExt as _;
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(&[0x55; 64], 2000).unwrap();
        }),
    ];
    for (part, damage) in damages {
        use std::os::unix::fs::PermissionsExt;
        let made = scene.templates();
        std::fs::set_permissions(folder.join(part), PermissionsExt::from_mode(0o644)).unwrap();
        damage(&folder.join(part));
        let started = scene.launch("next").await;
        assert_eq!(shell(&*started.guest(), "hostname").await, "next\n");
        started.destroy().await.unwrap();
        eventually("a new template", async || scene.templates().first().is_some_and(|new| *new > made[0]))
            .await;
    }
    let last = scene.launch("last").await;
    assert_eq!(shell(&*last.guest(), "hostname").await, "last\n");
    last.destroy().await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_secs(60), scene.backend.reclaim(&[]))
            .await
            .unwrap()
            .unwrap()
            .objects
            .is_empty()
    );
}

impl Scene {
    async fn record(&self, number: u32) -> BoxRecord {
        use std::os::unix::fs::DirBuilderExt as _;
        let dir = self.state.path().join(format!("record-{number}"));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        let name = format!("case-{number}");
        let spec = self.spec(&name).await;
        // What differs comes first: the names of its interfaces have no room for more.
        let id = format!("{number:08x}{:08x}", std::process::id());
        BoxRecord { name: name.parse().unwrap(), id, spec, dir }
    }

    async fn guest(&self, record: &BoxRecord) -> Arc<dyn Guest> {
        self.backend.connect(record).await.unwrap()
    }
}

/// How far the sandbox's own command has counted.
async fn count(guest: &dyn Guest) -> u64 {
    shell(guest, "cat /count || echo 0").await.trim().parse().unwrap_or(0)
}

async fn counts_on(guest: &dyn Guest) {
    let begun = count(guest).await;
    eventually("a command that goes on", async || count(guest).await > begun).await;
}

#[tokio::test]
async fn copies_of_a_running_sandbox_go_on_as_others() {
    let Some(scene) = scene().await else { return };
    let snapshots = scene.backend.snapshots().unwrap();
    let source = scene.record(1).await;
    scene.backend.create(&source).await.unwrap();
    scene.backend.start(&source).await.unwrap();
    println!("started");
    let guest = scene.guest(&source).await;
    let counting = script("i=0; while :; do i=$((i+1)); echo $i > /new; mv /new /count; sleep 0.1; done");
    drop(guest.exec(&ExecRequest { detached_log_limit: Some(1 << 16), ..counting }).await.unwrap());
    shell(&*guest, "echo kept > /file; sync").await;
    counts_on(&*guest).await;

    println!("counts");
    snapshots.pause(&source).await.unwrap();
    snapshots.pause(&source).await.unwrap();
    println!("paused");
    assert!(scene.backend.running(&source).await.unwrap().is_some());
    snapshots.resume(&source).await.unwrap();
    snapshots.resume(&source).await.unwrap();
    counts_on(&*scene.guest(&source).await).await;

    println!("resumed");
    let folder = scene.state.path().join("taken");
    std::fs::create_dir(&folder).unwrap();
    let begun = Instant::now();
    snapshots.take(&source, &folder).await.unwrap();
    println!("taken after {:?}", begun.elapsed());
    let mut all = vec![source];
    for number in [2, 3] {
        let copy = scene.record(number).await;
        let begun = Instant::now();
        snapshots.restore(&copy, &folder).await.unwrap();
        println!("restored after {:?}", begun.elapsed());
        all.push(copy);
    }
    std::fs::remove_dir_all(&folder).unwrap();
    let mut seen = HashSet::new();
    for record in &all {
        let guest = scene.guest(record).await;
        let told = shell(&*guest, IDENTITY).await;
        assert_eq!(told.lines().nth(2), Some(record.spec.hostname.as_str()), "{told}");
        told.lines().for_each(|line| assert!(seen.insert(line.to_owned()), "{line} is another's"));
        let files = shell(&*guest, "cat /file /etc/hostname; grep -c $(hostname) /etc/hosts").await;
        assert_eq!(files, format!("kept\n{}\n1\n", record.spec.hostname));
        let (before, inside) = (now(), seconds(&*guest).await);
        assert!((before - CLOCK_SECONDS..=now() + CLOCK_SECONDS).contains(&inside), "{before} {inside}");
        counts_on(&*guest).await;
        assert_eq!(guest.executions().await.unwrap().len(), 1, "the command is known");
    }

    // One that stands still is copied as it is, and ends as any other.
    snapshots.pause(&all[1]).await.unwrap();
    std::fs::create_dir(&folder).unwrap();
    snapshots.take(&all[1], &folder).await.unwrap();
    scene.backend.stop(&all[1], Duration::from_secs(1)).await.unwrap();
    scene.backend.start(&all[1]).await.unwrap();
    assert_eq!(shell(&*scene.guest(&all[1]).await, "cat /file").await, "kept\n");
    let last = scene.record(4).await;
    snapshots.restore(&last, &folder).await.unwrap();
    counts_on(&*scene.guest(&last).await).await;
    all.push(last);
    for record in &all {
        scene.backend.remove(record).await.unwrap();
        let left = std::fs::read_dir(&record.dir).unwrap().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left.filter(|name| name != "made-with.json").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The hardware address and the IPv4 address of a box, each on a line of its own.
const ADDRESSES: &str =
    "cat /sys/class/net/eth0/address; ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'";

/// The world's server tells who asked, as the host passed it on.
const ASK: &str = "nc -w 20 203.0.113.9 8080 </dev/null";

#[test]
fn restored_boxes_have_addresses_of_their_own() {
    let Some(world) = World::new() else { return };
    world.on_host(async || {
        let Some(scene) = scene().await else { return };
        let on = |spec: SandboxSpec| SandboxSpec { network: NetworkAccess::On, ..spec };
        let launch = async |hostname| scene.backend.launch(&on(scene.spec(hostname).await)).await.unwrap();
        let first = launch("first").await;
        eventually("a template", async || scene.templates().len() == 1).await;
        let made = scene.templates();
        let (second, third) = (launch("second").await, launch("third").await);
        assert!(scene.templates()[0].1 > made[0].1, "the template was used: {:?}", scene.templates());

        let snapshots = scene.backend.snapshots().unwrap();
        let source = scene.record(1).await;
        let source = BoxRecord { spec: on(source.spec.clone()), ..source };
        scene.backend.create(&source).await.unwrap();
        scene.backend.start(&source).await.unwrap();
        let folder = scene.state.path().join("taken");
        std::fs::create_dir(&folder).unwrap();
        snapshots.take(&source, &folder).await.unwrap();
        let copy = scene.record(2).await;
        let copy = BoxRecord { spec: on(copy.spec.clone()), ..copy };
        snapshots.restore(&copy, &folder).await.unwrap();

        let mut guests: Vec<Arc<dyn Guest>> = [&first, &second, &third].map(|made| made.guest()).into();
        guests.extend([scene.guest(&source).await, scene.guest(&copy).await]);
        let mut seen = HashSet::new();
        for guest in &guests {
            let told = shell(&**guest, ADDRESSES).await;
            println!("{told}");
            assert_eq!(told.lines().count(), 2, "{told}");
            told.lines().for_each(|line| assert!(seen.insert(line.to_owned()), "{line} is another's"));
            assert_eq!(shell(&**guest, ASK).await.trim(), HOST);
        }
        drop(guests);
        for record in [&source, &copy] {
            scene.backend.remove(record).await.unwrap();
        }
        for made in [first, second, third] {
            made.destroy().await.unwrap();
        }
        assert!(scene.backend.reclaim(&[]).await.unwrap().objects.is_empty());
    });
}
