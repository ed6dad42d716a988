//! Pulls that go well.

use agentkernel_image::{Compression, Digest, Platform, resolve};
use agentkernel_model::PullEvent;
use serde_json::json;

use crate::scene::{INDEX, LAYER, MANIFEST, REPOSITORY, Sample, Scene, descriptor};

#[tokio::test]
async fn all_of_an_image_comes_verified_and_a_second_pull_fetches_only_the_manifest() {
    let sample = Sample::new(&[100_000, 10, 300_000, 0, 5_000, 7]);
    let scene = Scene::with(&sample).await;
    let image = scene.pull().await.unwrap();
    assert_eq!(image.manifest_digest, sample.digest());
    assert_eq!(image.config, Digest::of(&sample.config).to_image_id());
    let name = &scene.registry.name;
    let digest = sample.digest();
    assert_eq!(image.names, [format!("{name}/{REPOSITORY}:1"), format!("{name}/{REPOSITORY}@{digest}")]);
    let layers: Vec<_> =
        image.layers.iter().map(|layer| (layer.digest, layer.size, layer.compression)).collect();
    let expected = |layer: &Vec<u8>| (Digest::of(layer), layer.len() as u64, Compression::Gzip);
    assert_eq!(layers, sample.layers.iter().map(expected).collect::<Vec<_>>());
    assert_eq!(image.layers[0].media_type, LAYER);
    assert_eq!(image.layers[2].diff_id, Digest::of(&sample.layers[2][..150_000]));
    scene.assert_whole(&sample);

    let events = scene.told.events();
    assert_eq!(events[0], PullEvent::Resolving { reference: format!("{name}/{REPOSITORY}:1") });
    let id = image.layers[2].digest.short();
    assert!(events.contains(&PullEvent::Layer { id: id.clone(), done: 0, total: 300_000 }), "{events:?}");
    assert!(events.contains(&PullEvent::Progress { id, done: 300_000 }), "{events:?}");

    let requests = scene.registry.seen("").len();
    assert_eq!(scene.pull().await.unwrap(), image);
    let second: Vec<_> = scene.registry.seen("").drain(requests..).map(|request| request.path).collect();
    assert_eq!(second, [format!("/v2/{REPOSITORY}/manifests/1")]);
    let present = |event: &&PullEvent| matches!(event, PullEvent::LayerPresent { .. });
    assert_eq!(scene.told.events().iter().filter(present).count(), sample.layers.len());
}

#[tokio::test]
async fn by_digest_what_is_here_needs_no_network() {
    let sample = Sample::new(&[1000]);
    let scene = Scene::with(&sample).await;
    let by_digest = scene.reference().with_digest(sample.digest());
    let first = scene.pull_as(&by_digest).await.unwrap();
    assert_eq!(first.names, [by_digest.to_string()]);
    let requests = scene.registry.seen("").len();
    assert_eq!(scene.pull_as(&by_digest).await.unwrap(), first);
    assert_eq!(scene.registry.seen("").len(), requests);
}

#[tokio::test]
async fn the_platform_is_chosen_from_an_index() {
    let here = Sample::new(&[1000]);
    let scene = Scene::with(&here).await;
    let other: Platform = "linux/s390x".parse().unwrap();
    let there = Sample::of(&[2000], &other);
    there.push(&scene.registry);
    let entry = |sample: &Sample, platform: &Platform| {
        let name = platform.to_string();
        let parts: Vec<&str> = name.split('/').collect();
        let mut entry = descriptor(MANIFEST, &sample.manifest);
        entry["platform"] = json!({"os": parts[0], "architecture": parts[1]});
        entry
    };
    let own = Platform::of_this_machine();
    let manifests = [entry(&there, &other), entry(&here, &own)];
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
    scene.registry.put(&format!("/v2/{REPOSITORY}/manifests/1"), INDEX, index.as_bytes());

    let image = scene.pull().await.unwrap();
    assert_eq!(image.manifest_digest, here.digest());
    let name = format!("{}/{REPOSITORY}", scene.registry.name);
    let (outer, inner) = (Digest::of(index.as_bytes()), here.digest());
    assert_eq!(image.names, [format!("{name}:1"), format!("{name}@{outer}"), format!("{name}@{inner}")]);
    scene.assert_whole(&here);

    let mut asking = scene;
    asking.settings.platform = Some(other);
    assert_eq!(asking.pull().await.unwrap().manifest_digest, there.digest());
    asking.settings.platform = Some("linux/riscv64".parse().unwrap());
    let error = asking.refused().await;
    let there_is = format!("nothing for platform linux/riscv64; there is linux/s390x, {own};");
    assert!(error.contains(&there_is), "{error}");
}

#[tokio::test]
async fn a_lone_image_of_another_platform_is_refused_unless_named() {
    let other: Platform = "linux/s390x".parse().unwrap();
    let sample = Sample::of(&[1000], &other);
    let mut scene = Scene::with(&sample).await;
    let error = scene.refused().await;
    assert!(error.contains("there is linux/s390x"), "{error}");
    scene.settings.platform = Some(other);
    scene.pull().await.unwrap();
}

#[tokio::test]
async fn layers_arrive_one_by_one_and_only_those_that_are_wanted_and_each_once() {
    let mut sample = Sample::new(&[5000, 6000, 7000]);
    // The same layer twice, as images have empty ones.
    let mut manifest: serde_json::Value = serde_json::from_slice(&sample.manifest).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&sample.config).unwrap();
    let again = manifest["layers"][1].clone();
    manifest["layers"].as_array_mut().unwrap().push(again);
    let again = config["rootfs"]["diff_ids"][1].clone();
    config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(again);
    sample.config = config.to_string().into_bytes();
    let media_type = manifest["config"]["mediaType"].as_str().unwrap().to_owned();
    manifest["config"] = descriptor(&media_type, &sample.config);
    sample.manifest = manifest.to_string().into_bytes();

    let scene = Scene::with(&sample).await;
    let pull = resolve(&scene.blobs(), &scene.reference(), &scene.settings, &scene.told).await.unwrap();
    let skipped = Digest::of(&sample.layers[0]);
    let arrived = std::cell::RefCell::new(Vec::new());
    let note = |layer: &agentkernel_image::Layer, path: std::path::PathBuf| {
        assert_eq!(std::fs::read(path).unwrap().len() as u64, layer.size);
        arrived.borrow_mut().push(layer.size);
    };
    pull.layers(|layer| layer.digest != skipped, note, &scene.told).await.unwrap();
    let mut sizes = arrived.into_inner();
    sizes.sort_unstable();
    assert_eq!(sizes, [6000, 7000]);
    assert_eq!(scene.blobs().size(&skipped).unwrap(), None);
    assert_eq!(pull.image().layers.len(), 4);
}
