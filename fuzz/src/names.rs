//! Names, paths, sizes and the other small texts that users and config files give.

use std::fmt::Display;
use std::path::Component;
use std::str::FromStr;

use agentkernel_model::{
    BackendName, BoxPath, Cpus, ExecId, ImageRef, Mib, Mount, Profile, PublishedPort, SandboxName, Signal,
    UserSpec,
};

/// Texts of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "my-project_1",
        "../../etc",
        "a/b",
        "/workspace/a/./b//c",
        "/a/../b",
        "python:3.12-alpine",
        "host",
        "host.example/a/b@sha256:0123",
        "/a:/b:ro",
        "a:/b:c:rw",
        "127.0.0.1:80:8080",
        "[::1]:1:2/tcp",
        "SIGTERM",
        "64",
        "512m",
        "2GiB",
        "99999999999g",
        "0.5",
        "1e3",
        "nan",
        "root:0",
        "1000:www-data",
        "moderate",
        "x\0y",
        "\u{202e}x",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// A text is a value that says the same again, or an error; no value can leave its folder.
pub fn check(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    for name in [parsed::<SandboxName>(text).map(String::from), parsed::<ExecId>(text).map(String::from)] {
        assert!(name.is_none_or(|name| is_component(&name)), "{text:?}");
    }
    assert!(parsed::<BackendName>(text).is_none_or(|name| is_component(name.as_str())), "{text:?}");
    if let Some(path) = parsed::<BoxPath>(text) {
        let mut parts = path.as_path().components();
        assert_eq!(parts.next(), Some(Component::RootDir), "{text:?}");
        assert!(parts.all(|part| matches!(part, Component::Normal(_))), "{text:?}");
    }
    if let Ok(mount) = text.parse::<Mount>() {
        assert!(mount.target.as_path().is_absolute(), "{text:?}");
    }
    parsed::<ImageRef>(text);
    parsed::<UserSpec>(text);
    parsed::<Signal>(text);
    parsed::<Profile>(text);
    parsed::<PublishedPort>(text);
    if let Ok(cpus) = text.parse::<Cpus>() {
        assert!((10..=1_024_000).contains(&cpus.millis()), "{text:?}");
    }
    if let Ok(size) = text.parse::<Mib>() {
        assert!(size.bytes() >= 1 << 20, "{text:?}");
    }
}

fn parsed<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    assert_eq!(
        value.to_string().parse::<T>().ok().as_ref(),
        Some(&value),
        "{text:?} is not the same when read again"
    );
    Some(value)
}

fn is_component(name: &str) -> bool {
    !name.is_empty() && name.len() <= 63 && !name.starts_with('.') && !name.contains(['/', '\0', '\n'])
}
