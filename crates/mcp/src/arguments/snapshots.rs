//! Snapshots and forks.

use agentkernel_model::{SandboxName, SnapshotName};
use serde::Deserialize;
use utoipa::ToSchema;

/// Of `sandbox_fork`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForkArguments {
    /// The sandbox.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
    /// Name of the copy, or beginning of several.
    #[schema(value_type = Option<String>)]
    pub(crate) as_name: Option<SandboxName>,
    /// How many; default 1.
    pub(crate) count: Option<u32>,
}

/// Of `snapshot_take`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TakeArguments {
    /// The sandbox.
    #[schema(value_type = String)]
    pub(crate) sandbox: SandboxName,
    /// The snapshot's name.
    #[schema(value_type = Option<String>)]
    pub(crate) name: Option<SnapshotName>,
}

/// Of `snapshot_restore`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreArguments {
    /// The snapshot.
    #[schema(value_type = String)]
    pub(crate) name: SnapshotName,
    /// The new sandbox's name.
    #[schema(value_type = Option<String>)]
    pub(crate) as_name: Option<SandboxName>,
}

/// Of `snapshot_get` and `snapshot_delete`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotNameArguments {
    /// The snapshot.
    #[schema(value_type = String)]
    pub(crate) name: SnapshotName,
}
