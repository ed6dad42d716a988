//! Tar streams and archives of images, made byte by byte: right ones and wrong ones.

use std::io::Write;
use std::path::Path;

use agentkernel_image::Digest;

pub(crate) const BLOCK: usize = 512;

/// A header under construction; every field can lie.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) block: [u8; BLOCK],
}

impl Raw {
    pub(crate) fn new(kind: u8, path: &[u8], size: u64) -> Self {
        let mut raw = Self { block: [0; BLOCK] };
        raw.put(0, path);
        raw.put(100, b"0000644\0");
        raw.put(108, b"0000000\0");
        raw.put(116, b"0000000\0");
        raw.put(124, format!("{size:011o}\0").as_bytes());
        raw.put(136, b"00000000001\0");
        raw.block[156] = kind;
        raw.put(257, b"ustar\x0000");
        raw
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn link(mut self, target: &[u8]) -> Self {
        self.put(157, target);
        self
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.put(100, format!("{mode:07o}\0").as_bytes());
        self
    }

    pub(crate) fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.put(108, format!("{uid:07o}\0").as_bytes());
        self.put(116, format!("{gid:07o}\0").as_bytes());
        self
    }

    pub(crate) fn sealed(mut self) -> [u8; BLOCK] {
        self.put(148, b"        ");
        let sum: u32 = self.block.iter().map(|byte| u32::from(*byte)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self.block
    }
}

/// A stream of entries.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    pub(crate) fn raw(mut self, header: Raw, content: &[u8]) -> Self {
        self.bytes.extend_from_slice(&header.sealed());
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.raw(Raw::new(b'0', path.as_bytes(), content.len() as u64), content)
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.raw(Raw::new(b'5', path.as_bytes(), 0).mode(0o755), b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(Raw::new(b'2', path.as_bytes(), 0).link(target.as_bytes()), b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.raw(Raw::new(b'1', path.as_bytes(), 0).link(target.as_bytes()), b"")
    }

    /// An extra header: `x` and `g` take records, `L` and `K` a name.
    pub(crate) fn extra(self, kind: u8, content: &[u8]) -> Self {
        self.raw(Raw::new(kind, b"extra", content.len() as u64), content)
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let content: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
        self.extra(b'x', &content)
    }

    /// The end mark.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 2 * BLOCK]);
        self.bytes
    }

    /// Without it.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.bytes
    }
}

pub(crate) fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    // The length counts its own digits.
    let length =
        (1..8).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

/// A configuration for layers whose uncompressed streams are these.
pub(crate) fn config(layers: &[Vec<u8>], process: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", Digest::of(layer))).collect();
    format!(
        r#"{{"architecture":"amd64","os":"linux","config":{process},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    )
    .into_bytes()
}

/// What `docker save` before version 25 writes.
pub(crate) fn docker_archive(name: &str, layers: &[Vec<u8>], process: &str) -> Vec<u8> {
    let config = config(layers, process);
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let mut tar = Tar::default();
    let mut names = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let folder = format!("{number:064}");
        tar = tar.dir(&format!("{folder}/")).file(&format!("{folder}/layer.tar"), layer);
        names.push(format!("\"{folder}/layer.tar\""));
    }
    let manifest =
        format!(r#"[{{"Config":"{config_name}","RepoTags":["{name}"],"Layers":[{}]}}]"#, names.join(","));
    tar.file(&config_name, &config).file("manifest.json", manifest.as_bytes()).end()
}

/// The blobs and index of an OCI layout whose layers are gzipped.
pub(crate) fn oci_members(name: &str, layers: &[Vec<u8>], process: &str) -> Vec<(String, Vec<u8>)> {
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let config = config(layers, process);
    let mut members = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut descriptors = Vec::new();
    for layer in layers {
        let blob = gzip(layer);
        descriptors.push(format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":{}}}"#,
            Digest::of(&blob),
            blob.len()
        ));
        members.push((path(&blob), blob));
    }
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{}]}}"#,
        Digest::of(&config),
        config.len(),
        descriptors.join(",")
    )
    .into_bytes();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}}]}}"#,
        Digest::of(&manifest),
        manifest.len()
    );
    members.push((path(&config), config));
    members.push((path(&manifest), manifest));
    members.push(("index.json".to_owned(), index.into_bytes()));
    members
}

pub(crate) fn write_members(folder: &Path, members: &[(String, Vec<u8>)]) {
    for (name, bytes) in members {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

pub(crate) fn tar_members(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    members.iter().fold(Tar::default(), |tar, (name, bytes)| tar.file(name, bytes)).end()
}
