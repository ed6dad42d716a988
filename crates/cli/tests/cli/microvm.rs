//! Sandboxes that are machines: QEMU's, in software, where the test bed is. And their setup, which needs none.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::lab::{Lab, code, errors, put, shown};

/// What the test bed names; `None`, and the reason printed, where there is none.
fn bed(test: &str) -> Option<[String; 4]> {
    let named = |variable: &str| {
        let found = std::env::var(variable).ok().filter(|value| !value.is_empty());
        if found.is_none() {
            println!("SKIPPED: {test}: {variable} is not set (`cargo xtask microvm-bed qemu env` prints it)");
        }
        found
    };
    Some([
        named("AGENTKERNEL_TEST_KERNEL")?,
        named("AGENTKERNEL_TEST_QEMU")?,
        named("AGENTKERNEL_TEST_VHOST_VSOCK")?,
        named("AGENTKERNEL_TEST_BED")?,
    ])
}

/// A lab whose settings name the bed's QEMU, and has an image.
fn machines(test: &str) -> Option<Lab> {
    let [kernel, qemu, vsock, bed] = bed(test)?;
    let archive = Path::new(&bed).join("images/busybox.docker.tar");
    if !archive.exists() {
        println!("SKIPPED: {test}: there is no {}", archive.display());
        return None;
    }
    let lab = Lab::without_sandboxes();
    let settings = format!(
        "[firecracker]\nvmm = \"qemu\"\nkernel = \"{kernel}\"\nqemu = \"{qemu}\"\nvhost_device_vsock = \"{vsock}\"\n\
         [sandbox]\nbackend = \"firecracker\"\nimage = \"agentkernel-test/busybox:1\"\n[security]\nnetwork = false\n"
    );
    put(&lab.project(), "vm.toml", &settings);
    lab.ok(&["image", "import", archive.to_str().unwrap()]);
    Some(lab)
}

/// The bed's settings.
const CONFIG: [&str; 2] = ["--config", "vm.toml"];

fn with_config<'a>(verb: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [&[verb], &CONFIG[..], arguments].concat()
}

/// As [`Lab::output`], without the backend that the lab's environment names.
fn output(lab: &Lab, arguments: &[&str]) -> std::process::Output {
    lab.command(arguments).env_remove("AGENTKERNEL_BACKEND").output().unwrap()
}

#[test]
fn a_command_runs_in_a_machine_of_its_own_and_its_streams_and_code_come_back() {
    let Some(lab) = machines("a machine's command") else { return };
    let script = "echo out; echo err >&2; cat /proc/1/comm; exit 7";
    let done = output(&lab, &with_config("run", &["--", "sh", "-c", script]));
    assert_eq!(code(&done), 7, "{}", shown(&done));
    assert!(done.stdout.starts_with(b"out\n"), "{}", shown(&done));
    assert!(errors(&done).ends_with("err\n"), "{}", shown(&done));
    let kernel = output(&lab, &with_config("run", &["--", "uname", "-r"]));
    let own = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(kernel.status.success(), "{}", shown(&kernel));
    assert_ne!(String::from_utf8_lossy(&kernel.stdout).trim(), own.trim(), "it is not this machine's kernel");
}

#[test]
fn a_sandbox_lives_through_its_verbs_and_goes_on_with_what_it_was_made_with() {
    let Some(lab) = machines("a machine's life") else { return };
    let made = output(&lab, &with_config("create", &["box"]));
    assert!(made.status.success(), "{}", shown(&made));
    // From here on nothing names QEMU: the sandbox knows.
    lab.ok(&["start", "box"]);
    assert_eq!(
        lab.ok(&["exec", "box", "--", "sh", "-c", "echo kept > /root/file; sync; echo done"]),
        "done\n"
    );
    put(&lab.project(), "sent", "content\n");
    lab.ok(&["cp", "sent", "box:/tmp/sent"]);
    assert_eq!(lab.ok(&["exec", "box", "--", "cat", "/tmp/sent"]), "content\n");
    let info = lab.ok(&["info", "box"]);
    assert!(info.contains("firecracker") && info.contains("machine"), "{info}");
    lab.ok(&["stop", "box"]);
    lab.ok(&["start", "box"]);
    assert_eq!(lab.ok(&["exec", "box", "--", "cat", "/root/file"]), "kept\n");
    let listed = lab.ok(&["list"]);
    assert!(listed.contains("box") && listed.contains("running"), "{listed}");
    lab.ok(&["remove", "--force", "box"]);
}

/// The numbers of the QEMU processes of a lab's machines: each works in a folder of its sandbox.
fn monitors(lab: &Lab) -> Vec<u32> {
    let state = lab.state();
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_monitor = |number: &u32| {
        let at = std::fs::read_link(format!("/proc/{number}/cwd")).unwrap_or_default();
        let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        at.starts_with(&state) && line.starts_with(b"qemu-system-")
    };
    numbers.filter(is_monitor).collect()
}

