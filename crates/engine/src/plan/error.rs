//! Why settings can't become a sandbox.

use std::path::PathBuf;

/// What stands against it.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A folder to be mounted that isn't there or can't be reached.
    #[error("{path} can't be shown in the sandbox: {source}; correct the path or leave the mount out", path = path.display())]
    MountSource {
        /// On the host.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Two mounts at one place: which one wins must not be guessed.
    #[error("{target} is given twice as the target of a mount; leave one of them out", target = target.display())]
    MountTwice {
        /// In the box.
        target: PathBuf,
    },
    /// The home is to be shown and nobody knows where it is.
    #[error(
        "the home folder can't be shown in the sandbox: it is not known; set HOME or leave --mount-home out"
    )]
    NoHome,
    /// A mount through which a box could read or change the records of all sandboxes.
    #[error(
        "{path} can't be shown in the sandbox: it holds the state of agentkernel, {state}; mount another folder, mount it \
         read-only, or keep the state elsewhere with --state-dir",
        path = path.display(), state = state.display()
    )]
    StateExposed {
        /// On the host.
        path: PathBuf,
        /// The state folder.
        state: PathBuf,
    },
    /// Neither the user nor the image names a program.
    #[error("a command is needed: image {image} names none; give one behind the options")]
    NothingToRun {
        /// The image.
        image: String,
    },
    /// A folder without a Dockerfile.
    #[error(
        "{folder} has no Dockerfile (none of {names}); name one with --build=FILE or build.dockerfile",
        folder = folder.display()
    )]
    NoDockerfile {
        /// The folder.
        folder: PathBuf,
        /// What was looked for.
        names: String,
    },
    /// The engine is sent the context and sees nothing else.
    #[error(
        "{dockerfile} does not lie in the build's context {context}; set build.context to a folder that holds it",
        dockerfile = dockerfile.display(), context = context.display()
    )]
    DockerfileOutside {
        /// The Dockerfile.
        dockerfile: PathBuf,
        /// The context.
        context: PathBuf,
    },
    /// A Dockerfile that can't be read.
    #[error("could not read {path}: {source}", path = path.display())]
    Dockerfile {
        /// The Dockerfile.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An image of ours that is none.
    #[error(transparent)]
    Image(#[from] agentkernel_model::ImageError),
    /// A folder that a default needs is no path inside a sandbox.
    #[error(transparent)]
    BoxPath(#[from] agentkernel_model::BoxPathError),
}
