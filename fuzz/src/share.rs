//! What a hostile guest asks of the server of a shared folder.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use agentkernel_folder_share::{FolderServer, own_descriptors};

use crate::archive::{listing, temporary_folder};

/// FUSE_FALLOCATE: would only fill the memory of who searches.
const ALLOCATE: u8 = 43;

/// Of a message in an input: how many bytes of content, the operation, the node.
const HEAD: usize = 4;

/// Sequences of messages, each as [`HEAD`] says, so that changes to bytes leave most of them whole.
pub fn seeds() -> Vec<Vec<u8>> {
    let message = |operation: u8, node: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap_or_default().to_le_bytes();
        [&[length[0], length[1], operation, node], content].concat()
    };
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>();
    let named = |head: &[u32], names: &[&str]| {
        let names = names.iter().flat_map(|name| [name.as_bytes(), &[0]].concat());
        numbers(head).into_iter().chain(names).collect::<Vec<_>>()
    };
    let look = |name: &str| message(1, 1, &named(&[], &[name]));
    let opened = message(14, 2, &numbers(&[2, 0]));
    let piece = [1, 0, 0, 0, 4096, 0, 0, 0, 0, 0];
    vec![
        [look("file"), opened.clone(), message(15, 2, &numbers(&piece))].concat(),
        [
            look("file"),
            opened,
            message(16, 2, &[numbers(&[1, 0, 0, 0, 4, 0, 0, 0, 0, 0]), b"text".to_vec()].concat()),
        ]
        .concat(),
        [look("out"), message(5, 2, &[]), message(1, 2, &named(&[], &["kept"]))].concat(),
        [look("folder"), message(27, 2, &numbers(&[0, 0])), message(28, 2, &numbers(&piece))].concat(),
        message(35, 1, &named(&[0o102, 0o100_644, 0, 0], &["new"])),
        message(9, 1, &named(&[0o755, 0], &["made"])),
        message(8, 1, &named(&[0o010_644, 0, 0, 0], &["pipe"])),
        message(6, 1, &named(&[], &["link", "../outside/kept"])),
        [look("folder"), message(12, 1, &named(&[2, 0], &["file", "moved"]))].concat(),
        message(45, 1, &named(&[1, 0, 2, 0], &["file", "folder"])),
        [look("file"), message(13, 1, &named(&[2, 0], &["hard"])), message(10, 1, &named(&[], &["file"]))]
            .concat(),
        [
            look("file"),
            message(
                4,
                2,
                &numbers(&[0x1fb, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, 0, 0, 0, 5, 5, 0, 0o600, 0, 0, 0, 0]),
            ),
        ]
        .concat(),
        [
            message(17, 1, &[]),
            message(2, 1, &numbers(&[9, 0])),
            message(42, 0, &numbers(&[1, 0, 2, 0, 9, 0])),
        ]
        .concat(),
        message(1, 1, b"../outside/kept\0"),
    ]
}

/// Whatever it asks, nothing outside the folder is made, changed, read or removed, and nothing privileged is made in it.
pub fn check(input: &[u8]) {
    let place = temporary_folder();
    let (inside, outside) = (place.path().join("inside"), place.path().join("outside"));
    for folder in [&inside, &outside, &inside.join("folder")] {
        fs::create_dir(folder).expect("a folder");
    }
    fs::write(outside.join("kept"), SECRET).expect("a file");
    fs::write(inside.join("file"), "content").expect("a file");
    symlink("../outside", inside.join("out")).expect("a link");
    let before = listing(&outside);
    let root = fs::File::open(&inside).expect("the folder").into();
    let server = FolderServer::new(root, own_descriptors().expect("/proc"), false).expect("a server");
    let begin: Vec<u8> = [7_u32, 41, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    ask(&server, 26, 0, &begin);
    let mut rest = input;
    while let Some(([low, high, operation, node], content)) = rest.split_first_chunk::<HEAD>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(content.len());
        if *operation != ALLOCATE {
            ask(&server, *operation, *node, &content[..length]);
        }
        rest = &content[length..];
    }
    // And as it is, without a header of ours.
    server.answer(input).ok();
    assert_eq!(listing(&outside), before, "what is outside stays as it was");
    assert_eq!(fs::read_dir(place.path()).expect("the parent").count(), 2, "nothing is made beside it");
    plain(&inside);
}

const SECRET: &str = "what no guest may read";

fn ask(server: &FolderServer, operation: u8, node: u8, content: &[u8]) {
    let length = u32::try_from(40 + content.len()).expect("it is short").to_ne_bytes();
    let mut message = [length, u32::from(operation).to_ne_bytes()].concat();
    message.extend([7, u64::from(node), 0, 0].into_iter().flat_map(u64::to_ne_bytes));
    message.extend(content);
    let Some(answer) = server.answer(&message).expect("a whole message") else { return };
    assert_eq!(answer[..4], u32::try_from(answer.len()).expect("it is short").to_ne_bytes());
    assert_eq!(answer[8..16], 7_u64.to_ne_bytes());
    let secret = SECRET.as_bytes();
    assert!(!answer.windows(secret.len()).any(|window| window == secret), "it was read");
}

/// No devices, and nothing that runs as its owner.
fn plain(folder: &Path) {
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let found = fs::symlink_metadata(entry.path()).expect("what was listed is there");
            let kind = found.file_type();
            assert!(!kind.is_block_device() && !kind.is_char_device());
            assert!(found.mode() & 0o4000 == 0 && (kind.is_dir() || found.mode() & 0o2000 == 0));
            if kind.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_answered_without_an_error() {
        let place = temporary_folder();
        fs::write(place.path().join("file"), "content").expect("a file");
        let root = fs::File::open(place.path()).expect("the folder").into();
        let server = FolderServer::new(root, own_descriptors().expect("/proc"), false).expect("a server");
        let begin: Vec<u8> = [7_u32, 41, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        ask(&server, 26, 0, &begin);
        ask(&server, 1, 1, b"file\0");
        ask(&server, 14, 2, &[2, 0, 0, 0, 0, 0, 0, 0]);
        let seed = &seeds()[1];
        let write = &seed[seed.len() - 44..];
        ask(&server, 16, 2, write);
        assert_eq!(fs::read(place.path().join("file")).expect("it is there"), b"textent");
    }
}
