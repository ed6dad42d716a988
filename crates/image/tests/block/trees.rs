//! Random trees, there and back.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::crafted::{Raw, Tar};
use crate::erofs::{self, Found};
use crate::image;

#[derive(Debug, Clone)]
enum Kind {
    Folder,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Pipe,
    /// Of something before it, where there is something.
    HardLink(prop::sample::Index),
}

#[derive(Debug, Clone)]
struct Item {
    parent: prop::sample::Index,
    name: Vec<u8>,
    kind: Kind,
    mode: u32,
    owner: (u16, u16),
    time: (i32, u32),
    xattrs: BTreeMap<String, Vec<u8>>,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if byte == 0 || byte == b'/' { b'x' } else { byte });
    let long = proptest::collection::vec(byte.clone(), 200..256);
    prop_oneof![6 => proptest::collection::vec(byte, 1..20), 1 => long]
        .prop_filter("means something else", |name| {
            name != b"." && name != b".." && !name.starts_with(b".wh.")
        })
}

/// Around the borders at which a content is laid out in another way.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![
        Just(0usize),
        1usize..200,
        3900usize..4200,
        (1usize..5, 0usize..3).prop_map(|(blocks, more)| blocks * 4096 + more - 1),
        8000usize..20_000,
    ];
    (size, any::<u8>(), any::<bool>()).prop_map(|(size, seed, zeros)| match zeros {
        true => vec![0; size],
        false => (0..size).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed)).collect(),
    })
}

fn item() -> impl Strategy<Value = Item> {
    let target = prop_oneof![
        8 => proptest::collection::vec(1u8..=255, 1..60),
        1 => proptest::collection::vec(1u8..=255, 4000..4096),
    ];
    let kind = prop_oneof![
        3 => Just(Kind::Folder),
        5 => content().prop_map(Kind::File),
        1 => target.prop_map(Kind::Symlink),
        1 => Just(Kind::Pipe),
        1 => any::<prop::sample::Index>().prop_map(Kind::HardLink),
    ];
    let value = prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => proptest::collection::vec(any::<u8>(), 4000..9000),
    ];
    let xattrs = proptest::collection::btree_map("user\\.[a-z]{1,9}", value, 0..4);
    (
        any::<prop::sample::Index>(),
        name(),
        kind,
        0u32..0o10000,
        any::<(u16, u16)>(),
        any::<i32>(),
        0u32..1_000_000_000,
        xattrs,
    )
        .prop_map(|(parent, name, kind, mode, owner, seconds, nanoseconds, xattrs)| Item {
            parent,
            name,
            kind,
            mode,
            owner,
            time: (seconds, nanoseconds),
            xattrs,
        })
}

/// What is expected under a path, the inode's number replaced by the first path that it has.
type Expected = BTreeMap<Vec<u8>, (Found, Vec<u8>)>;

fn expected(item: &Item) -> Found {
    let (kind, content) = match &item.kind {
        Kind::Folder => (0o040_000, Vec::new()),
        Kind::File(content) => (0o100_000, content.clone()),
        Kind::Symlink(target) => (0o120_777, target.clone()),
        Kind::Pipe => (0o010_000, Vec::new()),
        Kind::HardLink(_) => unreachable!(),
    };
    let is_link = matches!(item.kind, Kind::Symlink(_));
    let has_xattrs = matches!(item.kind, Kind::Folder | Kind::File(_));
    let xattrs = item.xattrs.iter().filter(|_| has_xattrs);
    Found {
        mode: if is_link { kind } else { kind | item.mode },
        uid: item.owner.0.into(),
        gid: item.owner.1.into(),
        seconds: item.time.0.into(),
        nanoseconds: item.time.1,
        links: 0,
        nid: 0,
        content,
        xattrs: xattrs.map(|(name, value)| (name.clone().into_bytes(), value.clone())).collect(),
    }
}

