//! Sandboxes whose time stands still, and copies of running ones. No case depends on how quick a machine is: what must
//! happen is waited for, and that nothing happens is seen from a stream that falls silent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentkernel_backend::{Backend, BoxRecord, Guest, OutputStream, Snapshots};
use agentkernel_model::{ExecId, Outcome};
use tokio::io::AsyncReadExt;

use super::super::ask::{count_processes, eventually, read_until, script, shell, unique_sleep, within};
use super::super::scene::{GRACE, Scene};

/// How long nothing comes from what stands still.
const SILENCE: Duration = Duration::from_millis(700);

/// Writes a line again and again.
const TICKER: &str = "while :; do echo tick; sleep 0.05; done";

fn snapshots(scene: &Scene) -> &dyn Snapshots {
    scene.backend().snapshots().expect("a backend with snapshots says who makes them")
}

/// Reads until nothing has come for a while.
async fn until_silent(stream: &mut OutputStream) {
    let mut buffer = [0; 4096];
    within("silence", async {
        while let Ok(read) = tokio::time::timeout(SILENCE, stream.read(&mut buffer)).await {
            assert_ne!(read.expect("readable"), 0, "the output has ended");
        }
    })
    .await;
}

async fn pause(scene: &Scene, record: &BoxRecord) {
    within("a pause", snapshots(scene).pause(record)).await.expect("paused");
}

async fn resume(scene: &Scene, record: &BoxRecord) {
    within("a resume", snapshots(scene).resume(record)).await.expect("resumed");
}

async fn take(scene: &Scene, record: &BoxRecord, name: &str) -> PathBuf {
    let folder = scene.make_private_folder(name);
    within("a snapshot", snapshots(scene).take(record, &folder)).await.expect("taken");
    folder
}

async fn connected(backend: &Arc<dyn Backend>, record: &BoxRecord) -> Arc<dyn Guest> {
    within("a connection", backend.connect(record)).await.expect("connected")
}

/// A sandbox restored from `folder`, and the way in.
async fn restored(scene: &Scene, folder: &Path) -> (BoxRecord, Arc<dyn Guest>) {
    let record = scene.record();
    let isolation = within("a restore", snapshots(scene).restore(&record, folder)).await.expect("restored");
    assert_eq!(&isolation.backend, scene.backend().name());
    let guest = connected(scene.backend(), &record).await;
    (record, guest)
}

pub(in super::super) async fn pause_stops_time(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let mut ticker = guest.exec(&script(TICKER)).await.expect("started");
    read_until(&mut ticker.stdout, "tick\n").await;
    pause(scene, &record).await;
    until_silent(&mut ticker.stdout).await;
    resume(scene, &record).await;
    read_until(&mut ticker.stdout, "tick\n").await;
    assert_eq!(shell(&*guest, "echo on").await, "on\n");
}

pub(in super::super) async fn pause_can_be_repeated(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let other = scene.another_process();
    let others = other.snapshots().expect("snapshots");
    resume(scene, &record).await;
    for _ in 0..2 {
        pause(scene, &record).await;
    }
    within("a pause", others.pause(&record)).await.expect("paused");
    within("a resume", others.resume(&record)).await.expect("resumed");
    for _ in 0..2 {
        resume(scene, &record).await;
    }
    assert_eq!(shell(&*guest, "echo on").await, "on\n");
}

pub(in super::super) async fn paused_ones_run(scene: &Scene) {
    let (record, _guest) = scene.started().await;
    let backend = scene.backend();
    let isolation = backend.running(&record).await.expect("an answer").expect("it runs");
    pause(scene, &record).await;
    assert_eq!(within("an answer", backend.running(&record)).await.expect("one"), Some(isolation.clone()));
    let other = scene.another_process();
    assert_eq!(within("an answer", other.running(&record)).await.expect("one"), Some(isolation));
    let reclaimed = within("recovery", backend.reclaim(std::slice::from_ref(&record))).await;
    assert!(reclaimed.expect("recovery works").objects.is_empty());
    resume(scene, &record).await;
    assert_eq!(shell(&*connected(backend, &record).await, "echo on").await, "on\n");
}

pub(in super::super) async fn paused_ones_can_be_stopped(scene: &Scene) {
    let (record, guest) = scene.started().await;
    shell(&*guest, "echo kept > /root/f; sync 2>/dev/null || true").await;
    pause(scene, &record).await;
    let backend = scene.backend();
    within("a stop", backend.stop(&record, Duration::ZERO)).await.expect("stopped");
    assert!(backend.running(&record).await.expect("an answer").is_none());
    backend.start(&record).await.expect("started again");
    assert_eq!(shell(&*connected(backend, &record).await, "cat /root/f").await, "kept\n");
}

pub(in super::super) async fn paused_ones_can_be_removed(scene: &Scene) {
    let (record, _guest) = scene.started().await;
    pause(scene, &record).await;
    within("a removal", scene.backend().remove(&record)).await.expect("removed");
    assert!(scene.backend().running(&record).await.expect("an answer").is_none());
}

