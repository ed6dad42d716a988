//! An image as an OCI layout and as the tar file of `docker save`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::image::Image;
use super::layer::pack;
use crate::command;

/// Digest (`sha256:...`) and size of a file.
struct Blob {
    digest: String,
    size: u64,
}

impl Blob {
    fn of(file: &Path) -> Result<Self> {
        let printed = command::output(Command::new("sha256sum").arg(file))?;
        let hex = printed.split(' ').next().unwrap_or_default();
        Ok(Self { digest: format!("sha256:{hex}"), size: std::fs::metadata(file)?.len() })
    }

    fn hex(&self) -> &str {
        self.digest.trim_start_matches("sha256:")
    }
}

/// Writes `<to>/oci/<name>` and `<to>/images/<name>.docker.tar`; `scratch` is for what is in between.
pub(super) fn write(image: &Image, to: &Path, scratch: &Path) -> Result<()> {
    let mut unpacked = Vec::new();
    for layer in &image.layers {
        unpacked.push(Blob::of(layer)?);
    }
    let diff_ids: Vec<String> = unpacked.iter().map(|blob| blob.digest.clone()).collect();
    let configuration = serde_json::to_string(&image.configuration(&diff_ids))?;
    oci_layout(image, &configuration, &to.join("oci").join(image.name))?;
    let folder = scratch.join(format!("{}-docker", image.name));
    docker_archive(image, &configuration, &unpacked, &folder)?;
    std::fs::create_dir_all(to.join("images"))?;
    pack(&folder, &to.join("images").join(format!("{}.docker.tar", image.name)))?;
    std::fs::remove_dir_all(&folder).context("remove the unpacked archive")
}

/// OCI image layout specification: `oci-layout`, `index.json`, `blobs/sha256`.
fn oci_layout(image: &Image, configuration: &str, layout: &Path) -> Result<()> {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).with_context(|| format!("create {}", blobs.display()))?;
    let mut layers = Vec::new();
    for layer in &image.layers {
        let blob = add(&blobs, compressed(layer, &blobs)?)?;
        layers.push(descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &blob));
    }
    let config = add_text(&blobs, configuration)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": layers,
    });
    let manifest = add_text(&blobs, &serde_json::to_string(&manifest)?)?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({
        "org.opencontainers.image.ref.name": "1",
        "io.containerd.image.name": format!("docker.io/{}", image.reference()),
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    std::fs::write(layout.join("index.json"), serde_json::to_string(&index)?)?;
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

/// Docker image specification 1.2: `manifest.json`, the configuration, a folder for each layer.
fn docker_archive(image: &Image, configuration: &str, unpacked: &[Blob], folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let config = add_text(folder, configuration)?;
    let named = format!("{}.json", config.hex());
    std::fs::rename(folder.join(config.hex()), folder.join(&named))?;
    let mut layers = Vec::new();
    for (blob, tar) in unpacked.iter().zip(&image.layers) {
        let path = format!("{}/layer.tar", blob.hex());
        let full = folder.join(&path);
        std::fs::create_dir_all(folder.join(blob.hex()))?;
        std::fs::hard_link(tar, &full).or_else(|_| std::fs::copy(tar, &full).map(drop))?;
        layers.push(path);
    }
    let manifest = json!([{ "Config": named, "RepoTags": [image.reference()], "Layers": layers }]);
    std::fs::write(folder.join("manifest.json"), serde_json::to_string(&manifest)?)?;
    Ok(())
}

/// The file compressed, without name and time in the header: the same bytes each time.
fn compressed(tar: &Path, folder: &Path) -> Result<PathBuf> {
    let target = folder.join("compressed");
    let status = Command::new("gzip")
        .args(["--no-name", "--stdout"])
        .arg(tar)
        .stdin(Stdio::null())
        .stdout(File::create(&target)?)
        .status()
        .context("start gzip")?;
    if !status.success() {
        bail!("gzip of {} ended with {status}", tar.display());
    }
    Ok(target)
}

fn add_text(blobs: &Path, text: &str) -> Result<Blob> {
    let file = blobs.join("text");
    std::fs::write(&file, text)?;
    add(blobs, file)
}

/// Renames the file to its digest.
fn add(blobs: &Path, file: PathBuf) -> Result<Blob> {
    let blob = Blob::of(&file)?;
    std::fs::rename(&file, blobs.join(blob.hex()))?;
    Ok(blob)
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size })
}
