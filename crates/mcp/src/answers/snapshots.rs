//! Snapshots.

use agentkernel_api::Snapshot;
use serde::Serialize;
use utoipa::ToSchema;

/// Of `snapshot_list`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SnapshotList {
    /// All snapshots, by name.
    pub(crate) snapshots: Vec<Snapshot>,
}

impl SnapshotList {
    /// A line each.
    pub(crate) fn text(&self) -> String {
        if self.snapshots.is_empty() {
            return "There are no snapshots.".to_owned();
        }
        self.snapshots.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// One snapshot in one line.
pub(crate) fn line(snapshot: &Snapshot) -> String {
    let Snapshot { name, source, backend, image, bytes, created_at, .. } = snapshot;
    format!(
        "{name}: of sandbox {source} ({backend}, {image}) at {created_at}; {} MiB",
        bytes.div_ceil(1 << 20)
    )
}
