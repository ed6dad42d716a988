//! Archives in and out.

use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use agentkernel_image::{Digest, ImageError, ImportSource};

use crate::crafted::{docker_archive, gzip, oci_members, tar_members, write_members, zstd};
use crate::scene::{Scene, layer, reference};

fn stream(bytes: Vec<u8>) -> ImportSource {
    ImportSource::Stream(Box::new(Cursor::new(bytes)))
}

fn layers() -> Vec<Vec<u8>> {
    vec![layer("lower", "1"), layer("upper", "2")]
}

const PROCESS: &str =
    r#"{"Env":["PATH=/bin"],"Entrypoint":["/run"],"Cmd":["x"],"User":"1000","WorkingDir":"/w"}"#;

#[test]
fn every_kind_of_archive_gives_the_same_image() {
    let scene = Scene::new();
    let docker = docker_archive("team/app:1", &layers(), PROCESS);
    let members = oci_members("team/app:1", &layers(), PROCESS);
    let folder = scene.dir.path().join("layout");
    write_members(&folder, &members);
    let mut ids = Vec::new();
    for (number, source) in [
        ImportSource::Path(scene.write("docker.tar", &docker)),
        ImportSource::Path(scene.write("docker.tar.gz", &gzip(&docker))),
        stream(docker.clone()),
        stream(zstd(&docker)),
        ImportSource::Path(scene.write("oci.tar", &tar_members(&members))),
        stream(gzip(&tar_members(&members))),
        ImportSource::Path(folder),
    ]
    .into_iter()
    .enumerate()
    {
        let imported = scene.import(source, &[]).unwrap();
        assert_eq!(imported[0].names, ["docker.io/team/app:1"], "{number}");
        ids.push(imported[0].id.clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let image = scene.find("team/app:1").unwrap();
    assert_eq!(image.config.argv(None, &[]), ["/run".into(), "x".into()]);
    assert_eq!(image.config.user, Some("1000".parse().unwrap()));
    assert_eq!(
        (scene.read(&image, "lower"), scene.read(&image, "upper")),
        (Some("1".into()), Some("2".into()))
    );
    assert_eq!(image.bytes(), 2);
}

#[test]
fn older_archives_share_layers_by_links() {
    let shared = layer("x", "shared");
    let config = crate::crafted::config(std::slice::from_ref(&shared), "{}");
    let manifest = br#"[{"Config":"c.json","RepoTags":["a:1","b:2"],"Layers":["two/layer.tar"]}]"#;
    let archive = crate::crafted::Tar::default()
        .file("c.json", &config)
        .file("one/layer.tar", &shared)
        .symlink("two/layer.tar", "../one/layer.tar")
        .file("manifest.json", manifest)
        .end();
    let scene = Scene::new();
    let imported = scene.import(stream(archive), &[]).unwrap();
    assert_eq!(imported[0].names, ["docker.io/library/a:1", "docker.io/library/b:2"]);
    assert_eq!(scene.read(&scene.find("b:2").unwrap(), "x").as_deref(), Some("shared"));
}

#[test]
fn a_tar_of_a_root_folder_needs_a_name() {
    let scene = Scene::new();
    let root = layer("etc/os-release", "ID=test");
    let error = scene.import(stream(root.clone()), &[]).unwrap_err().to_string();
    assert!(error.contains("needs a name"), "{error}");
    for source in [
        stream(root.clone()),
        stream(gzip(&root)),
        ImportSource::Path(scene.write("root.tar", &root)),
        ImportSource::Path(scene.write("root.tar.zst", &zstd(&root))),
    ] {
        scene.import(source, &["mine:1"]).unwrap();
    }
    let image = scene.find("mine:1").unwrap();
    assert_eq!(image.layers[0].diff_id, Digest::of(&root));
    assert_eq!(scene.store.list().unwrap().len(), 1, "the same content is the same image");
    assert_eq!(scene.read(&image, "etc/os-release").as_deref(), Some("ID=test"));
}

#[test]
fn what_is_exported_is_taken_back() {
    let scene = Scene::new();
    scene.image("team/app:1", &layers());
    scene.import(stream(tar_members(&oci_members("other/app:2", &layers(), "{}"))), &[]).unwrap();
    let images = [reference("team/app:1"), reference("other/app:2")];
    let mut archive = Vec::new();
    let exported = scene.store.export(&images, &mut archive).unwrap();
    assert_eq!(exported[1].names, ["docker.io/other/app:2"]);
    let mut again = Vec::new();
    scene.store.export(&images, &mut again).unwrap();
    assert!(archive == again, "the same images give the same archive");

    let other = Scene::new();
    assert_eq!(other.import(stream(archive.clone()), &[]).unwrap().len(), 2);
    for name in ["team/app:1", "other/app:2"] {
        assert_eq!(other.find(name).unwrap().id, scene.find(name).unwrap().id);
    }
    assert!(matches!(
        scene.store.export(&[reference("none:1")], &mut Vec::new()),
        Err(ImageError::Missing { .. })
    ));
}

#[test]
fn an_image_whose_archives_went_is_not_exported_and_says_why() {
    let scene = Scene::new();
    let image = scene.image("app:1", &layers());
    scene.store.blobs().remove(&image.layers[0].blob).unwrap();
    let mut archive = Vec::new();
    let error = scene.store.export(&[reference("app:1")], &mut archive).unwrap_err();
    assert!(matches!(error, ImageError::Unpacked { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("app:1") && text.contains("images.max_size") && text.contains("pull"), "{text}");
    assert!(archive.is_empty(), "before anything is written");
    scene.store.rootfs(&image.id).unwrap();
}

/// Runs a program that may be missing; `None` then.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: {program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{program} {arguments:?}: {said}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
    }
}

/// An archive of two images: one that came as `docker save` wrote it, one with gzipped layers.
fn exported(scene: &Scene) -> std::path::PathBuf {
    scene.image("agentkernel-test/exported:1", &layers());
    let members = oci_members("agentkernel-test/exported:2", &layers(), PROCESS);
    scene.import(stream(tar_members(&members)), &[]).unwrap();
    let names = [reference("agentkernel-test/exported:1"), reference("agentkernel-test/exported:2")];
    let mut archive = Vec::new();
    scene.store.export(&names, &mut archive).unwrap();
    scene.write("exported.tar", &archive)
}

#[test]
fn skopeo_takes_what_is_exported_and_we_take_what_it_writes() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: skopeo gives the files of an OCI archive to the archive's root, which needs root");
        return;
    }
    let scene = Scene::new();
    let archive = exported(&scene);
    for (number, kind) in
        [(1, "docker-archive"), (2, "docker-archive"), (1, "oci-archive"), (2, "oci-archive")]
    {
        let name = format!("docker.io/agentkernel-test/exported:{number}");
        let source = format!("{kind}:{}:{name}", archive.display());
        let target = scene.dir.path().join(format!("copied-{kind}-{number}"));
        let target = format!("oci:{}:{name}", target.display());
        if run("skopeo", &["copy", "--quiet", &source, &target]).is_none() {
            return;
        }
        let other = Scene::new();
        let folder = scene.dir.path().join(format!("copied-{kind}-{number}"));
        let imported = other.import(ImportSource::Path(folder), &["copied:1"]).unwrap();
        let image = other.store.get(&imported[0].id).unwrap().unwrap();
        assert_eq!(other.read(&image, "upper").as_deref(), Some("2"));
    }
}