fn start(lab: &Lab) -> Child {
    lab.command(["start", "box"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// It runs; or, where the other took longer than anybody waits for a sandbox, the other is named.
fn assert_started_or_named(child: Child, other: u32) {
    let done = child.wait_with_output().unwrap();
    let is_named = errors(&done).contains(&format!("{other}"));
    assert!(done.stdout == b"box\n" || (code(&done) == 125 && is_named), "{}", shown(&done));
}

#[test]
fn two_that_start_one_sandbox_at_once_start_one_machine() {
    let Some(lab) = machines("two starts at once") else { return };
    let made = output(&lab, &with_config("create", &["box"]));
    assert!(made.status.success(), "{}", shown(&made));
    let (first, second) = (start(&lab), start(&lab));
    let (one, other) = (first.id(), second.id());
    assert_started_or_named(first, other);
    assert_started_or_named(second, one);
    assert_eq!(monitors(&lab).len(), 1);
    assert_eq!(lab.ok(&["exec", "box", "--", "echo", "one"]), "one\n");
    lab.ok(&["stop", "box"]);
    assert!(monitors(&lab).is_empty(), "{:?}", monitors(&lab));

    // The first dies with its machine under way; the other, which waited, finds what it left.
    let mut first = start(&lab);
    while monitors(&lab).is_empty() {
        assert!(first.try_wait().unwrap().is_none(), "it ended before it had a machine");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let second = start(&lab);
    first.kill().unwrap();
    let one = first.id();
    first.wait().unwrap();
    assert_started_or_named(second, one);
    lab.ok(&["start", "box"]);
    assert_eq!(monitors(&lab).len(), 1);
    assert_eq!(lab.ok(&["exec", "box", "--", "echo", "one"]), "one\n");
    lab.ok(&["remove", "--force", "box"]);
    assert!(monitors(&lab).is_empty(), "{:?}", monitors(&lab));
}

#[test]
fn what_a_machine_can_not_start_from_is_refused_by_name() {
    let Some(lab) = machines("a machine without an image") else { return };
    let done = output(&lab, &with_config("run", &["--image", "host", "--", "true"]));
    assert_eq!(code(&done), 125, "{}", shown(&done));
    assert!(errors(&done).contains("--image"), "{}", shown(&done));
    let done =
        output(&lab, &with_config("run", &["--image", "nowhere.invalid/x:1", "--pull", "never", "true"]));
    assert_eq!(code(&done), 125, "{}", shown(&done));
    assert!(errors(&done).contains("is not here"), "{}", shown(&done));
    let truncated = lab.project().join("short");
    std::fs::write(&truncated, b"\x7fELF\x02\x01").unwrap();
    let mut command = lab.command(with_config("run", &["--", "true"]));
    let done = command
        .env_remove("AGENTKERNEL_BACKEND")
        .env("AGENTKERNEL_FIRECRACKER_KERNEL", &truncated)
        .output()
        .unwrap();
    assert_eq!(code(&done), 125, "{}", shown(&done));
    assert!(errors(&done).contains("is truncated"), "{}", shown(&done));
}

/// A folder to install from; its programs are scripts.
fn source(lab: &Lab) -> PathBuf {
    let folder = lab.project().join("source");
    std::fs::create_dir(&folder).unwrap();
    let arch = std::env::consts::ARCH;
    for (name, title) in [("firecracker", "Firecracker"), ("jailer", "Jailer")] {
        put(&folder, &format!("{name}-{arch}"), &format!("#!/bin/sh\necho '{title} v1.13.0'\n"));
    }
    let mut kernel = vec![0; 120];
    kernel[..6].copy_from_slice(b"\x7fELF\x02\x01");
    kernel[18] = 62;
    kernel[32] = 64;
    kernel[54] = 56;
    kernel[56] = 1;
    kernel[64] = 1;
    // The mark of an arm64 kernel lies where an x86-64 one has its number of segments.
    if arch == "aarch64" {
        kernel[56..60].copy_from_slice(b"ARM\x64");
    }
    std::fs::write(folder.join(format!("vmlinux-{arch}")), kernel).unwrap();
    let listed = std::process::Command::new("sh")
        .args(["-c", "sha256sum *-* > SHA256SUMS"])
        .current_dir(&folder)
        .status()
        .unwrap();
    assert!(listed.success());
    folder
}

#[test]
fn setup_says_what_is_missing_installs_it_from_a_folder_and_refuses_what_is_wrong() {
    let lab = Lab::without_sandboxes();
    let done = lab.output(["setup", "firecracker", "--check"]);
    assert_eq!(code(&done), 1, "{}", shown(&done));
    let text = String::from_utf8_lossy(&done.stdout);
    for part in ["there is no firecracker", "there is no guest kernel", "--from", "SHA256SUMS"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let source = source(&lab);
    let from = source.to_str().unwrap();
    let wrong = lab.output(["setup", "firecracker", "--from", from, "--sha256", &"0".repeat(64)]);
    assert_eq!(code(&wrong), 125, "{}", shown(&wrong));
    assert!(errors(&wrong).contains("not the list that was meant"), "{}", shown(&wrong));
    let unpinned = lab.output(["setup", "firecracker", "--from", "https://mirror.invalid/x"]);
    assert_eq!(code(&unpinned), 125, "{}", shown(&unpinned));
    assert!(errors(&unpinned).contains("--sha256 HEX"), "{}", shown(&unpinned));
    let done = lab.output(["setup", "firecracker", "--from", from]);
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(text.contains("firecracker 1.13.0: installed: "), "{}", shown(&done));
    let installed = lab.state().join("firecracker/bin/jailer");
    assert_eq!(installed.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    assert!(lab.state().join("firecracker/vmlinux").is_file());
    let again = lab.output(["setup", "firecracker", "--from", from]);
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(text.contains("vmlinux: is here already: "), "{}", shown(&again));
}

#[test]
fn doctor_and_setup_list_firecracker_with_all_that_is_missing() {
    let lab = Lab::without_sandboxes();
    let checks = String::from_utf8(lab.output(["doctor", "--json"]).stdout).unwrap();
    assert!(
        checks.contains("backend.firecracker") && checks.contains("there is no guest kernel"),
        "{checks}"
    );
    let setup = String::from_utf8(lab.output(["setup", "--check"]).stdout).unwrap();
    assert!(setup.contains("firecracker: ") && setup.contains("setup firecracker --from"), "{setup}");
}
