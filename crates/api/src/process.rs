//! The processes of a sandbox.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProcessInfo {
    /// Inside.
    pub pid: u32,
    /// Inside.
    pub parent: u32,
    /// The user id inside.
    pub uid: u32,
    /// The state letter of proc(5): `R`, `S`, `D`, `Z`, `T`, ...
    pub state: String,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Processor time used.
    pub cpu_ms: u64,
    /// The arguments, or the name in brackets where there are none; what is not UTF-8 is replaced by U+FFFD.
    pub command: String,
}
