//! Images made by the tests themselves: `docker save` archives around one static program of this machine.

use std::path::{Path, PathBuf};

use agentkernel_image::Digest;
use serde_json::{Value, json};

/// What the program is called by, inside.
const APPLETS: [&str; 20] = [
    "sh", "cat", "echo", "env", "id", "ls", "pwd", "printf", "sleep", "true", "false", "touch", "mkdir",
    "rm", "kill", "ps", "head", "wc", "test", "hostname",
];

/// A layer's tar stream.
pub(crate) struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn entry(mut self, path: &str, kind: tar::EntryType, mode: u32, owner: u64, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_size(content.len() as u64);
        header.set_path(path).unwrap();
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn folder(self, path: &str, mode: u32, owner: u64) -> Self {
        self.entry(path, tar::EntryType::Directory, mode, owner, b"")
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, tar::EntryType::Regular, 0o644, 0, content)
    }

    pub(crate) fn program(self, path: &str, content: &[u8]) -> Self {
        self.entry(path, tar::EntryType::Regular, 0o755, 0, content)
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        self.0.append_link(&mut header, path, target).unwrap();
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// An image to be: layers, and what it says of commands.
pub(crate) struct Archive {
    layers: Vec<Vec<u8>>,
    config: Value,
}

impl Archive {
    /// A small system: a shell and its programs, users `root`, `user` (1000) and `nobody`. `None`, said aloud, where this
    /// machine has no static busybox.
    pub(crate) fn small_system(test: &str) -> Option<Self> {
        let program =
            ["/usr/bin/busybox", "/bin/busybox"].map(Path::new).into_iter().find(|path| path.is_file());
        let content = program.and_then(|path| std::fs::read(path).ok());
        let content = content.filter(|bytes| !needs_loader(bytes));
        let Some(content) = content else {
            println!("SKIPPED: {test}: no static busybox on this machine; install busybox-static");
            return None;
        };
        let mut layer = Layer::new().folder("bin", 0o755, 0).program("bin/busybox", &content);
        for applet in APPLETS {
            layer = layer.link(&format!("bin/{applet}"), "busybox");
        }
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n\
                       nobody:x:65534:65534::/:/bin/false\n";
        let layer = layer
            .folder("etc", 0o755, 0)
            .file("etc/passwd", passwd)
            .file("etc/group", b"root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n")
            .folder("home", 0o755, 0)
            .folder("home/user", 0o755, 1000)
            .folder("root", 0o700, 0)
            .folder("tmp", 0o1777, 0);
        let config = json!({ "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"] });
        Some(Self { layers: vec![layer.bytes()], config })
    }

    /// With another layer on top.
    pub(crate) fn with(mut self, layer: Layer) -> Self {
        self.layers.push(layer.bytes());
        self
    }

    /// With a key of the image's `config`.
    pub(crate) fn saying(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// Written to `folder` as `docker save` does it.
    pub(crate) fn save(&self, folder: &Path, name: &str) -> PathBuf {
        let digests: Vec<String> = self.layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture, "os": "linux", "created": "2026-01-02T03:04:05Z", "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": digests },
        });
        let mut tar = Layer::new();
        let mut members = Vec::new();
        for (n, layer) in self.layers.iter().enumerate() {
            members.push(format!("{n}.tar"));
            tar = tar.file(&members[n], layer);
        }
        let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": members }]);
        let tar = tar.file("config.json", config.to_string().as_bytes());
        let tar = tar.file("manifest.json", manifest.to_string().as_bytes());
        let path = folder.join(format!("{}.tar", name.replace(['/', ':'], "-")));
        std::fs::write(&path, tar.bytes()).unwrap();
        path
    }

    /// The lowest layer alone: the tar of a root folder.
    pub(crate) fn root_folder(&self, folder: &Path) -> PathBuf {
        let path = folder.join("root-folder.tar");
        std::fs::write(&path, &self.layers[0]).unwrap();
        path
    }
}

/// Whether a 64-bit ELF file names an interpreter (elf(5), PT_INTERP).
fn needs_loader(program: &[u8]) -> bool {
    let number = |at: usize, bytes: usize| {
        let field = program.get(at..at + bytes)?;
        Some(field.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)) as usize)
    };
    let headers = |n| Some(number(32, 8)? + n * number(54, 2)?);
    let count = number(56, 2).unwrap_or(0);
    (0..count).any(|n| headers(n).and_then(|at| number(at, 4)) == Some(3))
}
