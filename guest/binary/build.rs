//! Builds the guest agent for the same target, as small as it gets, so that it can be embedded. A nested cargo in a
//! target folder of its own: the outer one holds the lock of the usual folder.

use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the agent is made of. Its dependencies' versions come from the lock file.
const SOURCES: [&str; 5] = [
    "guest/agent/src",
    "guest/agent/Cargo.toml",
    "crates/protocol/src",
    "crates/protocol/Cargo.toml",
    "Cargo.lock",
];

/// Of the release profile, for the nested build.
const PROFILE: [(&str, &str); 6] = [
    ("OPT_LEVEL", "z"),
    ("LTO", "fat"),
    ("CODEGEN_UNITS", "1"),
    ("PANIC", "abort"),
    ("STRIP", "symbols"),
    ("DEBUG", "false"),
];

fn main() {
    let out = PathBuf::from(variable("OUT_DIR"));
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../..");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let target = variable("TARGET");
    let target_dir = out.join("agent");
    let mut cargo = Command::new(variable("CARGO"));
    // What the outer cargo and its wrappers (clippy, coverage) set must not leak in, but what says where cargo keeps and
    // finds things must.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let is_own = name.starts_with("CARGO_")
            && !name.starts_with("CARGO_HOME")
            && !name.starts_with("CARGO_NET_")
            && !name.starts_with("CARGO_HTTP_")
            && !name.starts_with("CARGO_REGISTR")
            && !name.starts_with("CARGO_SOURCE_")
            && name != "CARGO_MAKEFLAGS";
        let is_compiler =
            ["RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "RUSTFLAGS", "CLIPPY_ARGS", "RUSTDOCFLAGS"];
        if is_own || is_compiler.contains(&&*name) || name.starts_with("CARGO_ENCODED") {
            cargo.env_remove(&*name);
        }
    }
    for (key, value) in PROFILE {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static\x1f-Crelocation-model=static");
    cargo.current_dir(&root).args(["build", "--release", "--package", "agentkernel-guest-agent"]);
    cargo.args(["--bin", "agentkernel-agent", "--target", &target]).arg("--target-dir").arg(&target_dir);
    if root.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("building the guest agent failed with {status}"),
        Err(error) => panic!("could not run cargo to build the guest agent: {error}"),
    }
    let binary = target_dir.join(&target).join("release/agentkernel-agent");
    let bytes = std::fs::read(&binary).unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    println!("cargo::rustc-env=AGENTKERNEL_AGENT_BINARY={}", binary.display());
    // To tell versions apart; nothing is trusted because of it.
    println!("cargo::rustc-env=AGENTKERNEL_AGENT_FILE_NAME={:016x}-{}", hasher.finish(), bytes.len());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
