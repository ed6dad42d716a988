//! The environment that every command of a sandbox starts with.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use agentkernel_model::EnvVar;

/// Where commands are looked up unless the user says otherwise.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// By which a command finds out in which sandbox it runs.
pub(crate) const SANDBOX_VARIABLE: &str = "AGENTKERNEL_SANDBOX";

/// Its value where the sandbox has no name.
pub(crate) const UNNAMED_SANDBOX: &str = "run";

/// The host name of a sandbox without a name.
pub(crate) const UNNAMED_HOST: &str = "agentkernel";

/// The defaults; whatever tool chains bring and the user names comes over them. `tools` stand first in PATH.
pub(super) fn defaults(sandbox: &str, home: &str, tools: &[PathBuf]) -> Vec<EnvVar> {
    let mut path = Vec::new();
    for folder in tools {
        path.extend_from_slice(folder.as_os_str().as_bytes());
        path.push(b':');
    }
    path.extend_from_slice(PATH.as_bytes());
    [("PATH", path), ("HOME", home.into()), ("LANG", "C.UTF-8".into()), (SANDBOX_VARIABLE, sandbox.into())]
        .map(|(name, value)| EnvVar { name: name.into(), value: value.into() })
        .into()
}
