//! `busybox`: one static binary under the names of all its applets.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::image::Image;
use super::layer::Layer;
use super::layered;
use crate::command;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\nuser:x:1000:\nextra:x:2000:user\nnogroup:x:65534:\n";

pub(super) fn image(folder: &Path, program: &Path) -> Result<Image> {
    let layer = Layer::new(folder, "busybox")?;
    let busybox = command::find("busybox").context("busybox is not installed")?;
    layer.copy(&busybox, "bin/busybox", 0o755)?;
    let applets = command::output(Command::new(&busybox).arg("--list"))?;
    for applet in applets.lines().filter(|applet| !applet.is_empty() && *applet != "busybox") {
        layer.link(&format!("bin/{applet}"), "busybox")?;
    }
    layer.file("etc/passwd", 0o644, PASSWD)?;
    layer.file("etc/group", 0o644, GROUP)?;
    for (path, mode) in [
        ("dev", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
        ("usr/bin", 0o755),
        ("var", 0o755),
    ] {
        layer.folder(path, mode)?;
    }
    layer.folder("home/user", 0o755)?;
    layer.give("home/user", 1000, 1000)?;
    let mut layers = vec![layer.pack()?];
    layers.extend(layered::layers(folder, program)?);
    let config = json!({ "Env": ["PATH=/bin:/usr/bin", "FROM_IMAGE=yes"], "Cmd": ["sh"] });
    Ok(Image { name: "busybox", layers, config })
}
