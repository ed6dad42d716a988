//! What would become of `agentkernel run COMMAND`, without a flag, under the settings in effect: planned and held against
//! a backend as `run` does it, and nothing made.

use agentkernel_backend::{Backend, Lifetime, refuse_unsupported, requirements};
use agentkernel_config::{Environment, Settings};
use agentkernel_engine::{PlanRequest, RunCommand, preview_sandbox};
use agentkernel_model::{BackendName, ByteString, Feature, ImageRef, PullPolicy, SandboxSpec};

use super::backends::split;
use crate::output::describe;

/// The verdict of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DefaultRun {
    /// It would be done.
    Works {
        /// What it would be: image, profile, network, and what it does without.
        shape: String,
        /// Limits that would be let go, because the settings allow it.
        waived: Vec<Feature>,
        /// The image, where it would have to be fetched first.
        fetches: Option<ImageRef>,
    },
    /// `run` would refuse it.
    Refused {
        /// Everything that is missing, each with why.
        why: String,
        /// What would change it.
        fix: String,
    },
}

impl DefaultRun {
    /// With `backend`, which must be ready.
    pub(crate) async fn with(backend: &dyn Backend, settings: &Settings, environment: &Environment) -> Self {
        // Any program that every image has: which one it is decides only about the image.
        let command: [ByteString; 1] = ["true".into()];
        let request = PlanRequest {
            settings,
            environment,
            backend,
            lifetime: Lifetime::Ephemeral,
            command: Some(RunCommand { entrypoint: None, words: &command }),
            progress: &(),
        };
        let spec = match preview_sandbox(&request).await {
            Ok(planned) => planned.spec,
            Err(error) => {
                let fix = "correct the setting that is named".to_owned();
                return Self::Refused { why: describe(&error), fix };
            }
        };
        match refuse_unsupported(backend.name(), backend.capabilities(), &spec, Lifetime::Ephemeral) {
            Ok(waived) => Self::on_image(backend, settings, &spec, waived).await,
            // The error says all of this in one breath; here whys and fixes are apart.
            Err(_) => Self::Refused { why: why(backend, &spec), fix: fix(backend, &spec) },
        }
    }

    /// All but the image is there.
    async fn on_image(
        backend: &dyn Backend,
        settings: &Settings,
        spec: &SandboxSpec,
        waived: Vec<Feature>,
    ) -> Self {
        let image = &spec.image;
        let here = match backend.images().filter(|_| !image.is_host() && settings.build.is_none()) {
            Some(images) => images.find(image).await.map(|found| found.is_some()),
            None => Ok(true),
        };
        let fetches = match here {
            Ok(true) => None,
            Ok(false) if settings.outside.images.pull == PullPolicy::Never => {
                return Self::Refused {
                    why: format!("image {image} isn't here, and the settings forbid to fetch it"),
                    fix: format!(
                        "fetch it once with `{}`, or allow it with --pull missing",
                        pull_command(backend.name(), image)
                    ),
                };
            }
            Ok(false) => Some(image.clone()),
            Err(error) => {
                return Self::Refused {
                    why: format!("image {image} can't be looked for: {}", describe(&error)),
                    fix: "correct what is named, or name another with --image".to_owned(),
                };
            }
        };
        Self::Works { shape: shape(spec, &waived, fetches.is_some()), waived, fetches }
    }

    /// Whether it would be done.
    pub(crate) fn works(&self) -> bool {
        matches!(self, Self::Works { .. })
    }
}

/// The command that fetches `image` for `backend`: containers have images of their engine.
pub(crate) fn pull_command(backend: &BackendName, image: &ImageRef) -> String {
    match backend.as_str() {
        // Those that start from our own store.
        "native" | "firecracker" => format!("agentkernel image pull {image}"),
        engine => format!("agentkernel image pull --backend {engine} {image}"),
    }
}

/// `image host, profile moderate, network on`.
fn shape(spec: &SandboxSpec, waived: &[Feature], fetched: bool) -> String {
    let mut parts = vec![
        format!("image {}{}", spec.image, if fetched { " (fetched by the first run)" } else { "" }),
        format!("profile {}", spec.profile),
        format!("network {}", if requires(spec, Feature::Network) { "on" } else { "none" }),
    ];
    parts.extend(waived.iter().map(|limit| format!("without {limit}, as allow_unlimited allows")));
    parts.join(", ")
}

