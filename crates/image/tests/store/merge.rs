//! Whiteouts and everything else that one layer does to those below it, against a model of a few lines, and through a
//! real overlayfs where that can be mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Cursor;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use agentkernel_image::Digest;
use agentkernel_image::block::{BlockPlan, LayerStream};
use agentkernel_image::unpack::{Ownership, UnpackLimits, unpack_layer};
use proptest::prelude::*;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::crafted::Tar;
use crate::erofs;

#[derive(Debug, Clone)]
enum Step {
    File(String, u8),
    Folder(String),
    Link(String),
    HardLink(String, String),
    Gone(String),
    Opaque(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File(u8),
    Folder,
    Link,
}

type Tree = BTreeMap<String, Node>;

/// What one layer holds and takes away.
#[derive(Default)]
struct Model {
    own: Tree,
    gone: BTreeSet<String>,
    opaque: BTreeSet<String>,
}

fn parents(path: &str) -> Vec<String> {
    path.match_indices('/').map(|(end, _)| path[..end].to_owned()).collect()
}

fn remove_below(tree: &mut Tree, path: &str) {
    tree.retain(|name, _| path.is_empty() == name.is_empty() && !name.starts_with(&format!("{path}/")));
}

fn remove(tree: &mut Tree, path: &str) {
    remove_below(tree, path);
    tree.remove(path);
}

impl Model {
    /// Does a step where it can be done; `false` where the layer would be refused.
    fn take(&mut self, step: &Step) -> bool {
        let (Step::File(path, _)
        | Step::Folder(path)
        | Step::Link(path)
        | Step::HardLink(path, _)
        | Step::Gone(path)
        | Step::Opaque(path)) = step;
        let ways: Vec<String> = match step {
            Step::Opaque(path) if !path.is_empty() => {
                parents(path).into_iter().chain([path.clone()]).collect()
            }
            _ => parents(path),
        };
        if ways.iter().any(|way| self.own.get(way).is_some_and(|node| *node != Node::Folder)) {
            return false;
        }
        if let Step::HardLink(path, target) = step {
            let reachable =
                parents(target).iter().all(|way| self.own.get(way).is_some_and(|node| *node == Node::Folder));
            let is_file = self.own.get(target).is_some_and(|node| *node != Node::Folder);
            if !reachable || !is_file || target.starts_with(&format!("{path}/")) || path == target {
                return false;
            }
        }
        for way in ways {
            self.own.entry(way).or_insert(Node::Folder);
        }
        match step {
            Step::File(path, content) => self.replace(path, Node::File(*content)),
            Step::Link(path) => self.replace(path, Node::Link),
            Step::HardLink(path, target) => {
                let node = self.own[target].clone();
                self.replace(path, node);
            }
            Step::Folder(path) => {
                self.own.insert(path.clone(), Node::Folder);
            }
            Step::Gone(path) => {
                self.gone.insert(path.clone());
            }
            Step::Opaque(path) => {
                self.opaque.insert(path.clone());
            }
        }
        true
    }

    /// What the layer had below `path` goes, and what that took away of lower ones with it.
    fn replace(&mut self, path: &str, node: Node) {
        remove(&mut self.own, path);
        let is_below = |other: &String| other.starts_with(&format!("{path}/"));
        self.gone.retain(|gone| !is_below(gone));
        self.opaque.retain(|opaque| !is_below(opaque));
        self.own.insert(path.to_owned(), node);
    }

    /// The layer on top of `lower` (OCI image-spec, `layer.md`).
    fn apply(&self, lower: &mut Tree) {
        for path in &self.gone {
            remove(lower, path);
        }
        for path in &self.opaque {
            match path.is_empty() {
                true => lower.clear(),
                false => remove_below(lower, path),
            }
        }
        for (path, node) in &self.own {
            if *node != Node::Folder || lower.get(path) != Some(&Node::Folder) {
                remove(lower, path);
            }
            lower.insert(path.clone(), node.clone());
        }
    }
}

fn stream(steps: &[Step]) -> Vec<u8> {
    let whiteout = |path: &str| match path.rsplit_once('/') {
        Some((parent, name)) => format!("{parent}/.wh.{name}"),
        None => format!(".wh.{path}"),
    };
    steps
        .iter()
        .fold(Tar::default(), |tar, step| match step {
            Step::File(path, content) => tar.file(path, &[*content]),
            Step::Folder(path) => tar.dir(&format!("{path}/")),
            Step::Link(path) => tar.symlink(path, "/nowhere"),
            Step::HardLink(path, target) => tar.hard_link(path, target),
            Step::Gone(path) => tar.file(&whiteout(path), b""),
            Step::Opaque(path) if path.is_empty() => tar.file(".wh..wh..opq", b""),
            Step::Opaque(path) => tar.file(&format!("{path}/.wh..wh..opq"), b""),
        })
        .end()
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..4)
        .prop_map(|parts| parts.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, content)| Step::File(path, content)),
        3 => path().prop_map(Step::Folder),
        1 => path().prop_map(Step::Link),
        1 => (path(), path()).prop_map(|(path, target)| Step::HardLink(path, target)),
        3 => path().prop_map(Step::Gone),
        1 => path().prop_map(Step::Opaque),
        1 => Just(Step::Opaque(String::new())).prop_filter("seldom", |_| true),
    ]
}

