//! Paths that try to leave the sandbox, in every encoding: what is outside is neither read nor written nor removed.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::image_archive::Layer;
use crate::place::Place;
use crate::server::Server;

const SECRET: &str = "only on the host";

/// A file of the host that no sandbox has, and a place in which the host would find what escaped.
struct Bait {
    secret: PathBuf,
    folder: PathBuf,
}

impl Bait {
    fn lay(place: &Place) -> Self {
        let folder = place.path("bait");
        std::fs::create_dir(&folder).unwrap();
        let secret = folder.join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        Self { secret, folder }
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!(std::fs::read_to_string(&self.secret).unwrap(), SECRET);
        let names: Vec<_> =
            std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"], "something was written outside");
    }
}

/// `path` as seen from deep inside, with its way up written in each of these ways.
fn ways_up(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap().trim_start_matches('/');
    let ups = [
        "../",
        "%2e%2e/",
        "%2E%2e%2f",
        "..%2f",
        ".%2e/",
        "%252e%252e%252f",
        "%25%32%65%25%32%65/",
        "%c0%ae%c0%ae/",
        "%e0%80%ae%e0%80%ae/",
        "%uff0e%uff0e/",
        "..%5c",
        "..\\",
        "%5c..%5c",
        "..%00/",
        "%00../",
        "..%0d%0a/",
        "....//",
        "..;/",
        "./../",
        "//../",
        "%2f..%2f",
        "..%c0%af",
        "%ff../",
    ];
    let mut found: Vec<String> = ups.iter().map(|up| format!("{}{path}", up.repeat(12))).collect();
    found.extend(ups.iter().map(|up| format!("tmp/{}{path}", up.repeat(12))));
    let proc =
        ["proc/1/root", "proc/self/root", "proc/1/cwd", "proc/self/cwd/../../../../..", "proc/1/task/1/root"];
    found.extend(proc.iter().map(|start| format!("{start}/{path}")));
    found.extend([
        format!("/{path}"),
        format!("//{path}"),
        format!("%2f{path}"),
        format!("%2f%2f{path}"),
        path.to_owned(),
    ]);
    found
}

#[test]
fn no_path_leads_out_of_the_sandbox() {
    let Some(place) = Place::new("paths out of a sandbox") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    let bait = Bait::lay(&place);
    for path in ways_up(&bait.secret) {
        let target = format!("/sandboxes/box/files/{path}");
        let answer = server.get(&target);
        assert!(
            [400, 403, 404, 409].contains(&answer.status()),
            "{target}: {} {}",
            answer.status(),
            answer.text()
        );
        assert!(!answer.text().contains(SECRET), "{target}");
        let raw = [("Accept", "application/octet-stream")];
        assert!(!server.ask("GET", &target, &raw, b"").text().contains(SECRET), "{target}");
        server.delete(&format!("{target}?recursive=true"));
        bait.assert_untouched();
    }
    for path in ways_up(&bait.folder.join("planted")) {
        let target = format!("/sandboxes/box/files/{path}");
        let kind = [("Content-Type", "application/octet-stream")];
        server.ask("PUT", &target, &kind, b"planted");
        bait.assert_untouched();
    }
    let secret = bait.secret.to_str().unwrap();
    for path in [format!("/tmp/../..{secret}"), "..".to_owned(), "tmp".to_owned(), "/tmp\u{0}".to_owned()] {
        let answer = server.post("/sandboxes/box/mkdir", &json!({ "path": path }));
        assert_eq!(answer.refusal(), (400, "invalid".to_owned()), "{path:?}");
    }
    for query in ["path=/../etc", "path=%2e%2e", "path=etc", "path=", "", "path=/a%00b"] {
        for verb in ["stat", "list", "archive"] {
            let answer = server.get(&format!("/sandboxes/box/{verb}?{query}"));
            assert_eq!(answer.refusal(), (400, "invalid".to_owned()), "{verb}?{query}");
        }
    }
    server.assert_well();
}

