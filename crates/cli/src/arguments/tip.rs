//! What to do about an argument that no flag of ours is. The parser's own advice, "pass it as a value", helps nobody: a
//! name never begins with a dash, and a command hardly ever.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Where a command follows our flags.
const BEFORE_A_COMMAND: &str = "agentkernel's own flags come before the command and the command's flags after it; a \
                                command whose name begins with '-' comes after '--'";

/// Puts better advice into `error`, which is about the command line `line`.
pub(super) fn advise(mut error: Error, line: &[std::ffi::OsString]) -> Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    // A flag that was nearly right is a suggestion of another kind, and stays.
    let advised = error.remove(ContextKind::Suggested).is_some();
    let runs_a_command = line.iter().any(|word| word == "run" || word == "exec");
    if advised && runs_a_command && error.get(ContextKind::SuggestedArg).is_none() {
        let tip = ContextValue::StyledStrs(vec![BEFORE_A_COMMAND.into()]);
        error.insert(ContextKind::Suggested, tip);
    }
    error
}
