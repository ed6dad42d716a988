//! Files in and out of running sandboxes. Paths are absolute inside; that they can't leave the box is the agent's part.

use agentkernel_api::{self as api, Encoding, ErrorCode, EventKind};
use agentkernel_backend::OutputStream;
use agentkernel_model::BoxPath;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt;
use tracing::Instrument as _;

use crate::policy::entry;
use crate::pump::box_error;
use crate::request::{box_path, decode, mode};
use crate::{AuditEntry, Caller, Scope, Service, ServiceError, Verdict, view};

/// A file or folder that something is done with.
struct Touched<'a> {
    caller: &'a Caller,
    action: &'static str,
    sandbox: &'a str,
    path: &'a BoxPath,
}

impl Service {
    /// A file's content, as it comes.
    pub async fn read_file(
        &self,
        caller: &Caller,
        sandbox: &str,
        path: &str,
    ) -> Result<OutputStream, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "read_file")?;
        let path = box_path("path", path)?;
        let touched = Touched { caller, action: "read_file", sandbox, path: &path };
        let read = async {
            let inside = self.inner.inside(sandbox).await?;
            inside.guest.read_file(&path).await.map_err(ServiceError::inside)
        };
        self.touch(&touched, read, |_| None).await
    }

    /// A file's content whole: as text where it is text, else as base64. One that is larger than the server puts into
    /// JSON is [`ErrorCode::TooLarge`].
    pub async fn read_content(
        &self,
        caller: &Caller,
        sandbox: &str,
        path: &str,
    ) -> Result<api::FileContent, ServiceError> {
        let limit = self.limits().max_file_bytes_in_json;
        let stream = self.read_file(caller, sandbox, path).await?;
        let mut bytes = Vec::new();
        let read = stream.take(limit.saturating_add(1)).read_to_end(&mut bytes).await;
        read.map_err(|error| ServiceError::inside(box_error(error)))?;
        let size = bytes.len() as u64;
        if size > limit {
            let message =
                format!("{path} has more than {limit} bytes; ask for it as application/octet-stream");
            return Err(ServiceError::new(ErrorCode::TooLarge, message));
        }
        Ok(match String::from_utf8(bytes) {
            Ok(content) => api::FileContent { content, encoding: Encoding::Utf8, size },
            Err(error) => {
                let content = STANDARD.encode(error.as_bytes());
                api::FileContent { content, encoding: Encoding::Base64, size }
            }
        })
    }

    /// Writes a file whole or, on failure, not at all; makes the folders that it lies in. `mode`: permissions in octal.
    /// Returns how many bytes were written.
    pub async fn write_file(
        &self,
        caller: &Caller,
        sandbox: &str,
        path: &str,
        permissions: Option<&str>,
        content: OutputStream,
    ) -> Result<u64, ServiceError> {
        self.inner.authorize(caller, Scope::Run, "write_file")?;
        let path = box_path("path", path)?;
        let permissions = permissions.map(|text| mode("mode", text)).transpose()?;
        let touched = Touched { caller, action: "write_file", sandbox, path: &path };
        let write = async {
            let inside = self.inner.inside(sandbox).await?;
            if let Some(parent) = path.as_path().parent().and_then(|parent| BoxPath::new(parent).ok()) {
                inside.guest.make_dir(&parent, None).await.map_err(ServiceError::inside)?;
            }
            inside.guest.write_file(&path, permissions, content).await.map_err(ServiceError::inside)
        };
        let written = self.touch(&touched, write, |written| Some(*written)).await?;
        self.inner.events.emit(EventKind::FileWritten, Some(sandbox), [("path", path.to_string())]);
        Ok(written)
    }

    /// The same with content out of JSON.
    pub async fn write_content(
        &self,
        caller: &Caller,
        sandbox: &str,
        path: &str,
        request: api::WriteRequest,
    ) -> Result<u64, ServiceError> {
        let content = decode("content", request.content, request.encoding)?;
        let limit = self.limits().max_file_bytes_in_json;
        if content.len() as u64 > limit {
            let message = format!("content: more than {limit} bytes; send it as application/octet-stream");
            return Err(ServiceError::new(ErrorCode::TooLarge, message));
        }
        let stream = Box::new(std::io::Cursor::new(content));
        self.write_file(caller, sandbox, path, request.mode.as_deref(), stream).await
    }

    /// Removes a file, or a folder with all in it where `recursive`.
    pub async fn remove_file(
        &self,
        caller: &Caller,
        sandbox: &str,
        path: &str,
        recursive: bool,
    ) -> Result<(), ServiceError> {
        self.inner.authorize(caller, Scope::Run, "remove_file")?;
        let path = box_path("path", path)?;
        let touched = Touched { caller, action: "remove_file", sandbox, path: &path };
        let remove = async {
            let inside = self.inner.inside(sandbox).await?;
            inside.guest.remove_file(&path, recursive).await.map_err(ServiceError::inside)
        };
        self.touch(&touched, remove, |()| None).await?;
        self.inner.events.emit(EventKind::FileRemoved, Some(sandbox), [("path", path.to_string())]);
        Ok(())
    }

    /// One file or folder; links are not followed.
    pub async fn stat(
        &self,
        caller: &Caller,
        sandbox: &str,
        path: &str,
    ) -> Result<api::DirectoryEntry, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "stat")?;
        let path = box_path("path", path)?;
        let inside = self.inner.inside(sandbox).await?;
        let info = inside.guest.stat(&path).await.map_err(ServiceError::inside)?;
        Ok(view::entry(&info))
    }

    /// The entries of a folder, by name.
    pub async fn list_dir(
        &self,
        caller: &Caller,
        sandbox: &str,
        path: &str,
    ) -> Result<Vec<api::DirectoryEntry>, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "list_dir")?;
        let path = box_path("path", path)?;
        let inside = self.inner.inside(sandbox).await?;
        let entries = inside.guest.list(&path).await.map_err(ServiceError::inside)?;
        Ok(entries.iter().map(view::entry).collect())
    }

    /// Makes a folder and its parents; fine if it is there.
    pub async fn make_dir(
        &self,
        caller: &Caller,
        sandbox: &str,
        request: api::DirectoryRequest,
    ) -> Result<(), ServiceError> {
        self.inner.authorize(caller, Scope::Run, "make_dir")?;
        let path = box_path("path", &request.path)?;
        let permissions = request.mode.as_deref().map(|text| mode("mode", text)).transpose()?;
        let touched = Touched { caller, action: "make_dir", sandbox, path: &path };
        let make = async {
            let inside = self.inner.inside(sandbox).await?;
            inside.guest.make_dir(&path, permissions).await.map_err(ServiceError::inside)
        };
        self.touch(&touched, make, |()| None).await
    }

    /// A tar stream of a file or folder; its entries are named from the path's last component on.
    pub async fn tar_out(
        &self,
        caller: &Caller,
        sandbox: &str,
        path: &str,
    ) -> Result<OutputStream, ServiceError> {
        self.inner.authorize(caller, Scope::Read, "tar_out")?;
        let path = box_path("path", path)?;
        let touched = Touched { caller, action: "tar_out", sandbox, path: &path };
        let pack = async {
            let inside = self.inner.inside(sandbox).await?;
            inside.guest.tar_out(&path).await.map_err(ServiceError::inside)
        };
        self.touch(&touched, pack, |_| None).await
    }

    /// Unpacks a tar stream into a folder, which is made where it is missing.
    pub async fn tar_in(
        &self,
        caller: &Caller,
        sandbox: &str,
        path: &str,
        content: OutputStream,
    ) -> Result<(), ServiceError> {
        self.inner.authorize(caller, Scope::Run, "tar_in")?;
        let path = box_path("path", path)?;
        let touched = Touched { caller, action: "tar_in", sandbox, path: &path };
        let unpack = async {
            let inside = self.inner.inside(sandbox).await?;
            inside.guest.tar_in(&path, content).await.map_err(ServiceError::inside)
        };
        self.touch(&touched, unpack, |()| None).await?;
        self.inner.events.emit(EventKind::FileWritten, Some(sandbox), [("path", path.to_string())]);
        Ok(())
    }

    /// Does it and writes it down.
    async fn touch<T>(
        &self,
        touched: &Touched<'_>,
        work: impl Future<Output = Result<T, ServiceError>>,
        bytes: impl Fn(&T) -> Option<u64>,
    ) -> Result<T, ServiceError> {
        let Touched { caller, action, sandbox, path } = touched;
        let span = tracing::info_span!("file", action, sandbox);
        let result = work.instrument(span).await;
        self.inner.audit.record(AuditEntry {
            sandbox: Some((*sandbox).to_owned()),
            path: Some(path.as_path().to_owned()),
            bytes: result.as_ref().ok().and_then(bytes),
            verdict: if result.is_ok() { Verdict::Allowed } else { Verdict::Failed },
            why: result.as_ref().err().map(|error| error.message.clone()),
            ..entry(caller, action)
        });
        result
    }
}
