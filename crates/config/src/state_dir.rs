//! Where sandboxes are kept.

use std::path::{Path, PathBuf};

use crate::source::Sourced;
use crate::variables::{STATE_DIR, lookup, refuse_unknown};
use crate::{ConfigError, Environment, Origin};

/// The folder of all sandboxes, absolute: `flag` (`--state-dir`), `AGENTKERNEL_STATE_DIR`, else `/var/lib/agentkernel`
/// for root and `agentkernel` in `XDG_DATA_HOME` or `~/.local/share` for everybody else. For commands that need no
/// other setting and must work beside a broken `agentkernel.toml`.
pub fn state_dir(environment: &Environment, flag: Option<&Path>) -> Result<PathBuf, ConfigError> {
    refuse_unknown(environment)?;
    Ok(find(environment, flag)?.value)
}

/// The same with its origin.
pub(crate) fn find(environment: &Environment, flag: Option<&Path>) -> Result<Sourced<PathBuf>, ConfigError> {
    let sourced = |path: PathBuf, origin| Sourced { value: environment.absolute(&path), origin };
    if let Some(path) = flag {
        return Ok(sourced(path.to_owned(), Origin::Flag));
    }
    if let Some(path) = lookup(environment, STATE_DIR) {
        return Ok(sourced(path.into(), Origin::Variable { name: STATE_DIR }));
    }
    if environment.uid == 0 {
        return Ok(sourced("/var/lib/agentkernel".into(), Origin::Default));
    }
    // A relative XDG_DATA_HOME is invalid and ignored (XDG Base Directory Specification, "Environment variables").
    let data = environment.var("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(data) = data {
        return Ok(sourced(data.join("agentkernel"), Origin::Variable { name: "XDG_DATA_HOME" }));
    }
    let home = environment.home.as_ref().ok_or_else(|| ConfigError::NoHome {
        what: "keeping sandboxes (or --state-dir and AGENTKERNEL_STATE_DIR for another place)".to_owned(),
    })?;
    Ok(sourced(home.join(".local/share/agentkernel"), Origin::Default))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::environment;

    fn found(uid: u32, home: Option<&str>, vars: &[(&str, &str)], flag: Option<&str>) -> Option<String> {
        let mut env = environment(Path::new("/work"), vars);
        env.uid = uid;
        env.home = home.map(PathBuf::from);
        state_dir(&env, flag.map(Path::new)).ok().map(|path| path.display().to_string())
    }

    #[test]
    fn each_source_beats_the_next() {
        let xdg = [("XDG_DATA_HOME", "/data")];
        let ours = [(STATE_DIR, "mine"), ("XDG_DATA_HOME", "/data")];
        assert_eq!(found(0, None, &xdg, None).as_deref(), Some("/var/lib/agentkernel"));
        assert_eq!(found(9, Some("/h"), &[], None).as_deref(), Some("/h/.local/share/agentkernel"));
        assert_eq!(found(9, Some("/h"), &xdg, None).as_deref(), Some("/data/agentkernel"));
        assert_eq!(
            found(9, Some("/h"), &[("XDG_DATA_HOME", "data")], None).as_deref(),
            Some("/h/.local/share/agentkernel")
        );
        assert_eq!(found(0, None, &ours, None).as_deref(), Some("/work/mine"));
        assert_eq!(found(0, None, &ours, Some("/flag")).as_deref(), Some("/flag"));
        assert_eq!(found(9, None, &[], None), None);
    }
}
