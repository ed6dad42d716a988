//! Whole images: archives whose parts don't fit together, lead elsewhere, or can't be run.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use agentkernel_image::{Direct, ImageError, ImageStore, ImportRequest, ImportSource, Reference};
use agentkernel_model::ImageConfig;

use crate::crafted::{Raw, config, docker_archive, gzip, oci_members, tar_members, write_members};
use crate::{tar, walk};

#[test]
fn set_id_bits_are_kept_behind_a_closed_door() {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path(), Arc::new(Direct::new()));
    let layer = tar().raw(Raw::new(b'0', b"su", 2).mode(0o4755), b"su").end();
    import(&store, layer, &["x/su:1"]).unwrap();
    let id = store.find(&"x/su:1".parse().unwrap()).unwrap().unwrap().id;
    let rootfs = store.rootfs(&id).unwrap();
    assert_eq!(rootfs.layers[0].join("su").metadata().unwrap().mode() & 0o7777, 0o4755);
    let images = dir.path().join("images").metadata().unwrap().mode();
    assert_eq!(
        images & 0o077,
        0,
        "another user of the machine must not reach a stranger's set-user-id program"
    );
}

fn import(store: &ImageStore, archive: Vec<u8>, names: &[&str]) -> Result<(), ImageError> {
    let request = ImportRequest {
        source: ImportSource::Stream(Box::new(std::io::Cursor::new(archive))),
        names: names.iter().map(|name| name.parse::<Reference>().unwrap()).collect(),
        config: ImageConfig::default(),
        platform: Some("linux/amd64".parse().unwrap()),
    };
    store.import(request).map(drop)
}

/// An archive that must be refused with this in the message, and leave nothing that shows or stays.
#[track_caller]
fn store_refuses(archive: Vec<u8>, why: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("precious"), "precious").unwrap();
    let store = ImageStore::open(&dir.path().join("state"), Arc::new(Direct::new()));
    let error = import(&store, archive, &[]).unwrap_err().to_string();
    assert!(error.contains(why), "{error:?} should say {why:?}");
    assert!(!error.contains('\u{1b}'), "{error:?}");
    assert_eq!(store.list().unwrap(), []);
    store.prune(&Default::default()).unwrap();
    let files: Vec<_> = walk(&dir.path().join("state")).into_iter().filter(|path| !path.is_dir()).collect();
    assert!(
        files.iter().all(|path| path.file_name().unwrap().to_string_lossy().contains("lock")),
        "{files:?}"
    );
    assert_eq!(std::fs::read_to_string(dir.path().join("precious")).unwrap(), "precious");
}

#[test]
fn archives_that_name_files_outside_are_refused() {
    let archive = |config_path: &str, layer: &str| {
        let manifest = format!(r#"[{{"Config":"{config_path}","RepoTags":["a:1"],"Layers":["{layer}"]}}]"#);
        let plain = config(&[tar().end()], "{}");
        tar().file("c.json", &plain).file("manifest.json", manifest.as_bytes()).end()
    };
    store_refuses(archive("../../../../etc/passwd", "l"), "missing");
    store_refuses(archive("/etc/passwd", "l"), "missing");
    store_refuses(archive("c.json", "../../../../etc/passwd"), "missing");
    store_refuses(archive("c.json", "/etc/passwd"), "missing");
}

#[test]
fn links_in_an_archive_lead_nowhere_outside() {
    let manifest = br#"[{"Config":"c.json","RepoTags":null,"Layers":["l"]}]"#;
    let archive = |target: &str| {
        tar()
            .file("c.json", &config(&[b"x".to_vec()], "{}"))
            .symlink("l", target)
            .file("manifest.json", manifest)
            .end()
    };
    store_refuses(archive("/etc/passwd"), "missing");
    store_refuses(archive("../../../../../etc/passwd"), "missing");
    store_refuses(archive("l"), "missing");
}

#[test]
fn layers_that_are_not_what_the_configuration_says_are_refused() {
    let layer = tar().file("x", b"good").end();
    let other = tar().file("x", b"evil").end();
    let archive = |layer: &[u8]| {
        let config = config(&[tar().file("x", b"good").end()], "{}");
        let manifest = br#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l"]}]"#;
        tar().file("c.json", &config).file("l", layer).file("manifest.json", manifest).end()
    };
    store_refuses(archive(&other), "instead of");
    store_refuses(archive(&gzip(&other)), "instead of");
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path(), Arc::new(Direct::new()));
    import(&store, archive(&gzip(&layer)), &[]).unwrap();
}