fn requires(spec: &SandboxSpec, feature: Feature) -> bool {
    requirements(spec, Lifetime::Ephemeral).contains(&feature)
}

/// What `spec` needs, isn't there and can't be let go, each with the reason.
fn missing<'a>(backend: &'a dyn Backend, spec: &SandboxSpec) -> Vec<(Feature, &'a str)> {
    let unwaived = |feature: &Feature| !(feature.is_limit() && spec.allow_unlimited);
    let needed = requirements(spec, Lifetime::Ephemeral).into_iter().filter(unwaived);
    needed.filter_map(|feature| Some((feature, backend.capabilities().why_missing(feature)?))).collect()
}

fn why(backend: &dyn Backend, spec: &SandboxSpec) -> String {
    let missing = missing(backend, spec);
    let parts: Vec<String> =
        missing.iter().map(|(feature, reason)| format!("{feature} ({})", split(reason).0)).collect();
    format!("it can't enforce or provide {}", parts.join(", "))
}

/// What mends each reason, and what could be left out instead.
fn fix(backend: &dyn Backend, spec: &SandboxSpec) -> String {
    let mut mend: Vec<&str> = Vec::new();
    let mut leave_out: Vec<&str> = Vec::new();
    for (feature, reason) in missing(backend, spec) {
        let instead = match feature {
            _ if feature.is_limit() => Some("let limits go with --allow-unlimited"),
            Feature::Network => Some("do without a network with --no-network"),
            _ => None,
        };
        mend.extend(split(reason).1.filter(|step| !mend.contains(step)));
        leave_out.extend(instead.filter(|instead| !leave_out.contains(instead)));
    }
    match (mend.join("; and "), leave_out.join(" and ")) {
        (mend, instead) if instead.is_empty() => mend,
        (mend, instead) if mend.is_empty() => instead,
        (mend, instead) => format!("{mend}; or {instead}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use agentkernel_config::Overrides;
    use agentkernel_testkit::fake::FakeBackend;

    use super::*;

    async fn verdict(backend: &FakeBackend, allow_unlimited: bool) -> DefaultRun {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment {
            cwd: dir.path().to_owned(),
            home: Some(dir.path().to_owned()),
            user: None,
            uid: 1000,
            vars: Vec::new(),
            interactive_stdin: false,
            interactive_stdout: false,
            interactive_stderr: false,
        };
        let allow_unlimited = Some(allow_unlimited);
        let overrides = Overrides { allow_unlimited, ..Overrides::default() };
        let settings = agentkernel_config::load(&environment, None::<&Path>, overrides).unwrap();
        DefaultRun::with(backend, &settings, &environment).await
    }

    #[tokio::test]
    async fn what_run_refuses_is_refused_with_every_fix() {
        let backend = FakeBackend::new()
            .without(Feature::MemoryLimit, "no cgroup is delegated: run it in a scope")
            .without(Feature::PidsLimit, "no cgroup is delegated: run it in a scope")
            .without(Feature::Network, "there is no tun device: `modprobe tun`, or use `--no-network`")
            .without(Feature::DiskLimit, "not asked for");
        let DefaultRun::Refused { why, fix } = verdict(&backend, false).await else { panic!("not refused") };
        assert_eq!(
            why,
            "it can't enforce or provide outbound network (there is no tun device), a memory limit (no cgroup is \
             delegated), a process limit (no cgroup is delegated)"
        );
        assert_eq!(
            fix,
            "`modprobe tun`, or use `--no-network`; and run it in a scope; or do without a network with --no-network \
             and let limits go with --allow-unlimited"
        );
        let DefaultRun::Refused { why, fix } = verdict(&backend, true).await else { panic!("not refused") };
        assert!(!why.contains("memory") && !fix.contains("scope"), "{why}: {fix}");
    }

    #[tokio::test]
    async fn what_run_does_works_and_says_what_it_does_without() {
        assert!(verdict(&FakeBackend::new(), false).await.works());
        let backend = FakeBackend::new().without(Feature::MemoryLimit, "no cgroup");
        let DefaultRun::Works { shape, waived, .. } = verdict(&backend, true).await else {
            panic!("refused")
        };
        assert_eq!(waived, [Feature::MemoryLimit]);
        assert!(shape.contains("profile moderate, network on, without a memory limit"), "{shape}");
    }
}
