//! A registry that fails, lies or stalls.

use std::time::Duration;

use agentkernel_image::{Digest, ImageError};
use agentkernel_model::PullEvent;

use crate::fake::Reply;
use crate::scene::{MANIFEST, REPOSITORY, Sample, Scene};

const SIZE: usize = 200_000;

/// A scene whose only layer's first answers are `replies`; then the registry behaves.
async fn first_answers(replies: Vec<Reply>) -> (Scene, Sample) {
    let sample = Sample::new(&[SIZE]);
    let scene = Scene::with(&sample).await;
    let (path, mut replies) = (sample.layer_path(0), replies.into_iter());
    scene.registry.rule(move |request| if request.path == path { replies.next() } else { None });
    (scene, sample)
}

fn layer() -> Vec<u8> {
    Sample::new(&[SIZE]).layers.remove(0)
}

#[tokio::test]
async fn a_broken_connection_is_continued_by_range() {
    let (scene, sample) =
        first_answers(vec![Reply::broken(SIZE, &layer()[..70_000]), Reply::new(503, "")]).await;
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);
    let ranges: Vec<_> =
        scene.registry.seen(&sample.layer_path(0)).iter().map(|request| request.from()).collect();
    assert_eq!(ranges, [None, Some(70_000), Some(70_000)]);
    assert_eq!(scene.told.retries().len(), 2);
    assert!(scene.told.retries()[1].contains("503"), "{:?}", scene.told.retries());
}

#[tokio::test]
async fn a_registry_without_ranges_is_asked_for_all_and_one_that_gives_another_part_too() {
    let without = Reply::new(200, layer());
    let elsewhere =
        Reply::new(206, &layer()[1..]).header("Content-Range", format!("bytes 1-{}/{SIZE}", SIZE - 1));
    let unable = Reply::new(416, "");
    for second in [without, elsewhere, unable] {
        let (scene, sample) = first_answers(vec![Reply::broken(SIZE, &layer()[..70_000]), second]).await;
        scene.pull().await.unwrap();
        scene.assert_whole(&sample);
    }
}

#[tokio::test]
async fn overload_is_waited_for_and_errors_of_ours_are_not_repeated() {
    let (scene, sample) = first_answers(vec![
        Reply::new(429, "").header("Retry-After", "0"),
        Reply::new(503, "").header("Retry-After", "86400"),
        Reply::new(500, ""),
    ])
    .await;
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);

    let (scene, sample) =
        first_answers(vec![Reply::new(400, r#"{"errors":[{"code":"X","message":"no \u001b[0m"}]}"#)]).await;
    let error = scene.refused().await;
    assert!(error.contains("400") && error.contains("X: no \\u{1b}[0m"), "{error}");
    assert_eq!(scene.registry.seen(&sample.layer_path(0)).len(), 1);

    let (scene, _) = first_answers(vec![Reply::new(502, ""); 10]).await;
    let error = scene.pull().await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
    assert_eq!(scene.told.retries().len(), 3);
}

#[tokio::test]
async fn content_with_another_digest_is_not_kept() {
    let mut other = layer();
    other[5] ^= 1;
    let (scene, sample) = first_answers(vec![Reply::new(200, other); 5]).await;
    let error = scene.pull().await.unwrap_err();
    assert!(matches!(error, ImageError::WrongDigest { .. }), "{error}");
    assert!(
        error.to_string().contains("layer") && error.to_string().contains("nothing of it was kept"),
        "{error}"
    );
    assert_eq!(scene.blobs().size(&Digest::of(&sample.layers[0])).unwrap(), None);
    scene.assert_no_partial();
}

#[tokio::test]
async fn content_of_another_size_is_refused_before_it_is_read() {
    for (reply, found) in [
        (Reply::new(200, &layer()[1..]), "199999 instead of 200000"),
        (Reply::new(200, [layer(), vec![0]].concat()), "200001 instead of 200000"),
        (Reply::endless(), "more than 200000 instead of 200000"),
    ] {
        let (scene, _) = first_answers(vec![reply; 5]).await;
        let error = scene.refused().await;
        assert!(error.contains(found), "{error}");
        scene.assert_no_partial();
    }
}

#[tokio::test]
async fn a_stalled_registry_is_given_up_and_a_slow_one_is_not() {
    let (mut scene, _) = first_answers(vec![Reply::hanging(SIZE, &layer()[..10]); 9]).await;
    scene.settings.patience.idle = Duration::from_millis(100);
    let error = scene.refused().await;
    assert!(error.contains("can't be reached") && error.contains("nothing came any more"), "{error}");

    // Twenty pieces, 150 milliseconds apart: longer in all than nothing may come.
    let drip = Reply::dripping(&layer(), SIZE / 20, Duration::from_millis(150));
    let (mut scene, sample) = first_answers(vec![drip]).await;
    scene.settings.patience.idle = Duration::from_secs(2);
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);
    assert!(scene.told.retries().is_empty(), "{:?}", scene.told.retries());
}

#[tokio::test]
async fn a_manifest_that_is_not_what_was_asked_for_is_refused() {
    let sample = Sample::new(&[10]);
    let scene = Scene::with(&sample).await;
    let other = Sample::new(&[11]);
    let by_digest = scene.reference().with_digest(sample.digest());
    scene.registry.put(&format!("/v2/{REPOSITORY}/manifests/{}", sample.digest()), MANIFEST, &other.manifest);
    let error = scene.pull_as(&by_digest).await.unwrap_err();
    assert!(matches!(error, ImageError::WrongDigest { .. }), "{error}");

    let (manifest, named) = (other.manifest.clone(), sample.digest().to_string());
    scene.registry.rule(move |request| {
        let reply = Reply::new(200, manifest.clone()).header("Content-Type", MANIFEST);
        request.path.ends_with("manifests/1").then(|| reply.header("Docker-Content-Digest", named.clone()))
    });
    let error = scene.pull().await.unwrap_err();
    assert!(matches!(error, ImageError::WrongDigest { .. }), "{error}");
    assert_eq!(scene.blobs().list().unwrap(), []);
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let scene = Scene::with(&Sample::new(&[10])).await;
    let absent = format!("{}/{REPOSITORY}:2", scene.registry.name).parse().unwrap();
    let error = scene.pull_as(&absent).await.unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("manifest unknown"), "{error}");
    assert_eq!(scene.registry.seen("").len(), 1);
}

