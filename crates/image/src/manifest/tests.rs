//! Documents that are taken and documents that are refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn descriptor(media_type: &str, seed: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(seed.as_bytes()), "size": seed.len()})
}

fn manifest(layers: &[&str]) -> Value {
    let layers: Vec<_> = layers.iter().map(|media_type| descriptor(media_type, "layer")).collect();
    json!({
        "schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json", "config"),
        "layers": layers,
    })
}

fn parse(document: &Value, declared: Option<&str>) -> Result<Manifest, Refusal> {
    Manifest::parse(document.to_string().as_bytes(), declared)
}

fn refused(document: &Value, declared: Option<&str>) -> String {
    match parse(document, declared).unwrap_err() {
        Refusal::Wrong(why) | Refusal::Unsupported(why) => why,
        Refusal::Layers(count) => format!("{count} layers"),
    }
}

#[test]
fn a_document_is_what_it_says_and_must_not_contradict_its_media_type() {
    let mut document = manifest(&[LAYER]);
    for declared in
        [Some(OCI), Some(DOCKER), Some("application/json; charset=utf-8"), Some("text/plain"), None]
    {
        assert!(matches!(parse(&document, declared), Ok(Manifest::Image(_))), "{declared:?}");
    }
    assert!(refused(&document, Some(OCI_INDEX)).contains("manifest or an index"));
    assert!(refused(&document, Some("text/html")).contains("text/html"));
    document["mediaType"] = json!(OCI);
    assert!(parse(&document, Some("application/octet-stream")).is_ok());
    assert!(refused(&document, Some(OCI_INDEX)).contains("another"));
    document["manifests"] = json!([]);
    assert!(refused(&document, Some(OCI)).contains("manifest or an index"));
    document["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    assert!(refused(&document, None).contains("helm"));
    assert!(refused(&json!({"schemaVersion": 1, "fsLayers": []}), None).contains("schema 1"));
    assert!(matches!(Manifest::parse(b"<html>", None), Err(Refusal::Wrong(_))));
}

#[test]
fn what_is_no_image_or_has_strange_layers_is_refused_by_name() {
    let mut artifact = manifest(&[]);
    artifact["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    assert!(refused(&artifact, Some(OCI)).contains("artifact"));
    let foreign = manifest(&[LAYER, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"]);
    assert!(refused(&foreign, Some(OCI)).contains("foreign layer"));
    let unknown = manifest(&["application/\u{1b}[31mevil"]);
    assert!(refused(&unknown, Some(OCI)).contains("\\u{1b}"), "{}", refused(&unknown, Some(OCI)));
    assert!(parse(&manifest(&[LAYER; 128]), Some(OCI)).is_ok());
    assert_eq!(refused(&manifest(&[LAYER; 129]), Some(OCI)), "129 layers");
    let mut negative = manifest(&[LAYER]);
    negative["layers"][0]["size"] = json!(-1);
    assert!(parse(&negative, Some(OCI)).is_err());
    negative["layers"][0]["size"] = json!(1);
    negative["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd");
    assert!(parse(&negative, Some(OCI)).is_err());
}

#[test]
fn an_index_offers_images_and_nothing_else() {
    let image = |os: &str, architecture: &str, variant: Option<&str>| {
        let mut image = descriptor(OCI, &format!("{os}/{architecture}"));
        image["platform"] = json!({"os": os, "architecture": architecture, "variant": variant});
        image
    };
    let mut nested = image("linux", "s390x", None);
    nested["mediaType"] = json!(OCI_INDEX);
    let mut nameless = descriptor(OCI, "nameless");
    nameless["platform"] = Value::Null;
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        image("linux", "arm", Some("v7")), image("linux", "amd64", None), image("unknown", "unknown", None), nested, nameless,
    ]});
    let Ok(Manifest::Index(index)) = parse(&index, Some(OCI_INDEX)) else { panic!("an index") };
    let chosen = index.select(&"linux/amd64".parse().unwrap()).unwrap();
    assert_eq!(chosen.digest, Digest::of(b"linux/amd64"));
    for missing in ["linux/s390x", "unknown/unknown", "windows/amd64"] {
        assert_eq!(index.select(&missing.parse().unwrap()).unwrap_err(), "linux/arm/v7, linux/amd64");
    }
}

#[test]
fn a_configuration_must_name_every_layer() {
    let Ok(Manifest::Image(image)) = parse(&manifest(&[LAYER, LAYER]), Some(OCI)) else { panic!("an image") };
    let config = |count: usize| {
        let diff_ids = vec![Digest::of(b"tar"); count];
        let text = json!({"os": "linux", "architecture": "arm64", "variant": "v8", "rootfs": {"diff_ids": diff_ids}});
        ConfigDocument::parse(text.to_string().as_bytes()).unwrap()
    };
    assert_eq!(config(2).platform.unwrap().to_string(), "linux/arm64");
    assert_eq!(config(2).layers(&image).unwrap().len(), 2);
    for wrong in [0, 1, 3] {
        assert!(config(wrong).layers(&image).unwrap_err().contains("its manifest 2"));
    }
    assert!(ConfigDocument::parse(br#"{"rootfs": {}}"#).unwrap().platform.is_none());
    assert!(ConfigDocument::parse(b"{}").is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), declared in "\\PC{0,30}") {
        drop(Manifest::parse(&bytes, Some(&declared)));
        drop(ConfigDocument::parse(&bytes));
    }
}