#[test]
fn blobs_that_are_not_what_they_are_called_are_refused() {
    let members = || oci_members("a:1", &[tar().file("x", b"good").end()], "{}");
    let evil = gzip(&tar().file("x", b"evil").end());
    for position in 1..members().len() - 1 {
        let mut members = members();
        members[position].1 = evil.clone();
        store_refuses(tar_members(&members), "");
    }
    let mut same_size = members();
    let blob = &mut same_size[1].1;
    let middle = blob.len() / 2;
    blob[middle] ^= 1;
    store_refuses(tar_members(&same_size), "has digest");
}

#[test]
fn digests_that_climb_are_refused() {
    let index = |digest: &str| {
        format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":7}}]}}"#
        )
    };
    for digest in ["sha256:../../../etc/passwd", "sha256:/etc/passwd", "../x", "sha512:00"] {
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
        let archive = tar().file("oci-layout", layout).file("index.json", index(digest).as_bytes());
        store_refuses(archive.end(), "damaged");
    }
}

#[test]
fn a_layout_with_links_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let members = oci_members("a:1", &[tar().file("x", b"good").end()], "{}");
    write_members(&layout, &members);
    let blob = layout.join(&members[1].0);
    std::fs::rename(&blob, dir.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("moved"), &blob).unwrap();
    let store = ImageStore::open(&dir.path().join("state"), Arc::new(Direct::new()));
    let request = ImportRequest {
        source: ImportSource::Path(layout),
        names: Vec::new(),
        config: ImageConfig::default(),
        platform: Some("linux/amd64".parse().unwrap()),
    };
    assert!(matches!(store.import(request), Err(ImageError::Archive { .. })));
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn hostile_documents_are_refused() {
    let archive = |manifest: &[u8]| tar().file("manifest.json", manifest).end();
    store_refuses(archive(b"{}"), "damaged");
    store_refuses(archive(&b"[".repeat(100_000)), "damaged");
    store_refuses(archive(&vec![b' '; 5 << 20]), "at most");
    store_refuses(archive(b"[]"), "no image");
    let item = r#"{"Config":"c","Layers":[]}"#;
    store_refuses(archive(format!("[{}]", vec![item; 200].join(",")).as_bytes()), "at most 100");
    let layers = vec!["\"l\""; 1000].join(",");
    let manifest = format!(r#"[{{"Config":"c.json","Layers":[{layers}]}}]"#);
    store_refuses(
        tar().file("c.json", b"{}").file("manifest.json", manifest.as_bytes()).end(),
        "1000 layers",
    );
    let name = r#"[{"Config":"c.json","RepoTags":["../../etc:x"],"Layers":[]}]"#;
    store_refuses(tar().file("c.json", b"{}").file("manifest.json", name.as_bytes()).end(), "not valid");
}

#[test]
fn hostile_configurations_are_refused() {
    let layer = || vec![tar().file("x", b"").end()];
    for process in
        [r#"{"Env":["A=\u0000"]}"#, r#"{"Env":["x"]}"#, r#"{"User":"a/../b"}"#, r#"{"Cmd":["\u0000"]}"#]
    {
        store_refuses(docker_archive("a:1", &layer(), process), "");
    }
    let windows = String::from_utf8(config(&layer(), "{}")).unwrap().replace("linux", "windows");
    let manifest = br#"[{"Config":"c.json","RepoTags":null,"Layers":["l"]}]"#;
    let archive =
        tar().file("c.json", windows.as_bytes()).file("l", &layer()[0]).file("manifest.json", manifest);
    store_refuses(archive.end(), "windows");
}

#[test]
fn a_hostile_layer_leaves_nothing_of_its_image() {
    let good = tar().file("x", b"good").end();
    let evil = tar().symlink("a", "/").file("a/x", b"evil").end();
    store_refuses(docker_archive("a:1", &[good, evil], "{}"), "not followed");
}