pub(in super::super) async fn the_source_goes_on(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let id = detached(&*guest, TICKER).await;
    eventually("a tick", || async { log_length(&*guest, &id).await > 0 }).await;
    take(scene, &record, "snapshot").await;
    let guest = connected(scene.backend(), &record).await;
    assert_eq!(shell(&*guest, "echo on").await, "on\n");
    let before = log_length(&*guest, &id).await;
    eventually("another tick", || async { log_length(&*guest, &id).await > before }).await;
}

pub(in super::super) async fn a_paused_source_stays_so(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let mut ticker = guest.exec(&script(TICKER)).await.expect("started");
    read_until(&mut ticker.stdout, "tick\n").await;
    pause(scene, &record).await;
    take(scene, &record, "snapshot").await;
    until_silent_or_ended(&mut ticker.stdout).await;
    resume(scene, &record).await;
    assert_eq!(shell(&*connected(scene.backend(), &record).await, "echo on").await, "on\n");
}

/// The same as [`until_silent`] where a copy may cost the connection.
async fn until_silent_or_ended(stream: &mut OutputStream) {
    let mut buffer = [0; 4096];
    within("silence", async {
        while let Ok(Ok(1..)) = tokio::time::timeout(SILENCE, stream.read(&mut buffer)).await {}
    })
    .await;
}

pub(in super::super) async fn files_are_as_they_were(scene: &Scene) {
    let (record, guest) = scene.started().await;
    shell(&*guest, "echo disk > /root/f; echo memory > /tmp/f").await;
    let folder = take(scene, &record, "snapshot").await;
    let source = connected(scene.backend(), &record).await;
    shell(&*source, "echo later > /root/f; echo x > /root/g").await;
    let (_, one) = restored(scene, &folder).await;
    assert_eq!(
        shell(&*one, "cat /root/f /tmp/f; test -e /root/g || echo none").await,
        "disk\nmemory\nnone\n"
    );
    shell(&*one, "echo own > /root/f").await;
    let (_, other) = restored(scene, &folder).await;
    assert_eq!(shell(&*other, "cat /root/f").await, "disk\n");
    assert_eq!(shell(&*source, "cat /root/f").await, "later\n");
}

pub(in super::super) async fn commands_are_as_they_were(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let id = detached(&*guest, "echo done; exit 7").await;
    assert_eq!(within("its end", guest.wait(&id)).await.expect("an outcome"), Outcome::Exited(7));
    let folder = take(scene, &record, "snapshot").await;
    let (_, copy) = restored(scene, &folder).await;
    assert_eq!(within("its end", copy.wait(&id)).await.expect("an outcome"), Outcome::Exited(7));
    let mut log = within("a log", copy.logs(&id, 0, false)).await.expect("a log");
    assert_eq!(read_until(&mut log.stdout, "done\n").await, b"done\n");
}

pub(in super::super) async fn processes_go_on(scene: &Scene) {
    let (record, guest) = scene.started().await;
    let id = detached(&*guest, TICKER).await;
    let sleep = unique_sleep();
    detached(&*guest, &format!("exec sleep {sleep}")).await;
    eventually("a tick", || async { log_length(&*guest, &id).await > 0 }).await;
    eventually("a sleep", || async { count_processes(&*guest, &sleep).await == 1 }).await;
    let folder = take(scene, &record, "snapshot").await;
    for _ in 0..2 {
        let (_, copy) = restored(scene, &folder).await;
        assert_eq!(count_processes(&*copy, &sleep).await, 1, "the process of the source is there");
        let before = log_length(&*copy, &id).await;
        assert!(before > 0, "and what it had written");
        eventually("another tick", || async { log_length(&*copy, &id).await > before }).await;
    }
}

pub(in super::super) async fn several_at_once(scene: &Scene) {
    let (record, guest) = scene.started().await;
    shell(&*guest, "echo kept > /root/f").await;
    let folder = take(scene, &record, "snapshot").await;
    let copies = restored_at_once(scene, &folder, 3).await;
    within("a removal", scene.backend().remove(&record)).await.expect("removed");
    std::fs::remove_dir_all(&folder).expect("removed");
    for (number, (_, copy)) in copies.iter().enumerate() {
        let own = format!("cat /root/f; echo {number} > /root/own; cat /root/own");
        assert_eq!(shell(&**copy, &own).await, format!("kept\n{number}\n"));
    }
    for (number, (_, copy)) in copies.iter().enumerate() {
        assert_eq!(shell(&**copy, "cat /root/own").await, format!("{number}\n"));
    }
}

