//! The settings of agentkernel: `agentkernel.toml`, `AGENTKERNEL_...` variables and flags merged into one checked
//! [`Settings`], each value with its origin. [`Environment`] is the only reader of the caller's environment. Prints
//! nothing.

mod api;
mod building;
mod effective;
mod environment;
mod error;
mod file;
mod grants;
mod host_path;
mod ledger;
mod lists;
mod load;
mod location;
mod microvm;
mod names;
mod outside;
mod overrides;
mod parse;
mod pass_env;
mod pool;
mod reference;
mod refused;
mod schema;
mod settings;
mod source;
mod state_dir;
mod suggestion;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod variables;

pub use api::{ApiFlags, ApiLimits, ApiSettings, AuditChoice, Secret, TlsFiles};
pub use building::{BuildFlag, BuildSettings};
pub use effective::{Effective, Origin};
pub use environment::{Environment, EnvironmentError};
pub use error::ConfigError;
pub use file::AuditArguments;
pub use load::load;
pub use location::Location;
pub use microvm::MicrovmSettings;
pub use names::{AgentName, Runtime, UnknownName, Vmm};
pub use outside::{EngineAccess, ImageSettings, Outside, Proxies};
pub use overrides::{CwdMount, CwdMountError, EnvFlag, EnvFlagError, Overrides};
pub use parse::{FileConfig, parse};
pub use pass_env::{HOST_SESSION_VARIABLES, passed_variables};
pub use pool::{PoolChoice, PoolTemplate};
pub use reference::reference_markdown;
pub use schema::json_schema;
pub use settings::{FileEntry, Settings};
pub use state_dir::state_dir;
pub use variables::log_filter;
