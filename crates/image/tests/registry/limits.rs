//! How much is taken.

use agentkernel_image::ImageError;
use serde_json::{Value, json};

use crate::fake::Reply;
use crate::scene::{LAYER, MANIFEST, REPOSITORY, Sample, Scene, descriptor};

/// `sample` with a changed manifest.
fn changed(sample: &Sample, change: impl FnOnce(&mut Value)) -> Sample {
    let mut manifest: Value = serde_json::from_slice(&sample.manifest).unwrap();
    change(&mut manifest);
    Sample { manifest: manifest.to_string().into_bytes(), ..sample.clone() }
}

async fn refused(sample: &Sample) -> (String, Scene) {
    let scene = Scene::with(sample).await;
    let error = scene.refused().await;
    assert!(
        scene.registry.seen("/blobs/").len() <= 1,
        "no layer is fetched: {:?}",
        scene.registry.seen("/blobs/")
    );
    (error, scene)
}

#[tokio::test]
async fn a_huge_manifest_is_refused_with_and_without_a_length() {
    let sample = Sample::new(&[10]);
    for reply in [Reply::new(200, vec![b' '; (4 << 20) + 1]), Reply::endless()] {
        let scene = Scene::with(&sample).await;
        scene.registry.rule(move |request| request.path.contains("/manifests/").then(|| reply.clone()));
        let error = scene.pull().await.unwrap_err();
        assert!(matches!(error, ImageError::TooLarge { limit: 0x40_0000, .. }), "{error}");
    }
}

#[tokio::test]
async fn what_descriptors_announce_is_held_against_the_limits_first() {
    let sample = Sample::new(&[10]);
    let (error, _) =
        refused(&changed(&sample, |manifest| manifest["layers"][0]["size"] = json!(u64::MAX))).await;
    assert!(error.contains("layer") && error.contains("18446744073709551615 bytes"), "{error}");
    let (error, _) = refused(&changed(&sample, |manifest| manifest["config"]["size"] = json!(9 << 20))).await;
    assert!(error.contains("configuration") && error.contains("at most 8388608"), "{error}");
    let many = vec![descriptor(LAYER, b"x"); 129];
    let (error, _) = refused(&changed(&sample, |manifest| manifest["layers"] = json!(many))).await;
    assert!(error.contains("129 layers, at most 128"), "{error}");
    let large = vec![descriptor(LAYER, b"x"); 3];
    let three = changed(&sample, |manifest| {
        manifest["layers"] = json!(large);
        for layer in manifest["layers"].as_array_mut().unwrap() {
            layer["size"] = json!(14u64 << 30);
        }
    });
    let (error, _) = refused(&three).await;
    assert!(error.contains("all its layers together"), "{error}");

    let mut scene = Scene::with(&Sample::new(&[500])).await;
    scene.settings.limits.layer_bytes = 499;
    assert!(scene.refused().await.contains("500 bytes, at most 499"));
    scene.settings.limits.layer_bytes = 500;
    scene.pull().await.unwrap();
}

#[tokio::test]
async fn what_is_no_image_for_us_is_refused_before_any_layer() {
    let sample = Sample::new(&[10]);
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let (error, _) =
        refused(&changed(&sample, |manifest| manifest["layers"][0]["mediaType"] = json!(foreign))).await;
    assert!(error.contains("foreign layer"), "{error}");
    let more = descriptor(LAYER, b"more");
    let (error, _) =
        refused(&changed(&sample, |manifest| manifest["layers"].as_array_mut().unwrap().push(more))).await;
    assert!(error.contains("names 1 layers, its manifest 2"), "{error}");

    for (media_type, body) in [("text/html", "<html>"), (MANIFEST, "<html>"), (MANIFEST, "{}")] {
        let scene = Scene::with(&sample).await;
        scene.registry.put(&format!("/v2/{REPOSITORY}/manifests/1"), media_type, body.as_bytes());
        let error = scene.pull().await.unwrap_err();
        assert!(matches!(error, ImageError::Answer { .. } | ImageError::Unsupported { .. }), "{error}");
        assert_eq!(scene.blobs().list().unwrap(), []);
    }
}
