//! What remains of a box that was given away. It stays its maker's child, so its maker sees first that it has ended.

use std::path::Path;
use std::sync::Arc;

use crate::lease;
use crate::machine::Machine;

/// Where to look.
#[derive(Clone)]
pub(crate) struct Remains {
    state_dir: Arc<Path>,
    machine: Arc<Machine>,
}

impl Remains {
    pub(crate) fn new(state_dir: &Path, machine: &Arc<Machine>) -> Self {
        Self { state_dir: state_dir.into(), machine: Arc::clone(machine) }
    }

    /// To be called once box `id` has ended: removes what is left of it, unless an owner still holds its lease, who does
    /// it then, or recovery.
    pub(crate) fn of(&self, id: &str) -> impl FnOnce() + Send + 'static {
        let (Self { state_dir, machine }, id) = (self.clone(), id.to_owned());
        move || {
            let path = lease::folder(&state_dir).join(&id);
            if let Err(error) = lease::reclaim_one(&path, &mut |id| machine.remove_box(id)) {
                tracing::warn!(%error, id, "what remains of a box could not be removed; recovery will");
            }
        }
    }
}