/// What a folder shows; a name that can't be looked up is not there (overlayfs lists whiteouts of folders that only one
/// layer has).
fn shown(folder: &Path) -> Tree {
    let (mut tree, mut waiting) = (Tree::new(), vec![PathBuf::new()]);
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(folder.join(&next)).unwrap() {
            let path = next.join(entry.unwrap().file_name());
            let Ok(metadata) = folder.join(&path).symlink_metadata() else { continue };
            if metadata.file_type().is_char_device() {
                continue;
            }
            let name = path.to_str().unwrap().to_owned();
            let node = if metadata.is_dir() {
                waiting.push(path);
                Node::Folder
            } else if metadata.is_symlink() {
                Node::Link
            } else {
                Node::File(std::fs::read(folder.join(&path)).unwrap()[0])
            };
            tree.insert(name, node);
        }
    }
    tree
}

/// overlayfs over `layers`, lowest first, mounted nowhere: gone with its descriptor.
fn overlay(layers: &[PathBuf]) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let lower: Vec<_> = layers.iter().rev().map(|layer| layer.to_str().unwrap()).collect();
    rustix::mount::fsconfig_set_string(&context, "lowerdir", lower.join(":"))?;
    rustix::mount::fsconfig_set_flag(&context, "userxattr")?;
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

fn unpack(folder: &Path, stream: &[u8]) -> Result<bool, String> {
    std::fs::create_dir(folder).unwrap();
    let target: OwnedFd = File::open(folder).unwrap().into();
    let length = stream.len() as u64;
    let unpacked = unpack_layer(stream, length, target, Ownership::Ignore, UnpackLimits::default());
    unpacked.map(|(report, _)| report.hides_all_lower).map_err(|error| error.to_string())
}

/// What the block image of these layers shows.
fn in_block_image(streams: &[Vec<u8>]) -> Tree {
    let layers = streams.iter().map(|stream| LayerStream {
        blob: Cursor::new(stream),
        blob_bytes: stream.len() as u64,
        diff_id: Digest::of(stream),
    });
    let mut plan = BlockPlan::of(layers.collect(), UnpackLimits::default()).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    plan.write(file.as_file(), file.path(), [0; 16]).unwrap();
    let listing = erofs::read(&std::fs::read(file.path()).unwrap());
    let node = |found: &erofs::Found| match found.mode & 0o170_000 {
        0o040_000 => Node::Folder,
        0o120_000 => Node::Link,
        _ => Node::File(found.content[0]),
    };
    let below_root = listing.iter().filter(|(path, _)| !path.is_empty());
    below_root.map(|(path, found)| (String::from_utf8(path.clone()).unwrap(), node(found))).collect()
}

#[test]
fn layers_merge_as_the_model_says() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: overlayfs is not asked, only the model: that needs root");
    }
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    let layers = proptest::collection::vec(proptest::collection::vec(step(), 0..12), 1..5);
    proptest!(config, |(layers in layers)| { merge(layers)? });
}

/// Layers that say twice what a name is: the later word counts, and what the former took away comes back.
#[test]
fn the_later_word_counts() {
    let (folder, file) =
        (|path: &str| Step::Folder(path.to_owned()), |path: &str| Step::File(path.to_owned(), 1));
    let gone = |path: &str| Step::Gone(path.to_owned());
    let below = || vec![folder("c/c"), file("c/c/x")];
    for above in [
        vec![gone("c/c"), file("c"), folder("c")],
        vec![gone("c/c"), file("c"), folder("c/c")],
        vec![gone("c/c/x"), file("c"), folder("c")],
        vec![gone("c"), file("c"), folder("c")],
    ] {
        merge(vec![below(), above]).unwrap();
    }
}

/// Unpacks `layers` and holds what they are together against the model.
fn merge(layers: Vec<Vec<Step>>) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    // overlayfs wants two at least.
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (mut expected, mut folders) = (Tree::new(), vec![empty.clone()]);
    let mut streams = Vec::new();
    for (number, steps) in layers.into_iter().enumerate() {
        let mut model = Model::default();
        let steps: Vec<_> = steps.into_iter().filter(|step| model.take(step)).collect();
        let folder = dir.path().join(format!("layer{number}"));
        streams.push(stream(&steps));
        let hides_all = unpack(&folder, &stream(&steps)).map_err(TestCaseError::fail)?;
        prop_assert_eq!(shown(&folder), model.own.clone(), "the layer alone, of {:?}", &steps);
        model.apply(&mut expected);
        if hides_all {
            folders = vec![empty.clone()];
        }
        folders.push(folder);
    }
    prop_assert_eq!(in_block_image(&streams), expected.clone(), "as a block device");
    if rustix::process::geteuid().is_root() {
        let mounted = overlay(&folders).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let path = format!("/proc/self/fd/{}", mounted.as_raw_fd());
        prop_assert_eq!(shown(Path::new(&path)), expected);
    }
    Ok(())
}

#[test]
fn what_would_be_refused_is_refused() {
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in proptest::collection::vec(step(), 0..12))| {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        let fine = steps.iter().all(|step| model.take(step));
        prop_assert_eq!(unpack(&dir.path().join("layer"), &stream(&steps)).is_ok(), fine);
    });
}
