//! Which images sandboxes need, and what is said where one is gone.

use std::collections::BTreeSet;

use agentkernel_backend::Backend;
use agentkernel_model::{ImageId, ImageRef, SandboxName, SnapshotName};
use agentkernel_store::LockedRecord;

use crate::{Engine, EngineError};

impl Engine {
    /// The content that each sandbox, and each snapshot's source, was made from, of all backends. An error where a record can't be read: its image
    /// must not be taken for one that nobody needs.
    pub fn images_in_use(&self) -> Result<BTreeSet<ImageId>, EngineError> {
        let mut ids = BTreeSet::new();
        for (name, record) in self.inner.store.list()? {
            let record =
                record.map_err(|source| EngineError::ImagesUnknown { name: name.to_string(), source })?;
            ids.extend(record.spec.image_id);
        }
        for (name, record) in self.inner.store.snapshots().list()? {
            let record = record
                .map_err(|source| EngineError::ImagesOfSnapshotUnknown { name: name.to_string(), source })?;
            ids.extend(record.spec.image_id);
        }
        Ok(ids)
    }

    /// The sandboxes that were made from `id`.
    pub fn users_of_image(&self, id: &ImageId) -> Result<Vec<SandboxName>, EngineError> {
        let all = self.inner.store.list()?.into_iter();
        let users = all.filter(|(_, record)| {
            record.as_ref().is_ok_and(|record| record.spec.image_id.as_ref() == Some(id))
        });
        Ok(users.map(|(name, _)| name).collect())
    }

    /// The snapshots whose sources were made from `id`.
    pub fn snapshots_of_image(&self, id: &ImageId) -> Result<Vec<SnapshotName>, EngineError> {
        let all = self.inner.store.snapshots().list()?.into_iter();
        let users = all.filter(|(_, record)| {
            record.as_ref().is_ok_and(|record| record.spec.image_id.as_ref() == Some(id))
        });
        Ok(users.map(|(name, _)| name).collect())
    }

    /// The error of a failed start, told as what it is where the sandbox's image is gone.
    pub(crate) async fn image_gone(
        &self,
        error: EngineError,
        locked: &LockedRecord,
        backend: &dyn Backend,
    ) -> EngineError {
        let record = locked.record();
        let (Some(id), Some(images)) = (&record.spec.image_id, backend.images()) else { return error };
        let Ok(by_id) = id.as_str().parse::<ImageRef>() else { return error };
        match images.find(&by_id).await {
            Ok(None) => EngineError::ImageGone {
                sandbox: record.name.to_string(),
                image: record.spec.image.to_string(),
                short: id.short().to_owned(),
                backend: backend.name().to_string(),
                source: Box::new(error),
            },
            _ => error,
        }
    }
}
