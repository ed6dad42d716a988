//! Files inside a sandbox.

use agentkernel_api::Encoding;
use agentkernel_model::{BoxPath, SandboxName};
use serde::Deserialize;
use utoipa::ToSchema;

/// Of `sandbox_file_write`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileWriteArguments {
    /// The sandbox; it must be running.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
    /// The file; absolute, inside. Its folder must be there. A file that is there is replaced.
    #[schema(value_type = String)]
    pub(crate) path: BoxPath,
    /// What is written, as encoding says.
    pub(crate) content: String,
    /// How content is written: utf8 (default) or base64.
    #[serde(default)]
    #[schema(inline, value_type = Option<Encoding>)]
    pub(crate) encoding: Encoding,
    /// Permissions in octal, such as 0755. Default 0644.
    pub(crate) mode: Option<String>,
}

/// Of `sandbox_file_read`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileReadArguments {
    /// The sandbox; it must be running.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
    /// The file; absolute, inside.
    #[schema(value_type = String)]
    pub(crate) path: BoxPath,
    /// How the content is returned. By default utf8 where it is text, else base64.
    #[schema(inline)]
    pub(crate) encoding: Option<Encoding>,
    /// The first byte to return. Default 0.
    #[serde(default)]
    #[schema(default = 0)]
    pub(crate) offset: u64,
    /// The most bytes to return, up to 1048576. Default 100000; next_offset in the answer says where to go on.
    #[serde(default = "default_limit")]
    #[schema(minimum = 1, default = 100000)]
    pub(crate) limit: u64,
}

/// Of `sandbox_file_list`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileListArguments {
    /// The sandbox; it must be running.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
    /// The folder; absolute, inside.
    #[schema(value_type = String)]
    pub(crate) path: BoxPath,
}

fn default_limit() -> u64 {
    100_000
}
