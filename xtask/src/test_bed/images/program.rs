//! The small C program, built with musl: a lone static binary, and a dynamic one with its loader.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::image::Image;
use super::layer::Layer;
use crate::command;

const SOURCE: &str = include_str!("program.c");

/// Builds the program in `folder`; `flags` decide how it is linked.
pub(super) fn build(folder: &Path, name: &str, flags: &[&str]) -> Result<PathBuf> {
    let source = folder.join("program.c");
    std::fs::write(&source, SOURCE).context("write program.c")?;
    let program = folder.join(name);
    let mut compiler = Command::new("musl-gcc");
    compiler.args(["-O2", "-s", "-Wl,--build-id=none"]).args(flags).arg("-o").arg(&program).arg(&source);
    command::output(&mut compiler)?;
    Ok(program)
}

/// `static`: nothing but one static binary, and everything that an image can say about how it starts.
pub(super) fn lone(folder: &Path, program: &Path) -> Result<Image> {
    let layer = Layer::new(folder, "static")?;
    layer.copy(program, "program", 0o755)?;
    layer.folder("data/work", 0o755)?;
    Ok(Image {
        name: "static",
        layers: vec![layer.pack()?],
        config: json!({
            "Env": ["GREETING=hello world", "EMPTY="],
            "Entrypoint": ["/program"],
            "Cmd": ["tell", "the default command"],
            "WorkingDir": "/data/work",
            "User": "1234:2345",
        }),
    })
}

/// `musl`: a dynamic program with its loader, as Alpine has them. Still no shell.
pub(super) fn dynamic(folder: &Path) -> Result<Image> {
    // Where programs linked with musl look for their loader.
    let loader = PathBuf::from(format!("/lib/ld-musl-{}.so.1", std::env::consts::ARCH));
    if !loader.exists() {
        bail!("{} is missing", loader.display());
    }
    let program = build(folder, "program-dynamic", &[])?;
    let layer = Layer::new(folder, "musl")?;
    layer.copy(&program, "bin/program", 0o755)?;
    layer.copy(&loader, loader.strip_prefix("/")?.to_string_lossy().as_ref(), 0o755)?;
    layer.file(
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/program\nuser:x:1000:1000::/home/user:/bin/program\n",
    )?;
    layer.file("etc/group", 0o644, "root:x:0:\nuser:x:1000:\n")?;
    layer.folder("home/user", 0o755)?;
    layer.give("home/user", 1000, 1000)?;
    layer.folder("root", 0o700)?;
    layer.folder("tmp", 0o1777)?;
    Ok(Image {
        name: "musl",
        layers: vec![layer.pack()?],
        config: json!({ "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["program", "tell"], "User": "user" }),
    })
}
