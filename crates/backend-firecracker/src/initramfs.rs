//! The first root of a microVM: our agent as `/init`, and the empty folders that it mounts things on. The image is not in
//! it. Written as the kernel unpacks it, uncompressed, in the "newc" form of cpio (kernel documentation,
//! driver-api/early-userspace/buffer-format.rst).

/// The form's mark at the beginning of each entry, without checksums.
const MAGIC: &str = "070701";

/// The name of the entry behind the last.
const END: &str = "TRAILER!!!";

/// Folders that the agent mounts things on: `/box` becomes the box's root.
const FOLDERS: [&str; 5] = ["dev", "proc", "sys", "run", "box"];

/// Kinds of files (inode(7)).
const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An initramfs whose `/init` is `agent`, a static program. The same agent gives the same bytes: everything belongs to
/// root and was changed last in 1970.
///
/// The kernel opens `/dev/console` for `/init` before anything is mounted (init/main.c), so it must be there.
#[must_use]
pub fn initramfs(agent: &[u8]) -> Vec<u8> {
    let mut archive = Archive { bytes: Vec::with_capacity(agent.len() + 4096), entries: 0 };
    for folder in FOLDERS {
        archive.add(folder, FOLDER | 0o755, (0, 0), &[]);
    }
    archive.add("dev/console", CHARACTER_DEVICE | 0o600, (5, 1), &[]);
    archive.add("dev/null", CHARACTER_DEVICE | 0o666, (1, 3), &[]);
    archive.add("init", REGULAR | 0o755, (0, 0), agent);
    archive.add(END, 0, (0, 0), &[]);
    archive.bytes
}

struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// An entry; `device` is its major and minor number where it is one.
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        let [owner, group, changed, disk_major, disk_minor, checksum] = [0u32; 6];
        let fields = [
            self.entries,
            mode,
            links,
            owner,
            group,
            changed,
            // The form has 32 bits; an agent is a few MiB.
            content.len() as u32,
            disk_major,
            disk_minor,
            device.0,
            device.1,
            name.len() as u32 + 1,
            checksum,
        ];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        fields.iter().for_each(|field| self.bytes.extend_from_slice(format!("{field:08x}").as_bytes()));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// Name, mode, device and content.
    type Entry = (String, u32, (u32, u32), Vec<u8>);

    fn read(mut bytes: &[u8]) -> Vec<Entry> {
        let mut found = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |number: usize| {
                let digits = std::str::from_utf8(&bytes[6 + number * 8..14 + number * 8]).unwrap();
                u32::from_str_radix(digits, 16).unwrap()
            };
            let (mode, size, name_bytes) = (field(1), field(6) as usize, field(11) as usize);
            let device = (field(9), field(10));
            let name = std::str::from_utf8(&bytes[110..110 + name_bytes - 1]).unwrap().to_owned();
            assert_eq!(bytes[110 + name_bytes - 1], 0);
            let content = (110 + name_bytes).next_multiple_of(4);
            let end = (content + size).next_multiple_of(4);
            if name == END {
                assert_eq!(bytes.len(), end);
                return found;
            }
            found.push((name, mode, device, bytes[content..content + size].to_vec()));
            bytes = &bytes[end..];
        }
    }

    #[test]
    fn the_agent_is_init_and_the_console_is_there() {
        for agent in [&b"agent"[..], b"", &[7; 4097]] {
            let all = read(&initramfs(agent));
            let find = |name: &str| all.iter().find(|entry| entry.0 == name).unwrap().clone();
            assert_eq!(find("init"), ("init".to_owned(), 0o100_755, (0, 0), agent.to_vec()));
            assert_eq!(find("dev/console").1, 0o020_600);
            assert_eq!((find("dev/console").2, find("dev/null").2), ((5, 1), (1, 3)));
            for folder in ["dev", "proc", "sys", "run", "box"] {
                assert_eq!(find(folder).1, 0o040_755);
            }
            let folder = all.iter().position(|entry| entry.0 == "dev");
            assert!(folder < all.iter().position(|entry| entry.0 == "dev/console"), "folders come first");
        }
        assert_eq!(initramfs(b"agent"), initramfs(b"agent"));
    }

    #[test]
    fn cpio_lists_it() {
        let child = Command::new("cpio")
            .args(["--list", "--verbose", "--numeric-uid-gid"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            println!("SKIPPED: cpio is not installed");
            return;
        };
        child.stdin.take().unwrap().write_all(&initramfs(&[7; 100_001])).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let listed = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
        let modes: Vec<(&str, &str)> = lines.iter().map(|line| (line[0], line[line.len() - 1])).collect();
        assert_eq!(modes.len(), 8, "{listed}");
        for (mode, name) in [
            ("-rwxr-xr-x", "init"),
            ("drwxr-xr-x", "box"),
            ("crw-------", "dev/console"),
            ("crw-rw-rw-", "dev/null"),
        ] {
            assert!(modes.contains(&(mode, name)), "{listed}");
        }
    }
}
