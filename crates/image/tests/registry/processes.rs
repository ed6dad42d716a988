//! Several processes, and processes that die.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agentkernel_image::{Blobs, Digest, fetch};

use crate::fake::Reply;
use crate::scene::{REPOSITORY, Sample, Scene, settings};

const REGISTRY: &str = "AGENTKERNEL_TEST_CHILD_REGISTRY";
const IMAGES: &str = "AGENTKERNEL_TEST_CHILD_IMAGES";

/// A process that pulls what the scene has.
fn spawn(scene: &Scene) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::pull_of_another_process", "--nocapture"]);
    command.env(REGISTRY, &scene.registry.name).env(IMAGES, scene.images());
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// What the processes that this file starts do; by itself nothing.
#[tokio::test]
async fn pull_of_another_process() {
    let (Ok(registry), Some(images)) = (std::env::var(REGISTRY), std::env::var_os(IMAGES)) else { return };
    let reference = format!("{registry}/{REPOSITORY}:1").parse().unwrap();
    fetch(&Blobs::new(images.as_ref()), &reference, &settings(&registry), &()).await.unwrap();
}

async fn ended(mut child: Child) -> bool {
    tokio::task::spawn_blocking(move || child.wait().unwrap().success()).await.unwrap()
}

#[tokio::test]
async fn processes_that_pull_at_once_fetch_each_blob_once() {
    let sample = Sample::new(&[300_000, 200_000]);
    let scene = Scene::with(&sample).await;
    let (slow, layer) = (sample.layer_path(0), sample.layers[0].clone());
    scene.registry.rule(move |request| {
        (request.path == slow).then(|| Reply::dripping(&layer, 30_000, Duration::from_millis(30)))
    });
    let children: Vec<Child> = (0..3).map(|_| spawn(&scene)).collect();
    for child in children {
        assert!(ended(child).await);
    }
    scene.assert_whole(&sample);
    for number in 0..2 {
        assert_eq!(scene.registry.seen(&sample.layer_path(number)).len(), 1, "layer {number}");
    }
}

#[tokio::test]
async fn a_killed_pull_leaves_a_partial_that_the_next_one_continues_or_that_is_pruned() {
    let sample = Sample::new(&[400_000]);
    let scene = Scene::with(&sample).await;
    let (path, layer) = (sample.layer_path(0), sample.layers[0].clone());
    scene.registry.rule(move |request| {
        (request.path == path && request.from().is_none()).then(|| Reply::hanging(400_000, &layer[..250_000]))
    });
    let partial = scene.images().join("partial").join(Digest::of(&sample.layers[0]).hex());
    let kill_halfway = async || {
        let mut child = spawn(&scene);
        let deadline = Instant::now() + Duration::from_secs(60);
        while partial.metadata().map_or(0, |metadata| metadata.len()) < 250_000 {
            assert!(Instant::now() < deadline, "the other process must get so far");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    };
    kill_halfway().await;
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);
    assert_eq!(scene.registry.seen(&sample.layer_path(0)).last().unwrap().from(), Some(250_000));

    std::fs::remove_dir_all(scene.images()).unwrap();
    kill_halfway().await;
    let pruned = scene.blobs().prune_partials(Duration::ZERO).unwrap();
    assert_eq!((pruned.files, pruned.bytes), (1, 250_000));
    scene.assert_no_partial();
}

#[tokio::test]
async fn a_pull_that_is_dropped_lets_the_next_one_in() {
    let sample = Sample::new(&[400_000]);
    let scene = Scene::with(&sample).await;
    let (path, layer) = (sample.layer_path(0), sample.layers[0].clone());
    scene.registry.rule(move |request| {
        (request.path == path && request.from().is_none()).then(|| Reply::hanging(400_000, &layer[..250_000]))
    });
    let partial = scene.images().join("partial").join(Digest::of(&sample.layers[0]).hex());
    let halfway = async {
        while partial.metadata().map_or(0, |metadata| metadata.len()) < 250_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        pulled = scene.pull() => panic!("it must hang: {pulled:?}"),
        () = halfway => {}
    }
    tokio::time::timeout(Duration::from_secs(20), scene.pull()).await.unwrap().unwrap();
    scene.assert_whole(&sample);
}
