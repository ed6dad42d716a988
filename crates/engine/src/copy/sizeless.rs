//! Files that don't tell their size: those of procfs say 0 and those of sysfs a page, and the content is made when it is
//! read. A tar stream begins with the size, so such a file is read whole first.

use std::os::unix::ffi::OsStrExt;

use agentkernel_backend::{FileInfo, FileKind, Guest, OutputStream};
use agentkernel_model::BoxPath;
use tokio::io::AsyncReadExt;

use super::CopyError;
use crate::EngineError;
use crate::pack::{Attributes, TarWriter};

/// More than any of them has. What claims to be empty and isn't must not fill our memory.
const MOST_BYTES: u64 = 16 << 20;

/// Where the kernel shows such files in every box.
const KERNEL_FOLDERS: [&str; 2] = ["/proc", "/sys"];

/// A tar stream of the one file at `path`; `None` where its size can be believed.
pub(super) async fn tar_of(guest: &dyn Guest, path: &BoxPath) -> Result<Option<OutputStream>, EngineError> {
    let info = guest.stat(path).await?;
    if info.kind != FileKind::File || (info.size > 0 && !is_the_kernels(path)) {
        return Ok(None);
    }
    let mut content = Vec::new();
    guest
        .read_file(path)
        .await?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut content)
        .await
        .map_err(|source| CopyError::SourceInside { path: path.to_string(), source })?;
    if content.len() as u64 > MOST_BYTES {
        return Err(CopyError::SourceEndless { path: path.to_string(), most_mib: MOST_BYTES >> 20 }.into());
    }
    let tar =
        tar(&info, &content).map_err(|source| CopyError::SourceInside { path: path.to_string(), source })?;
    Ok(Some(Box::new(std::io::Cursor::new(tar))))
}

/// Refuses a whole folder of them, which would come out as empty files.
pub(super) fn refuse_folder(path: &BoxPath) -> Result<(), CopyError> {
    match is_the_kernels(path) {
        true => Err(CopyError::SourceKernel { path: path.to_string() }),
        false => Ok(()),
    }
}

fn is_the_kernels(path: &BoxPath) -> bool {
    KERNEL_FOLDERS.iter().any(|folder| path.as_path().starts_with(folder))
}

fn tar(info: &FileInfo, content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tar = Vec::new();
    let mut writer = TarWriter::new(&mut tar);
    let attributes = Attributes { mode: info.mode, modified: info.modified };
    let name = info.name.as_os_str().as_bytes();
    writer.file(name, attributes, content.len() as u64, &mut &*content)?;
    writer.finish()?;
    Ok(tar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_has_the_content_and_not_the_size_that_was_told() {
        let info = FileInfo {
            name: "version".into(),
            kind: FileKind::File,
            size: 0,
            mode: 0o444,
            uid: 0,
            gid: 0,
            modified: 5,
        };
        let bytes = tar(&info, b"Linux\n").unwrap();
        let mut archive = ::tar::Archive::new(&bytes[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!((entry.path().unwrap().to_str(), entry.size()), (Some("version"), 6));
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        assert_eq!(text, "Linux\n");
    }

    #[test]
    fn folders_of_the_kernel_are_refused_and_others_are_not() {
        for (path, refused) in
            [("/proc", true), ("/proc/sys", true), ("/sys/fs", true), ("/process", false), ("/", false)]
        {
            assert_eq!(refuse_folder(&path.parse().unwrap()).is_err(), refused, "{path}");
        }
    }
}