/// A stream of `items`, and what should come of it.
fn layer(items: &[Item]) -> (Vec<u8>, Expected) {
    let mut folders = vec![Vec::new()];
    let mut others: Vec<Vec<u8>> = Vec::new();
    let mut tree = Expected::new();
    let mut tar = Tar::default();
    let mut taken = BTreeSet::new();
    for item in items {
        let parent = item.parent.get(&folders);
        let slash: &[u8] = if parent.is_empty() { b"" } else { b"/" };
        let path = [parent, slash, &item.name].concat();
        if path.len() > 4000 || !taken.insert(path.clone()) {
            continue;
        }
        let (seconds, nanoseconds) = item.time;
        // A fraction counts away from zero, so it is given to whole seconds below.
        let time = match (i64::from(seconds), nanoseconds) {
            (seconds, 0) => format!("{seconds}"),
            (seconds @ ..-1, _) => format!("{}.{:09}", seconds + 1, 1_000_000_000 - nanoseconds),
            (-1, _) => format!("-0.{:09}", 1_000_000_000 - nanoseconds),
            (seconds, _) => format!("{seconds}.{nanoseconds:09}"),
        };
        let owner = (item.owner.0.to_string(), item.owner.1.to_string());
        let names: Vec<String> = item.xattrs.keys().map(|name| format!("SCHILY.xattr.{name}")).collect();
        let mut records: Vec<(&str, &[u8])> = vec![
            ("path", &path),
            ("mtime", time.as_bytes()),
            ("uid", owner.0.as_bytes()),
            ("gid", owner.1.as_bytes()),
        ];
        records.extend(
            names.iter().zip(item.xattrs.values()).map(|(name, value)| (name.as_str(), value.as_slice())),
        );
        let (kind, content): (u8, &[u8]) = match &item.kind {
            Kind::Folder => (b'5', b""),
            Kind::File(content) => (b'0', content),
            Kind::Symlink(target) => {
                records.push(("linkpath", target));
                (b'2', b"")
            }
            Kind::Pipe => (b'6', b""),
            Kind::HardLink(_) if others.is_empty() => continue,
            Kind::HardLink(of) => {
                records.push(("linkpath", of.get(&others).as_slice()));
                (b'1', b"")
            }
        };
        tar = tar.pax(&records).raw(Raw::new(kind, b"long", content.len() as u64).mode(item.mode), content);
        let found = match &item.kind {
            Kind::HardLink(of) => tree[of.get(&others)].clone(),
            _ => (expected(item), path.clone()),
        };
        match item.kind {
            Kind::Folder => folders.push(path.clone()),
            _ => others.push(path.clone()),
        }
        tree.insert(path, found);
    }
    (tar.end(), tree)
}

/// As [`Expected`] has it.
fn found(image: &[u8]) -> Expected {
    let mut listing = erofs::read(image);
    let root = listing.remove(&b""[..]).unwrap();
    assert_eq!((root.mode, root.uid, root.gid), (0o040_755, 0, 0));
    let mut first: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for (path, found) in &listing {
        first.entry(found.nid).or_insert_with(|| path.clone());
    }
    listing
        .into_iter()
        .map(|(path, found)| {
            let group = first[&found.nid].clone();
            (path, (Found { nid: 0, links: 0, ..found }, group))
        })
        .collect()
}

/// With groups named by their first path in order.
fn grouped(tree: Expected) -> Expected {
    let mut first: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (path, (_, group)) in &tree {
        first.entry(group.clone()).or_insert_with(|| path.clone());
    }
    tree.into_iter().map(|(path, (found, group))| (path, (found, first[&group].clone()))).collect()
}

#[test]
fn random_trees_come_back_as_they_were() {
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(items in proptest::collection::vec(item(), 0..60))| {
        let (stream, expected) = layer(&items);
        let image = image(&[stream]).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let (found, expected) = (found(&image), grouped(expected));
        prop_assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (path, expected) in &expected {
            prop_assert_eq!(&found[path], expected, "{}", path.escape_ascii());
        }
    });
}

#[test]
fn the_same_layers_give_the_same_bytes() {
    let config = ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(lower in proptest::collection::vec(item(), 0..30), upper in proptest::collection::vec(item(), 0..30))| {
        let layers = [layer(&lower).0, layer(&upper).0];
        let (one, two) = (image(&layers), image(&layers));
        prop_assert!(one.ok() == two.ok());
    });
}
