//! The finished images, in a folder of the user's cache that is named after their recipe.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::image::Image;
use super::{busybox, debian, program, write};
use crate::command;
use crate::test::cache_folder;

/// Whatever decides what is in the images.
const RECIPE: &[&str] = &[
    include_str!("busybox.rs"),
    include_str!("debian.rs"),
    include_str!("image.rs"),
    include_str!("layer.rs"),
    include_str!("layered.rs"),
    include_str!("program.c"),
    include_str!("program.rs"),
    include_str!("write.rs"),
];

const NAMES: [&str; 4] = ["static", "musl", "busybox", "debian"];

/// Images on disk: `images/<name>.docker.tar` and `oci/<name>`.
pub(crate) struct Cached {
    pub(crate) folder: PathBuf,
    /// Names of those that could be made.
    pub(crate) names: Vec<String>,
    /// Those that could not, with why.
    pub(crate) missing: Vec<(String, String)>,
}

/// Makes those images that the cache lacks. What can't be made is told, not fatal.
pub(crate) fn ensure() -> Result<Cached> {
    let all = cache_folder()?.join("test-bed");
    let folder = all.join(key());
    forget_others(&all, &folder)?;
    let mut cached = Cached { folder, names: Vec::new(), missing: Vec::new() };
    for name in NAMES {
        match ensure_one(&cached.folder, name) {
            Ok(()) => cached.names.push(name.to_owned()),
            Err(error) => cached.missing.push((format!("image {name}"), format!("{error:#}"))),
        }
    }
    Ok(cached)
}

/// Whether all images are there.
pub(crate) fn are_cached() -> bool {
    let folder = cache_folder().map(|cache| cache.join("test-bed").join(key()));
    folder.is_ok_and(|folder| NAMES.iter().all(|name| folder.join(name).is_dir()))
}

fn ensure_one(folder: &Path, name: &str) -> Result<()> {
    let finished = folder.join(name);
    if finished.is_dir() {
        return Ok(());
    }
    println!("test bed: image {name}: made once, into {}", finished.display());
    let scratch = folder.join(format!("{name}.{}", std::process::id()));
    let made = make(&scratch, name).and_then(|()| {
        // Another run may have been quicker; its result is the same.
        match std::fs::rename(scratch.join("finished"), &finished) {
            Err(error) if !finished.is_dir() => Err(error).context("put the finished image into the cache"),
            _ => Ok(()),
        }
    });
    if scratch.exists() {
        command::output(Command::new("rm").arg("-rf").arg(&scratch))?;
    }
    made
}

fn make(scratch: &Path, name: &str) -> Result<()> {
    std::fs::create_dir_all(scratch).with_context(|| format!("create {}", scratch.display()))?;
    let lone = || program::build(scratch, "program-static", &["-static"]);
    let image: Image = match name {
        "static" => program::lone(scratch, &lone()?)?,
        "musl" => program::dynamic(scratch)?,
        "busybox" => busybox::image(scratch, &lone()?)?,
        _ => debian::image(scratch, &lone()?)?,
    };
    write::write(&image, &scratch.join("finished"), scratch)
}

/// Images of recipes that are no more.
fn forget_others(all: &Path, current: &Path) -> Result<()> {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        if entry.path() != current {
            command::output(Command::new("rm").arg("-rf").arg(entry.path()))?;
        }
    }
    Ok(())
}

fn key() -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    RECIPE.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
