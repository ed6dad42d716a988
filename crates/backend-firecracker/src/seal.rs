//! What tells whether a file that lies on the disk for long is still what was written. One that nobody has touched since is
//! believed; another, as in a state folder that was copied, is read and compared.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sparse;

/// A file as it was when it was whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seal {
    bytes: u64,
    device: u64,
    inode: u64,
    /// Of its last change, which nobody can set (inode(7), ctime).
    changed_s: i64,
    changed_ns: i64,
    /// Against accidents; who may write the file may write the seal.
    crc32: u32,
}

impl Seal {
    /// Of a file that nobody writes any more. Reads all of it that is no hole.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let crc32 = sparse::checksum(file)?;
        Ok(Self { crc32, ..Self::of_meta(&file.metadata()?) })
    }

    fn of_meta(meta: &std::fs::Metadata) -> Self {
        Self {
            bytes: meta.len(),
            device: meta.dev(),
            inode: meta.ino(),
            changed_s: meta.ctime(),
            changed_ns: meta.ctime_nsec(),
            crc32: 0,
        }
    }

    /// An error where the file at `path` is another.
    pub(crate) fn check(&self, path: &Path) -> io::Result<()> {
        let file = File::open(path).map_err(|error| sparse::at(path, error))?;
        let found = Self { crc32: self.crc32, ..Self::of_meta(&file.metadata()?) };
        let damaged = |how: &str| Err(io::Error::other(format!("{} is damaged: {how}", path.display())));
        if found.bytes != self.bytes {
            return damaged(&format!("it has {} bytes, not {}", found.bytes, self.bytes));
        }
        if found == *self || sparse::checksum(&file)? == self.crc32 {
            return Ok(());
        }
        damaged("it is not what was written")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn one_byte_is_noticed_and_another_place_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("a"), folder.path().join("b"));
        let mut content = vec![0; 3 << 20];
        content[5000] = 1;
        content[(2 << 20) + 7] = 2;
        std::fs::write(&path, &content).unwrap();
        let seal = Seal::of(&File::open(&path).unwrap()).unwrap();
        seal.check(&path).unwrap();
        // With holes where zeroes were, and in another place.
        sparse::punch_zeroes(&File::options().read(true).write(true).open(&path).unwrap()).unwrap();
        std::fs::copy(&path, &copy).unwrap();
        seal.check(&path).unwrap();
        seal.check(&copy).unwrap();
        for offset in [0, 5000, (2 << 20) + 7, (3 << 20) - 1] {
            let other = folder.path().join("other");
            std::fs::write(&other, &content).unwrap();
            let file = File::options().write(true).open(&other).unwrap();
            file.write_all_at(b"#", offset).unwrap();
            let error = seal.check(&other).unwrap_err().to_string();
            assert!(error.contains("other is damaged: it is not what was written"), "{offset} {error}");
        }
        File::options().write(true).open(&copy).unwrap().set_len(1000).unwrap();
        let error = seal.check(&copy).unwrap_err().to_string();
        assert!(error.contains("it has 1000 bytes, not 3145728"), "{error}");
        let error = seal.check(&folder.path().join("none")).unwrap_err();
        assert!(error.kind() == io::ErrorKind::NotFound && error.to_string().contains("none"), "{error}");
    }

    #[test]
    fn what_has_moved_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let block = |byte: u8| vec![byte; 4096];
        std::fs::write(&path, [block(1), block(0), block(2)].concat()).unwrap();
        let seal = Seal::of(&File::open(&path).unwrap()).unwrap();
        for other in [[block(0), block(1), block(2)], [block(2), block(0), block(1)]] {
            let moved = folder.path().join("b");
            std::fs::write(&moved, other.concat()).unwrap();
            assert!(seal.check(&moved).is_err());
        }
    }
}
