//! Files of a sandbox.

use agentkernel_api::{DirectoryEntry, DirectoryRequest};
use hyper::body::Bytes;
use serde_json::Value;
use tokio::io::AsyncRead;

use crate::body::{full, reader};
use crate::call::{BYTES, Call, TAR};
use crate::path::{of_file, with_path};
use crate::{ByteStream, Error, SandboxHandle};

impl SandboxHandle {
    /// A file's bytes, all of them.
    pub async fn read_file(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.client().whole(Call::get(of_file(self.name(), path)?).accept(BYTES)).await
    }

    /// A file's bytes as they come.
    pub async fn read_file_stream(&self, path: &str) -> Result<ByteStream, Error> {
        self.client().stream(Call::get(of_file(self.name(), path)?).accept(BYTES)).await
    }

    /// Writes a file with permissions 0644, instead of one that is there.
    pub async fn write_file(&self, path: &str, content: impl Into<Bytes>) -> Result<(), Error> {
        let call = Call::put(of_file(self.name(), path)?).content(BYTES, full(content));
        self.client().data::<Value>(call).await.map(drop)
    }

    /// Writes a file of any size as its bytes come, with these permissions (`0o755`). The time limit of the client is
    /// for all of it: give a client for large files a larger one.
    pub async fn write_file_from(
        &self,
        path: &str,
        mode: u32,
        content: impl AsyncRead + Send + Unpin + 'static,
        length: Option<u64>,
    ) -> Result<(), Error> {
        let route = format!("{}?mode={mode:04o}", of_file(self.name(), path)?);
        self.client().data::<Value>(Call::put(route).content(BYTES, reader(content, length))).await.map(drop)
    }

    /// Removes a file; a folder with all in it where `recursive`.
    pub async fn delete_file(&self, path: &str, recursive: bool) -> Result<(), Error> {
        let query = if recursive { "?recursive=true" } else { "" };
        let route = format!("{}{query}", of_file(self.name(), path)?);
        self.client().data::<Value>(Call::delete(route)).await.map(drop)
    }

    /// What a path is; links are not followed.
    pub async fn stat(&self, path: &str) -> Result<DirectoryEntry, Error> {
        self.client().data(Call::get(with_path(self.name(), "stat", path)?)).await
    }

    /// What is in a folder.
    pub async fn list(&self, path: &str) -> Result<Vec<DirectoryEntry>, Error> {
        self.client().data(Call::get(with_path(self.name(), "list", path)?)).await
    }

    /// Makes a folder and its parents.
    pub async fn make_directory(&self, request: &DirectoryRequest) -> Result<(), Error> {
        self.client().data::<Value>(Call::post(self.route("/mkdir")).json(request)?).await.map(drop)
    }

    /// A file or folder as a tar archive, as it comes.
    pub async fn archive(&self, path: &str) -> Result<ByteStream, Error> {
        self.client().stream(Call::get(with_path(self.name(), "archive", path)?).accept(TAR)).await
    }

    /// Unpacks a tar archive into a folder. The time limit of the client is for all of it.
    pub async fn extract(
        &self,
        path: &str,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<(), Error> {
        let call = Call::put(with_path(self.name(), "archive", path)?).content(TAR, reader(archive, None));
        self.client().data::<Value>(call).await.map(drop)
    }
}
