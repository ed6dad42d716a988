//! As root nothing but the kernel is needed: no program is run.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use super::world::{HOST, Namespace, SERVER, World, new_box};
use crate::host::Places;
use crate::{NetworkHost, program};

/// Where programs are.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Started by the other test, where there is no program: what it is told is the box's process and the world's folder.
#[test]
#[ignore = "the other test starts it, where there is no program"]
fn part_without_programs() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let (pid, folder) = line.trim().split_once(' ').unwrap();
    for folder in FOLDERS {
        let programs = std::fs::read_dir(folder).map(|list| list.count()).unwrap_or(0);
        assert_eq!(programs, 0, "{folder}");
    }
    let folder = Path::new(folder);
    let places = Places {
        resolv_conf: &folder.join("resolv.conf"),
        upstream_resolv_conf: Path::new("/nonexistent"),
        runtime_folder: &folder.join("run"),
    };
    let network = NetworkHost::detect_in(false, places);
    assert_eq!(network.available(), Ok(()));
    let inside = Namespace::of(pid.parse().unwrap());
    network.connect(inside.file.as_fd(), inside.pid(), "0011223344556677").unwrap();
}

#[test]
fn a_box_is_connected_where_there_is_no_program_at_all() {
    let Some(world) = World::new() else { return };
    let inside = new_box();
    let folder = world.folder.path();
    std::fs::write(folder.join("resolv.conf"), "nameserver 203.0.113.9\n").unwrap();
    let mount = std::fs::canonicalize(program::find("mount").unwrap()).unwrap();
    let mut folders: Vec<_> =
        FOLDERS.iter().filter_map(|folder| std::fs::canonicalize(folder).ok()).collect();
    folders.sort();
    folders.dedup();
    // That of `mount` itself last.
    folders.sort_by_key(|folder| mount.starts_with(folder));
    let mounts: String = folders
        .iter()
        .map(|folder| format!("{} -t tmpfs none {}\n", mount.display(), folder.display()))
        .collect();
    let script = format!(
        "{mounts}exec {} --ignored --exact --nocapture tests::unaided::part_without_programs",
        std::env::current_exe().unwrap().display()
    );
    let mut child = world.host.run(|| {
        Command::new("unshare")
            .args(["-m", "/bin/sh", "-ec", &script])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    });
    writeln!(child.stdin.take().unwrap(), "{} {}", inside.pid(), folder.display()).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&words));
    assert!(String::from_utf8_lossy(&words).contains("1 passed"), "{}", String::from_utf8_lossy(&words));
    assert_eq!(inside.call(SERVER).as_deref(), Some(HOST));
    inside.cannot_call("198.51.100.2:9090");
}
