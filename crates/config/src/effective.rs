//! Every effective value with where it came from: what `doctor` shows.

use std::fmt;
use std::path::PathBuf;

use agentkernel_model::Profile;

/// Where a value came from, strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// An environment variable.
    Variable {
        /// Its name.
        name: &'static str,
    },
    /// A key of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the key.
        line: usize,
        /// Whether the user named the file; false for one that was found in the current folder.
        named: bool,
    },
    /// The profile's row of the table.
    Profile {
        /// The profile.
        profile: Profile,
    },
    /// Built in.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable { name } => write!(f, "environment {name}"),
            Self::File { path, line, .. } => write!(f, "{}:{line}", path.display()),
            Self::Profile { profile } => write!(f, "profile {profile}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The key as in the configuration file: `resources.memory_mb`.
    pub key: &'static str,
    /// The value for people; of environment variables only the names.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}
