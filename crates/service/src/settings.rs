//! What a service is made from.

use std::path::PathBuf;

use agentkernel_config::Environment;
use agentkernel_image::ImageStore;

use crate::Limits;

/// What a service is made from.
#[derive(Clone)]
pub struct ServiceSettings {
    /// The server's own process. Its working directory is not used: a request has none, and an `agentkernel.toml` that
    /// lies where the server happened to be started decides nothing.
    pub environment: Environment,
    /// The configuration file that was named for the server (or by `AGENTKERNEL_CONFIG`).
    pub config: Option<PathBuf>,
    /// How much it takes on.
    pub limits: Limits,
    /// The program's version.
    pub version: &'static str,
    /// Where sandboxes are kept; absolute.
    pub state_dir: PathBuf,
    /// Our own store of images; `None` where no backend uses it.
    pub images: Option<ImageStore>,
}
