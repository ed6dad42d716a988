//! Two layers for the top of an image: what the second one does to the first is what image layers have to get right.
//! The conformance suite (`crates/testkit`, cases `images`) knows these paths.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layer::Layer;

/// Makes both in `folder`; `program` is put in as a setuid program. Returns their tar files, the lower one first.
pub(super) fn layers(folder: &Path, program: &Path) -> Result<Vec<PathBuf>> {
    Ok(vec![lower(folder, program)?, upper(folder)?])
}

fn lower(folder: &Path, program: &Path) -> Result<PathBuf> {
    let layer = Layer::new(folder, "layered-lower")?;
    layer.file("layered/kept", 0o644, "lower\n")?;
    layer.file("layered/replaced", 0o600, "lower\n")?;
    layer.file("layered/removed", 0o644, "lower\n")?;
    layer.file("layered/removed-folder/file", 0o644, "lower\n")?;
    layer.file("layered/opaque/old", 0o644, "lower\n")?;
    layer.file("layered/opaque/folder/old", 0o644, "lower\n")?;
    layer.file("layered/merged/old", 0o644, "lower\n")?;
    layer.file("layered/folder-to-file/old", 0o644, "lower\n")?;
    layer.file("layered/file-to-folder", 0o644, "lower\n")?;
    layer.file("layered/link-to-file", 0o644, "lower\n")?;
    layer.link("layered/absolute", "/layered/kept")?;
    layer.link("layered/relative", "kept")?;
    layer.file("layered/hard-a", 0o644, "one file\n")?;
    std::fs::hard_link(layer.root.join("layered/hard-a"), layer.root.join("layered/hard-b"))
        .context("link hard-b")?;
    layer.file("layered/with space, ünïcode and a\nnewline", 0o644, "odd name\n")?;
    layer.file("layered/owned", 0o640, "owned\n")?;
    layer.give("layered/owned", 1000, 1000)?;
    layer.folder("layered/owned-folder", 0o700)?;
    layer.give("layered/owned-folder", 1000, 1000)?;
    layer.file("layered/far-owner", 0o600, "far\n")?;
    layer.give("layered/far-owner", 65_534, 65_534)?;
    layer.folder("layered/sticky", 0o1777)?;
    layer.copy(program, "layered/setuid", 0o4755)?;
    layer.copy(program, "layered/program", 0o755)?;
    layer.pack()
}

fn upper(folder: &Path) -> Result<PathBuf> {
    let layer = Layer::new(folder, "layered-upper")?;
    layer.file("layered/replaced", 0o644, "upper\n")?;
    layer.file("layered/.wh.removed", 0o644, "")?;
    layer.file("layered/.wh.removed-folder", 0o644, "")?;
    layer.file("layered/opaque/.wh..wh..opq", 0o644, "")?;
    layer.file("layered/opaque/new", 0o644, "upper\n")?;
    layer.file("layered/merged/new", 0o644, "upper\n")?;
    layer.file("layered/folder-to-file", 0o644, "upper\n")?;
    layer.file("layered/file-to-folder/new", 0o644, "upper\n")?;
    layer.link("layered/link-to-file", "/etc/passwd")?;
    layer.pack()
}
