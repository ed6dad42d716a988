//! Initramfs archives in the format that the kernel reads (newc; Documentation/driver-api/early-userspace/
//! buffer-format.rst of the kernel's source).

const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const CONSOLE: u32 = 0o020_600;
/// Of /dev/console, which is where the first process's output goes (Documentation/admin-guide/devices.txt).
const CONSOLE_NUMBER: (u32, u32) = (5, 1);
const TRAILER: &str = "TRAILER!!!";

/// An archive that grows. Folders are added before what lies in them.
pub(super) struct Initramfs(Vec<u8>);

impl Initramfs {
    /// One with a console only.
    pub(super) fn new() -> Self {
        let mut this = Self(Vec::new());
        this.folder("dev");
        this.entry("dev/console", CONSOLE, CONSOLE_NUMBER, &[]);
        this
    }

    /// Adds a folder that everybody may enter.
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER, (0, 0), &[]);
    }

    /// Adds a file.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, REGULAR | mode, (0, 0), content);
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.entry(path, LINK, (0, 0), target.as_bytes());
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, (0, 0), &[]);
        self.0
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let archive = &mut self.0;
        let inode = archive.len() as u32;
        let (name_bytes, content_bytes) = (path.len() as u32 + 1, content.len() as u32);
        // Inode, mode, uid, gid, links, time, size, the file system's device (2), its own (2), length of name, sum.
        let numbers = [inode, mode, 0, 0, 1, 0, content_bytes, 0, 0, device.0, device.1, name_bytes, 0];
        archive.extend_from_slice(b"070701");
        for number in numbers {
            archive.extend_from_slice(format!("{number:08X}").as_bytes());
        }
        archive.extend_from_slice(path.as_bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn cpio_reads_it() {
        let mut initramfs = Initramfs::new();
        initramfs.file("init", 0o755, b"#!program");
        initramfs.link("link", "init");
        let Ok(mut cpio) = Command::new("cpio")
            .args(["--list", "--verbose", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            println!("SKIPPED: cpio is not installed");
            return;
        };
        cpio.stdin.take().unwrap().write_all(&initramfs.finish()).unwrap();
        let listing = String::from_utf8(cpio.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(listing.lines().count(), 4, "{listing}");
        assert!(listing.contains("crw-------") && listing.contains("5,   1"), "{listing}");
        assert!(listing.contains("-rwxr-xr-x") && listing.contains("link -> init"), "{listing}");
    }
}
