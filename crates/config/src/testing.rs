//! Made-up callers for the unit tests.

use std::path::Path;

use crate::Environment;

/// A caller in `cwd` with these variables, uid 1000 and no terminal.
pub(crate) fn environment(cwd: &Path, vars: &[(&str, &str)]) -> Environment {
    Environment {
        cwd: cwd.to_owned(),
        home: None,
        user: None,
        uid: 1000,
        vars: vars.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        interactive_stdin: false,
        interactive_stdout: false,
        interactive_stderr: false,
    }
}
