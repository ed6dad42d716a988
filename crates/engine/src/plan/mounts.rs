//! Which host folders a box sees, and that none of them gives agentkernel's own state away.

use std::path::{Path, PathBuf};

use agentkernel_config::{Environment, Settings};
use agentkernel_model::{Access, BoxPath, Mount};

use super::PlanError;

/// Where the caller's folder is shown.
pub(super) const WORKSPACE: &str = "/workspace";
/// Where the caller's home is shown.
pub(super) const HOME: &str = "/home/user";

/// The grants' mounts, the tool chains' and the user's, in the order they are mounted.
pub(super) fn mounts(
    settings: &Settings,
    environment: &Environment,
    toolchains: Vec<Mount>,
) -> Result<Vec<Mount>, PlanError> {
    let mut mounts = Vec::new();
    let named =
        |target: &str| settings.mounts.iter().any(|mount| mount.target.as_path() == Path::new(target));
    if settings.grants.mount_home {
        let source = environment.home.clone().ok_or(PlanError::NoHome)?;
        // A mount that the user puts at the same place is meant instead of the grant's.
        if !named(HOME) {
            mounts.push(Mount { source, target: BoxPath::new(HOME)?, access: Access::ReadOnly });
        }
    }
    if let Some(access) = settings.grants.mount_cwd
        && !named(WORKSPACE)
    {
        mounts.push(Mount { source: environment.cwd.clone(), target: BoxPath::new(WORKSPACE)?, access });
    }
    let is_named = |mount: &Mount| settings.mounts.iter().any(|other| other.target == mount.target);
    mounts.extend(toolchains.into_iter().filter(|mount| !is_named(mount)));
    mounts.extend(settings.mounts.iter().cloned());
    refuse_twice(&mounts)?;
    // Parents first, or they would hide what is mounted below them.
    mounts.sort_by_key(|mount| mount.target.as_path().components().count());
    let state = settled(&settings.state_dir);
    let mut planned = Vec::with_capacity(mounts.len());
    for mut mount in mounts {
        let source = environment.absolute(&mount.source);
        mount.source =
            source.canonicalize().map_err(|error| PlanError::MountSource { path: source, source: error })?;
        // Directly behind what it covers: a mount in between could change where the covered path leads, by a link that
        // the box has left.
        let cover = hide_state(&mount, &state)?;
        planned.push(mount);
        planned.extend(cover);
    }
    Ok(planned)
}

fn refuse_twice(mounts: &[Mount]) -> Result<(), PlanError> {
    let mut seen = std::collections::BTreeSet::new();
    match mounts.iter().find(|mount| !seen.insert(&mount.target)) {
        Some(twice) => Err(PlanError::MountTwice { target: twice.target.as_path().to_owned() }),
        None => Ok(()),
    }
}

/// Records hold secrets and decide what is mounted where: a box must neither read nor write them. Where a read-only
/// mount holds the state folder an empty folder is laid over it; a writable one is refused, since who can rename the
/// folders above could put a state folder of its own in its place.
fn hide_state(mount: &Mount, state: &Path) -> Result<Option<Mount>, PlanError> {
    let exposed = || PlanError::StateExposed { path: mount.source.clone(), state: state.to_owned() };
    if mount.source.starts_with(state) && mount.source != state.join(EMPTY) {
        return Err(exposed());
    }
    let Ok(inner) = state.strip_prefix(&mount.source) else { return Ok(None) };
    if mount.access == Access::ReadWrite {
        return Err(exposed());
    }
    let target = BoxPath::new(mount.target.as_path().join(inner))?;
    Ok(Some(Mount { source: state.join(EMPTY), target, access: Access::ReadOnly }))
}

/// The empty folder that the store keeps for this.
const EMPTY: &str = agentkernel_store::EMPTY_DIR;

/// `path` with the links of that part of it resolved that exists already.
fn settled(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            return match path.strip_prefix(ancestor) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            };
        }
    }
    path.to_owned()
}