/// Loads into the engine behind `variable`, compares ids, and cleans up.
fn load(variable: &str, program: &str, address: &[&str]) {
    let Ok(socket) = std::env::var(variable) else {
        println!("SKIPPED: {variable} is not set");
        return;
    };
    let scene = Scene::new();
    let archive = exported(&scene);
    let address: Vec<String> = address.iter().map(|part| part.replace("{}", &socket)).collect();
    let engine = |arguments: &[&str]| {
        let all: Vec<&str> = address.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        run(program, &all)
    };
    if engine(&["load", "--input", archive.to_str().unwrap()]).is_none() {
        return;
    }
    for number in [1, 2] {
        let name = format!("docker.io/agentkernel-test/exported:{number}");
        let back = scene.dir.path().join(format!("back{number}.tar"));
        engine(&["save", "--output", back.to_str().unwrap(), &name]).unwrap();
        let other = Scene::new();
        let imported = other.import(ImportSource::Path(back), &[]).unwrap();
        assert_eq!(imported[0].names, [name.as_str()]);
        let image = other.store.get(&imported[0].id).unwrap().unwrap();
        assert_eq!(other.read(&image, "upper").as_deref(), Some("2"));
        engine(&["rmi", &name]).unwrap();
    }
}

#[test]
fn docker_takes_what_is_exported() {
    load("AGENTKERNEL_TEST_DOCKER", "docker", &["--host", "unix://{}"]);
}

#[test]
fn podman_takes_what_is_exported() {
    load("AGENTKERNEL_TEST_PODMAN", "podman", &["--remote", "--url", "unix://{}"]);
}

#[test]
fn the_images_of_the_test_bed_are_taken() {
    let Ok(bed) = std::env::var("AGENTKERNEL_TEST_BED") else {
        println!("SKIPPED: AGENTKERNEL_TEST_BED is not set");
        return;
    };
    for (name, file) in
        [("busybox", "bin/busybox"), ("musl", ""), ("static", ""), ("debian", "etc/debian_version")]
    {
        let scene = Scene::new();
        let path = Path::new(&bed).join(format!("images/{name}.docker.tar"));
        let imported = scene.import(ImportSource::Path(path), &[]).unwrap();
        assert_eq!(imported[0].names, [format!("docker.io/agentkernel-test/{name}:1")]);
        let image = scene.store.get(&imported[0].id).unwrap().unwrap();
        let rootfs = scene.store.rootfs(&image.id).unwrap();
        assert!(rootfs.layers.iter().any(|layer| layer.join(file).exists()), "{name} has {file}");
    }
}
