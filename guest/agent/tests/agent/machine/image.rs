//! Block devices: an image with a few traps in it, and an empty disk.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Applets that the cases use.
const PROGRAMS: [&str; 28] = [
    "sh", "cat", "echo", "ls", "id", "hostname", "mknod", "dd", "readlink", "sleep", "mount", "grep", "ip",
    "test", "sort", "date", "df", "stat", "true", "touch", "wc", "head", "kill", "mkdir", "od", "ping", "rm",
    "chmod",
];

/// Whether all programs that make images are here; else the name of one that isn't.
pub(super) fn missing_program() -> Option<&'static str> {
    let exists = |name: &&&str| {
        ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|folder| Path::new(folder).join(name).exists())
    };
    let needed = ["busybox", "mkfs.erofs", "mkfs.ext4", "losetup", "unshare"];
    needed.iter().find(|name| !exists(name)).copied()
}

/// An EROFS file with busybox, and with links and files where a box has folders.
pub(super) fn make(place: &Path) -> PathBuf {
    let root = place.join("image");
    let write = |name: &str, content: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    write("etc/passwd", "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
    write("etc/group", "root:x:0:\nuser:x:1000:\n");
    write("dev", "a file where a folder is needed");
    symlink("/etc", root.join("proc")).unwrap();
    symlink("/etc/../../../../outside", root.join("etc/resolv.conf")).unwrap();
    std::fs::create_dir(root.join("tmp")).unwrap();
    std::fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o700)).unwrap();
    // The image's own device, for who would read past the file system.
    run("mknod", &[root.join("own-device").to_str().unwrap(), "b", "254", "0"]);
    run("mknod", &[root.join("own-null").to_str().unwrap(), "c", "1", "3"]);
    std::fs::create_dir(root.join("run")).unwrap();
    std::fs::create_dir(root.join("bin")).unwrap();
    std::fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
    for program in PROGRAMS {
        symlink("busybox", root.join("bin").join(program)).unwrap();
    }
    let image = place.join("image.erofs");
    run("mkfs.erofs", &["-Enoinline_data", image.to_str().unwrap(), root.to_str().unwrap()]);
    image
}

/// A sparse file with an empty ext4.
pub(super) fn disk(place: &Path) -> PathBuf {
    let disk = place.join("disk.ext4");
    std::fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    run("mkfs.ext4", &["-q", "-F", disk.to_str().unwrap()]);
    disk
}

/// Runs a program of this machine and returns what it says.
pub(super) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
