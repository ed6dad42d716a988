//! What a sandbox is planned from.

use agentkernel_backend::{Backend, Lifetime};
use agentkernel_config::{Environment, Settings};
use agentkernel_model::{ByteString, ImageId, PullProgress, SandboxSpec};

/// Everything that decides what a sandbox will be.
pub struct PlanRequest<'a> {
    /// What the user wants.
    pub settings: &'a Settings,
    /// Where the user stands.
    pub environment: &'a Environment,
    /// Who makes it.
    pub backend: &'a dyn Backend,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// What `run` is given; `None` for a sandbox without a command of its own.
    pub command: Option<RunCommand<'a>>,
    /// Who is told of a pull or a build.
    pub progress: &'a dyn PullProgress,
}

/// The words of a `run`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunCommand<'a> {
    /// Instead of the image's entrypoint; an empty one is none at all.
    pub entrypoint: Option<&'a [ByteString]>,
    /// The command; where it is empty the image's own is meant.
    pub words: &'a [ByteString],
}

impl RunCommand<'_> {
    /// The program as far as the user names it.
    pub(super) fn program(&self) -> Option<&ByteString> {
        self.entrypoint.and_then(<[ByteString]>::first).or_else(|| self.words.first())
    }
}

/// A sandbox as it will be asked for, and why it is like that.
#[derive(Debug, Clone)]
pub struct PlannedSandbox {
    /// For [`crate::Engine::run`] and [`crate::Engine::create`].
    pub spec: SandboxSpec,
    /// The program and arguments of a `run`, the image's entrypoint included; empty without a command.
    pub argv: Vec<ByteString>,
    /// The image, and why it is that one.
    pub image: ImageChoice,
    /// Choices that the user didn't make, one line each, for `--verbose`.
    pub notes: Vec<String>,
}

/// An image that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ImageChoice {
    /// Its name.
    pub name: String,
    /// Its content; `None` for image `host`.
    pub id: Option<ImageId>,
    /// Why it is that one, for people.
    pub because: String,
}

impl std::fmt::Display for ImageChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.id {
            Some(id) => write!(f, "image {} {} ({})", self.name, id.short(), self.because),
            None => write!(f, "image {} ({})", self.name, self.because),
        }
    }
}
