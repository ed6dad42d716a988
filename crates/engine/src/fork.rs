//! Forks: a running sandbox copied into several, which go on from where it was.

use std::sync::Arc;

use agentkernel_backend::{Backend, Lifetime};
use agentkernel_model::{Action, Phase, SandboxName, SandboxSpec};
use agentkernel_store::{LockedRecord, StoreError, TemporaryFolder};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::engine::blocking;
use crate::pausing::snapshots_of;
use crate::snapshots::spec_of_copy;
use crate::{Engine, EngineError, SandboxView};

/// The most children of one fork.
pub const MAX_FORKS: u32 = 100;

/// How many children are started at the same time.
const AT_ONCE: usize = 8;

impl Engine {
    /// Copies a running or paused sandbox `count` times; it goes on as before, and its children run. One child is called
    /// `child`, several `child-1`, `child-2`, ... with the first numbers that are free; without `child` all of them are
    /// called as the sandbox with such numbers. On failure there is none of them.
    pub async fn fork(
        &self,
        name: &SandboxName,
        count: u32,
        child: Option<&SandboxName>,
    ) -> Result<Vec<SandboxView>, EngineError> {
        if count == 0 || count > MAX_FORKS {
            return Err(EngineError::ForkCount { count, most: MAX_FORKS });
        }
        let mut locked = self.lock(name).await?;
        let spec = spec_of_copy(&locked.record().spec, name, name);
        let backend = self.refuse(&spec, Lifetime::Persistent)?;
        let snapshots = snapshots_of(&*backend)?;
        let next = self.before_standstill(&mut locked, &*backend, Action::Copy).await?;
        // Their names first: nothing is copied in vain.
        let children = self.begin_children(name, &spec, count, child, &*backend).await?;
        let taken = async {
            let folder = self.inner.store.snapshots().temporary()?;
            match self.copy_out(&mut locked, snapshots, next, &folder.content()).await {
                Ok(()) => Ok(folder),
                Err(error) => {
                    discard(folder).await;
                    Err(error)
                }
            }
        };
        let folder = match taken.await {
            Ok(folder) => folder,
            Err(error) => {
                self.unmake_all(children, &*backend).await;
                return Err(error);
            }
        };
        drop(locked);
        let born = self.start_children(children, &backend, folder.content()).await;
        discard(folder).await;
        born
    }

    /// Records of all children, which nobody else can name so any more; all or none.
    async fn begin_children(
        &self,
        source: &SandboxName,
        spec: &SandboxSpec,
        count: u32,
        child: Option<&SandboxName>,
        backend: &dyn Backend,
    ) -> Result<Vec<LockedRecord>, EngineError> {
        if let (1, Some(child)) = (count, child) {
            return Ok(vec![self.begin_copy(child, spec_of_copy(spec, source, child))?]);
        }
        let stem = child.unwrap_or(source);
        let mut children = Vec::new();
        let mut number = 1_u32;
        while children.len() < count as usize {
            let begun = format!("{stem}-{number}").parse::<SandboxName>().map_err(EngineError::from);
            number += 1;
            match begun.and_then(|name| self.begin_copy(&name, spec_of_copy(spec, source, &name))) {
                Ok(child) => children.push(child),
                Err(EngineError::Store(StoreError::AlreadyExists { .. })) => {}
                Err(error) => {
                    self.unmake_all(children, backend).await;
                    return Err(error);
                }
            }
        }
        Ok(children)
    }

    async fn start_children(
        &self,
        children: Vec<LockedRecord>,
        backend: &Arc<dyn Backend>,
        folder: std::path::PathBuf,
    ) -> Result<Vec<SandboxView>, EngineError> {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut starts = JoinSet::new();
        for child in children {
            let (engine, backend) = (self.clone(), Arc::clone(backend));
            let (folder, room) = (folder.clone(), Arc::clone(&room));
            starts.spawn(async move {
                match room.acquire().await {
                    Ok(_place) => engine.restore_into(child, &*backend, &folder).await.map(Some),
                    // Another's start has failed: there will be none of them.
                    Err(_) => {
                        engine.unmake(child, &*backend).await;
                        Ok(None)
                    }
                }
            });
        }
        let (mut started, mut failure) = (Vec::new(), None);
        while let Some(ended) = starts.join_next().await {
            match ended.map_err(|source| EngineError::Worker { source }).flatten() {
                Ok(child) => started.extend(child),
                Err(error) => {
                    // Those that wait for their turn needn't start.
                    room.close();
                    failure.get_or_insert(error);
                }
            }
        }
        if failure.is_none() {
            failure = started.iter_mut().find_map(|child| {
                child.update(|record| record.phase = Phase::Running).map_err(EngineError::from).err()
            });
        }
        if let Some(error) = failure {
            self.unmake_all(started, &**backend).await;
            return Err(error);
        }
        let mut views: Vec<SandboxView> =
            started.iter().map(|child| SandboxView::of(child.record().clone())).collect();
        views.sort_by_key(|view| number_of(&view.name));
        Ok(views)
    }

    async fn unmake_all(&self, children: Vec<LockedRecord>, backend: &dyn Backend) {
        for child in children {
            self.unmake(child, backend).await;
        }
    }
}

/// Children come in the order of their numbers: 2 before 10.
fn number_of(name: &SandboxName) -> (u64, SandboxName) {
    let number = name.as_str().rsplit_once('-').and_then(|(_, digits)| digits.parse().ok());
    (number.unwrap_or(0), name.clone())
}

/// What can't be removed now is for recovery.
async fn discard(folder: TemporaryFolder) {
    match blocking(move || folder.discard()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "what a fork was copied from is left to the next command"),
        Err(error) => tracing::debug!(%error, "what a fork was copied from is left to the next command"),
    }
}