/// Several restored from one folder at the same time.
async fn restored_at_once(scene: &Scene, folder: &Path, count: usize) -> Vec<(BoxRecord, Arc<dyn Guest>)> {
    let start = |record: BoxRecord| {
        let (backend, folder) = (Arc::clone(scene.backend()), folder.to_owned());
        tokio::spawn(async move {
            let snapshots = backend.snapshots().expect("snapshots");
            within("a restore", snapshots.restore(&record, &folder)).await.expect("restored");
            record
        })
    };
    let starts: Vec<_> = (0..count).map(|_| start(scene.record())).collect();
    let mut copies = Vec::new();
    for started in starts {
        let record = started.await.expect("restored");
        let guest = connected(scene.backend(), &record).await;
        copies.push((record, guest));
    }
    copies
}

pub(in super::super) async fn names_are_their_own(scene: &Scene) {
    let (record, _guest) = scene.started().await;
    let folder = take(scene, &record, "snapshot").await;
    let copy = scene.record_with(|spec| spec.hostname = "copy-of-it".to_owned());
    within("a restore", snapshots(scene).restore(&copy, &folder)).await.expect("restored");
    let guest = connected(scene.backend(), &copy).await;
    assert_eq!(shell(&*guest, "cat /proc/sys/kernel/hostname").await, "copy-of-it\n");
    let source = connected(scene.backend(), &record).await;
    assert_eq!(shell(&*source, "cat /proc/sys/kernel/hostname").await, format!("{}\n", record.spec.hostname));
}

pub(in super::super) async fn randomness_is_their_own(scene: &Scene) {
    let (record, _guest) = scene.started().await;
    let folder = take(scene, &record, "snapshot").await;
    let mut drawn = Vec::new();
    for _ in 0..3 {
        let (_, copy) = restored(scene, &folder).await;
        drawn.push(shell(&*copy, "cat /proc/sys/kernel/random/uuid").await);
    }
    let source = connected(scene.backend(), &record).await;
    drawn.push(shell(&*source, "cat /proc/sys/kernel/random/uuid").await);
    let all = drawn.len();
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), all, "copies drew the same: {drawn:?}");
}

pub(in super::super) async fn clocks_are_right(scene: &Scene) {
    let (record, _guest) = scene.started().await;
    let folder = take(scene, &record, "snapshot").await;
    pause(scene, &record).await;
    // Time must really pass for a clock to be behind.
    tokio::time::sleep(Duration::from_secs(4)).await;
    resume(scene, &record).await;
    let source = connected(scene.backend(), &record).await;
    clock_is_right(&*source, "resumed").await;
    let (_, copy) = restored(scene, &folder).await;
    clock_is_right(&*copy, "restored").await;
}

/// Within a second of the host's, which is what the clock of a machine is read and set to.
async fn clock_is_right(guest: &dyn Guest, which: &str) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let before = now();
    let inside: u64 = shell(guest, "date +%s").await.trim().parse().expect("seconds");
    let after = now();
    assert!((before - 2..=after + 2).contains(&inside), "{which}: {before} {inside} {after}");
}

pub(in super::super) async fn survive_a_restart(scene: &Scene) {
    let (record, guest) = scene.started().await;
    shell(&*guest, "echo kept > /root/f").await;
    let folder = take(scene, &record, "snapshot").await;
    let (copy, guest) = restored(scene, &folder).await;
    shell(&*guest, "echo own > /root/own").await;
    let backend = scene.backend();
    for _ in 0..2 {
        within("a stop", backend.stop(&copy, GRACE)).await.expect("stopped");
        assert!(backend.running(&copy).await.expect("an answer").is_none());
        backend.start(&copy).await.expect("started again");
        assert_eq!(shell(&*connected(backend, &copy).await, "cat /root/f /root/own").await, "kept\nown\n");
    }
}

pub(in super::super) async fn another_process_restores(scene: &Scene) {
    let (record, guest) = scene.started().await;
    shell(&*guest, "echo kept > /root/f").await;
    let folder = take(scene, &record, "snapshot").await;
    let other = scene.another_process();
    let copy = scene.record();
    let others = other.snapshots().expect("snapshots");
    within("a restore", others.restore(&copy, &folder)).await.expect("restored");
    drop(other);
    assert_eq!(shell(&*connected(scene.backend(), &copy).await, "cat /root/f").await, "kept\n");
}

pub(in super::super) async fn what_is_broken_is_refused(scene: &Scene) {
    let record = scene.record();
    let folder = scene.make_private_folder("empty");
    let refused = within("an answer", snapshots(scene).restore(&record, &folder)).await;
    assert!(refused.is_err(), "restored from nothing");
    assert!(scene.backend().running(&record).await.expect("an answer").is_none());
}

/// Starts a detached command.
async fn detached(guest: &dyn Guest, text: &str) -> ExecId {
    let mut wish = script(text);
    wish.detached_log_limit = Some(1 << 20);
    within("the start of a command", guest.exec(&wish)).await.expect("started").id
}

/// How much a detached command has written.
async fn log_length(guest: &dyn Guest, id: &ExecId) -> usize {
    let mut log = within("a log", guest.logs(id, 0, false)).await.expect("a log");
    let mut bytes = Vec::new();
    within("its end", log.stdout.read_to_end(&mut bytes)).await.expect("readable to its end");
    bytes.len()
}