#[tokio::test]
async fn who_is_offline_is_told_what_works() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut scene = Scene::with(&Sample::new(&[10])).await;
    scene.settings = crate::scene::settings(&name);
    let error = scene.pull_as(&format!("{name}/{REPOSITORY}:1").parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
    let text = error.to_string();
    for part in [name.as_str(), "Connection refused", "agentkernel image import FILE", "--image host"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(scene.told.retries().len(), 1, "who was never reached is tried twice");
}

#[tokio::test]
async fn names_are_resolved_without_the_c_library() {
    let sample = Sample::new(&[10]);
    let mut scene = Scene::with(&sample).await;
    // `/etc/hosts` has it; nothing listens on its IPv6 address.
    let (_, port) = scene.registry.name.split_once(':').unwrap();
    let name = format!("localhost:{port}");
    scene.settings = crate::scene::settings(&name);
    scene.pull_as(&format!("{name}/{REPOSITORY}:1").parse().unwrap()).await.unwrap();
    scene.assert_whole(&sample);
    let unknown = format!("registry.invalid/{REPOSITORY}:1").parse().unwrap();
    let error = scene.pull_as(&unknown).await.unwrap_err().to_string();
    assert!(error.contains("the name registry.invalid can't be resolved"), "{error}");
}

#[tokio::test]
async fn plain_http_is_spoken_to_named_registries_only() {
    let mut scene = Scene::with(&Sample::new(&[10])).await;
    scene.settings.insecure.clear();
    let error = scene.refused().await;
    let hint = format!("insecure = [\"{}\"]", scene.registry.name);
    assert!(error.contains("can't be reached") && error.contains(&hint), "{error}");
    assert!(scene.registry.seen("/v2/").is_empty(), "nothing is asked in the clear");
    assert!(scene.told.retries().is_empty(), "{:?}", scene.told.retries());
}

#[tokio::test]
async fn a_damaged_partial_is_fetched_anew_once() {
    let sample = Sample::new(&[SIZE]);
    let scene = Scene::with(&sample).await;
    let digest = Digest::of(&sample.layers[0]);
    std::fs::create_dir_all(scene.images().join("partial")).unwrap();
    std::fs::write(scene.images().join("partial").join(digest.hex()), vec![9; 50_000]).unwrap();
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);
    let ranges: Vec<_> =
        scene.registry.seen(&sample.layer_path(0)).iter().map(|request| request.from()).collect();
    assert_eq!(ranges, [Some(50_000), None]);
    let id = digest.short();
    assert!(scene.told.events().contains(&PullEvent::Layer { id, done: 50_000, total: SIZE as u64 }));
}

#[tokio::test]
async fn a_wrong_piece_from_a_server_that_breaks_off_does_not_spoil_the_rest() {
    let (scene, sample) = first_answers(vec![Reply::broken(SIZE, &[9; 50_000])]).await;
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);
    let ranges: Vec<_> =
        scene.registry.seen(&sample.layer_path(0)).iter().map(|request| request.from()).collect();
    assert_eq!(ranges, [None, Some(50_000), None]);

    // A mirror that lies and breaks off, and the registry that continues.
    let (mut scene, sample) = first_answers(vec![]).await;
    let mirror = crate::fake::Fake::start().await;
    sample.push(&mirror);
    let path = sample.layer_path(0);
    mirror.rule(move |request| {
        (request.path == path).then(|| match request.from() {
            None => Reply::broken(SIZE, &[9; 50_000]),
            Some(_) => Reply::new(404, ""),
        })
    });
    scene.settings.mirrors.insert(scene.registry.name.clone(), vec![format!("http://{}", mirror.name)]);
    scene.pull().await.unwrap();
    scene.assert_whole(&sample);
}