/// Decoded once and no more: a file may be called `%2e%2e`.
#[test]
fn paths_are_decoded_exactly_once() {
    let Some(place) = Place::new("paths with percent signs") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    for (target, name) in [
        ("tmp/%252e%252e", "%2e%2e"),
        ("tmp/a%2520b", "a%20b"),
        ("tmp/a%20b", "a b"),
        ("tmp/a+b", "a+b"),
        ("tmp/%e2%82%ac", "€"),
        ("tmp/a%5cb", "a\\b"),
        ("tmp/a%3fb%23c", "a?b#c"),
        ("tmp/...", "..."),
    ] {
        let target = format!("/sandboxes/box/files/{target}");
        let written =
            server.ask("PUT", &target, &[("Content-Type", "application/json")], br#"{"content":"x"}"#);
        assert_eq!(written.data(), format!("Wrote 1 bytes to /tmp/{name}"));
        let seen = server.post("/sandboxes/box/exec", &json!({ "command": ["cat", format!("/tmp/{name}")] }));
        assert_eq!(seen.data()["output"], "x", "{target}");
        assert_eq!(server.delete(&target).data(), format!("Deleted /tmp/{name}"));
    }
    server.assert_well();
}

#[test]
fn links_are_followed_inside_only() {
    let Some(place) = Place::new("links out of a sandbox") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    let bait = Bait::lay(&place);
    let (secret, folder) = (bait.secret.to_str().unwrap(), bait.folder.to_str().unwrap());
    let script = format!(
        "cd /tmp; ln -s {secret} file; ln -s {folder} folder; ln -s /proc/1/root root; ln -s loop loop; \
         ln -s ../../../../../..{secret} up; mkfifo pipe; ln -s /dev/zero zero"
    );
    let made = server.post("/sandboxes/box/exec", &json!({ "command": ["sh", "-c", script] })).data();
    assert_eq!(made["exit_code"], 0, "{made}");
    let through_root = format!("root{secret}");
    for path in ["file", "folder/secret", &through_root, "up", "loop"] {
        let answer = server.get(&format!("/sandboxes/box/files/tmp/{path}"));
        assert!((400..500).contains(&answer.status()), "{path}: {} {}", answer.status(), answer.text());
        assert!(!answer.text().contains(SECRET), "{path}");
    }
    // Neither hangs nor fills anything.
    for path in ["pipe", "zero"] {
        let answer = server.get(&format!("/sandboxes/box/files/tmp/{path}"));
        assert!((400..500).contains(&answer.status()), "{path}: {} {}", answer.status(), answer.text());
    }
    let planted = format!("root{folder}/planted");
    for path in ["file", "folder/planted", &planted, "up"] {
        let kind = [("Content-Type", "application/octet-stream")];
        server.ask("PUT", &format!("/sandboxes/box/files/tmp/{path}"), &kind, b"planted");
        bait.assert_untouched();
    }
    let archive = server.get("/sandboxes/box/archive?path=/tmp");
    assert!(!archive.text().contains(SECRET), "an archive holds links as links");
    server.assert_well();
}

#[test]
fn archives_are_unpacked_inside_only() {
    let Some(place) = Place::new("archives that escape") else { return };
    let mut server = Server::start(&place);
    server.sandbox("box");
    let bait = Bait::lay(&place);
    let folder = bait.folder.to_str().unwrap();
    let up = "../".repeat(12);
    for archive in [
        raw_entry(&format!("{up}{}/planted", folder.trim_start_matches('/'))),
        raw_entry(&format!("{folder}/planted")),
        Layer::new().link("out", folder).file("out/planted", b"planted").bytes(),
        Layer::new()
            .link("out", &format!("{up}{}", folder.trim_start_matches('/')))
            .file("out/planted", b"p")
            .bytes(),
        Layer::new().link("out", "/proc/1/root").file(&format!("out{folder}/planted"), b"planted").bytes(),
        b"no tar at all".repeat(1000),
    ] {
        let kind = [("Content-Type", "application/x-tar")];
        let answer = server.ask("PUT", "/sandboxes/box/archive?path=/tmp", &kind, &archive);
        assert!(answer.status() < 500, "{} {}", answer.status(), answer.text());
        bait.assert_untouched();
    }
    server.assert_well();
}

/// A tar with one file of this very name, which `tar::Builder` would refuse to write.
fn raw_entry(name: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len().min(99)].copy_from_slice(&name.as_bytes()[..name.len().min(99)]);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(7);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(b"planted");
    bytes.resize(512 * 4, 0);
    bytes
}

#[test]
fn no_name_of_a_sandbox_is_a_path() {
    let place = Place::without_sandboxes();
    let mut server = Server::start(&place);
    for name in [
        "..",
        "%2e%2e",
        "..%2f..%2fetc",
        "%2fetc",
        "a%2fb",
        "%00",
        "a%00b",
        "a%0ab",
        ".",
        "%5c..",
        "%ff",
        "%zz",
        "%",
    ] {
        for rest in ["", "/files/etc/passwd", "/logs", "/execs"] {
            let answer = server.get(&format!("/sandboxes/{name}{rest}"));
            assert!(
                [400, 404].contains(&answer.status()),
                "{name}{rest}: {} {}",
                answer.status(),
                answer.text()
            );
            assert!(!answer.text().contains("root:"), "{name}{rest}");
        }
    }
    for id in ["..", "%2e%2e%2f..", "%00", "0000000000000000"] {
        let answer = server.get(&format!("/sandboxes/x/execs/{id}/logs"));
        assert!([400, 404].contains(&answer.status()), "{id}: {} {}", answer.status(), answer.text());
    }
    server.assert_well();
}
