//! `/boot-source`.

use serde::Serialize;

/// What boots. Paths are relative to Firecracker's working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootSource {
    /// An uncompressed ELF kernel (x86_64) or an `Image` (aarch64).
    pub kernel_image_path: String,
    /// The initial memory file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd_path: Option<String>,
    /// The kernel's arguments; Firecracker adds those of its devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_args: Option<String>,
}
